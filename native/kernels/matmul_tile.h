// The innermost kernel: a tile of c, `rows` by `vectors` W columns, held in registers over all steps of k. A step reads one vector of words a panel
// column from packed b and one word a row from a, which may lie packed or as it came (its strides are given in bytes).
//
// The sizes leave room for a panel's vectors and one broadcast beside the accumulators: 24 + 4 of 32 registers, 12 + 4 of 16, 8 + 3 of 16.
#pragma once

#include "matmul_ahead.h"
#include "matmul_words.h"

namespace hornbook::gemm {

template <Words words, int rows, int vectors>
void computeTile(const char* a, int64_t rowStride, int64_t stepStride, const uint32_t* b, int64_t steps, float* tile, int64_t tileStride,
                 const Destination& destination, Coming& coming) {
  Vec c[rows][vectors];
#pragma GCC unroll 8
  for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; j++) c[i][j] = simd::zero();
  }
  for (int64_t stretch = ceilDiv(steps, stretchSteps), first = stretch; stretch > 0; stretch--) {
    if (stretch == least(first, destinationAhead)) destination.prefetch(rows);
    coming.prefetch();
    for (int64_t end = steps - least(steps, stretchSteps); steps > end; steps--) {
      WordLanes bs[vectors];
#pragma GCC unroll 4
      for (int j = 0; j < vectors; j++) bs[j] = loadWords(b + j * W);
#pragma GCC unroll 8
      for (int i = 0; i < rows; i++) {
        uint32_t word;
        std::memcpy(&word, a + i * rowStride, sizeof word);
        const WordLanes as = WordLanes{} + word;
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) c[i][j] = multiplyAdd<words>(as, bs[j], c[i][j]);
      }
      a += stepStride;
      b += vectors * W;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; j++) simd::store<float>(tile + i * tileStride + j * W, c[i][j]);
  }
}

// Tiles on the vector unit.
template <Words wordsOf>
struct VectorEngine {
  static constexpr Words words = wordsOf;
#if defined(HORNBOOK_AVX512) || defined(HORNBOOK_NEON)
  static constexpr int rows = 8, vectors = 3;
#elif defined(HORNBOOK_AVX2)
  static constexpr int rows = 4, vectors = 3;
#else
  static constexpr int rows = 4, vectors = 2;
#endif
  static constexpr int columns = vectors * W;
  // Packed rows of a lie in groups as wide as a vector, and never narrower than a tile is high.
  static constexpr int group = W > rows ? W : rows;
  static constexpr int stepMultiple = 1;

  // In bytes, within a group.
  static constexpr int64_t packedRowStride = 4;
  static constexpr int64_t packedStepStride = group * 4;
  static constexpr int64_t directStepStride = 4;

  struct Session {};

  // A word of a must be what memory holds.
  static bool readsDirectly(const Lines& a) { return words != Words::widened && a.kStride == 1; }

  static void packGroup(const Lines& a, int64_t first, int64_t firstK, int64_t steps, uint32_t* out) { packLines<words>(a, first, firstK, group, steps, out); }

  static void compute(Session&, int64_t rowCount, int64_t vectorCount, const char* a, int64_t rowStride, int64_t stepStride, const uint32_t* b, int64_t steps,
                      float* tile, const Destination& destination, Coming& coming) {
    using Kernel = void (*)(const char*, int64_t, int64_t, const uint32_t*, int64_t, float*, int64_t, const Destination&, Coming&);
    static constexpr auto kernels = []<int... i>(std::integer_sequence<int, i...>) {
      struct Table {
        Kernel at[rows * vectors];
      };
      return Table{{computeTile<words, i / vectors + 1, i % vectors + 1>...}};
    }(std::make_integer_sequence<int, rows * vectors>());
    kernels.at[(rowCount - 1) * vectors + vectorCount - 1](a, rowStride, stepStride, b, steps, tile, columns, destination, coming);
  }
};

}  // namespace hornbook::gemm
