// What the parts of the matrix product share: how an operand, a result, and the packed form of an operand are described.
//
// The product follows the usual layered scheme (Goto & van de Geijn 2008; Van Zee & van de Geijn 2015): a tile of c stays in vector
// registers while a strip of a and a packed panel of b stream past it (matmul_tile.h); panels are packed once and shared by all threads
// (matmul_pack.h); what follows the sum, from the bias to the rounding, happens while the tile is in the first-level cache
// (matmul_finish.h). With eight rows or fewer nothing is packed, for then memory is the limit (matmul_skinny.cc). matmul.cc cuts the work.
//
// All sums run over k in an order that the shape alone decides, so that the bits depend neither on threads nor on which task ran where.
#pragma once

#include "../generated/contract.h"
#include "simd.h"
#include "tiles.h"


namespace hornbook::gemm {

using simd::First;
using simd::Vec;
using simd::W;

// Packed operands are made of 32-bit words, each one lane of a vector: a float; a pair of bf16 neighbours in k, where the
// processor multiplies such pairs; or a bf16 widened to a float where it does not.
enum class Words { floats, pairs, widened };

template <Words words>
constexpr int perWord = words == Words::pairs ? 2 : 1;
template <Words words>
struct ElementOf {
  using Type = bf16;
};
template <>
struct ElementOf<Words::floats> {
  using Type = float;
};
template <Words words>
using Element = typename ElementOf<words>::Type;

#if defined(HORNBOOK_BF16_PAIRS) || defined(HORNBOOK_AMX)
constexpr Words bf16Words = Words::pairs;
#else
constexpr Words bf16Words = Words::widened;
#endif

// An operand as lines along k: the rows of a, or the columns of b. Strides count elements.
struct Lines {
  const void* data;
  int64_t lineStride;
  int64_t kStride;
  int64_t count;
  int64_t k;

  template <class T>
  const T* at(int64_t line, int64_t i) const {
    return static_cast<const T*>(data) + line * lineStride + i * kStride;
  }
};

// Where a product goes and what happens to it on the way.
struct Output {
  void* c;
  DType dtype;
  int64_t rowStride;
  const float* bias;
  void* pre;
  DType preDType;
  int64_t preStride;
  Activation activation;
  bool accumulate;
  bool transposed;  // rows of the product are columns here
};

// One matrix product: m = a.count, n = b.count.
struct Product {
  Lines a;
  Lines b;
  Output out;

  int64_t m() const { return a.count; }
  int64_t n() const { return b.count; }
  int64_t k() const { return a.k; }
};

constexpr int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t roundUp(int64_t a, int64_t b) { return ceilDiv(a, b) * b; }
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// At most this many rows take the path without packing.
constexpr int64_t skinnyRows = 8;

// How a sum over k is cut: each part is summed from zero in the order of k, and the parts are added up in theirs. Every path cuts in this way, so that a row of
// c has the same bits whatever other rows there are.
struct Parts {
  static constexpr int64_t longest = 2048;
  int64_t allSteps, steps, count;  // the last part perhaps shorter

  // A step is a word; an engine takes `multiple` of them at a time.
  Parts(int64_t k, int64_t each, int64_t multiple) : allSteps(roundUp(ceilDiv(most(k, 1), each), multiple)) {
    steps = least(roundUp(ceilDiv(allSteps, ceilDiv(allSteps, longest)), most(multiple, 16)), allSteps);
    count = ceilDiv(allSteps, steps);
  }
};

// The same product for each entry of a batch: offsets count elements.
struct Batch {
  int64_t count;
  DType dtype;  // of a and b
  int rank;
  int64_t shape[maxRank];
  int64_t a[maxRank], b[maxRank], c[maxRank], pre[maxRank];

  Product entry(const Product& base, int64_t index) const;
};

// m <= skinnyRows; b is contiguous along k or along n.
void multiplySkinny(const Product&, const Batch&, Context&);

}  // namespace hornbook::gemm
