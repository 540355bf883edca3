// What attention's forward and backward passes share: which keys a query sees, rows of tensors of either float type, packed operands, and
// the small matrix product that does nearly all of the work.
//
// The product. `multiply` computes C (+)= A B for up to six rows of C: an element of A is broadcast, B is read in whole vectors, C stays in
// registers. Operands are made of 32-bit words: a float, or, where the processor multiplies pairs of bf16 (AVX512_BF16), two bf16 that are
// neighbours along the contraction. Everything that differs between the two is the packing and one line of the product, so every pass is
// written once, as a template on the word. bf16 tensors on other processors become float while they are packed.
//
// Packing pads with zeros: columns to whole vectors, an odd contraction to whole words. So tails cost a few idle lanes, never a branch.
#pragma once

#include <type_traits>
#include <utility>

#include "../generated/contract.h"
#include "place.h"
#include "random.h"
#include "simd.h"

namespace hornbook::kernels::attention_detail {

using namespace simd;

constexpr int64_t roundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
constexpr int64_t roundDown(int64_t n, int64_t step) { return n / step * step; }
constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// ---- which keys a query sees ---------------------------------------------------------------------------------------------------------

struct Range {
  int64_t low, high;  // empty when high <= low
};

struct Visibility {
  int64_t queries, room, window;
  bool causal;
  const int32_t* starts;
  RowNumbers lengths;

  int64_t keys(int64_t batch) const { return lengths.of(batch, room); }
  int64_t position(int64_t batch, int64_t query) const { return query + keys(batch) - queries; }
  // Both ends never fall as the query rises: the first query of a block has its lowest key, the last one its highest.
  Range of(int64_t batch, int64_t query) const {
    const int64_t count = keys(batch), at = position(batch, query);
    int64_t low = starts ? larger(starts[batch], 0) : 0;
    if (window > 0) low = larger(low, at - window + 1);
    return {low, causal ? smaller(count, at + 1) : count};
  }
  // The queries that see some key of [low, high), as far as causality and window say, where all rows have the same keys.
  Range queriesOf(int64_t low, int64_t high) const {
    const int64_t shift = room - queries;
    return {causal ? larger(0, low - shift) : 0, window > 0 ? larger(0, smaller(queries, high - 1 + window - shift)) : queries};
  }
};

// ---- rows of tensors -----------------------------------------------------------------------------------------------------------------

// Calls body with a pointer of the view's own element type.
template <class Body>
HORNBOOK_INLINE void withType(DType dtype, Body body) {
  if (dtype == DType::bf16) body(static_cast<bf16*>(nullptr));
  else body(static_cast<float*>(nullptr));
}

// One head's [time, d] matrix inside a [batch, time, heads, d] tensor.
struct Matrix {
  char* data;
  DType dtype;
  int64_t stride, rows, width;

  Matrix(const TensorView& x, int64_t batch, int64_t head)
      : data(x.as<char>() + (batch * x.strides[0] + head * x.strides[2]) * bytesPerElement(x.dtype)),
        dtype(x.dtype), stride(x.strides[1]), rows(x.shape[1]), width(x.shape[3]) {}
  template <class T>
  T* row(int64_t i) const {
    return reinterpret_cast<T*>(data) + i * stride;
  }
};

// Asks for rows [first, first + count), as far as there are, ahead of their use: a head's rows lie a whole token apart, which no processor foresees, and
// waiting for them took a fifth of both passes. A few rows at a time, or the processor drops what it cannot note down. (Always inline: GCC sees no effect
// in a function that only prefetches, and removes calls of it.)
HORNBOOK_INLINE void prefetchRows(const Matrix& x, int64_t first, int64_t count) {
  const int64_t bytes = bytesPerElement(x.dtype);
  for (int64_t i = first; i < smaller(first + count, x.rows); i++)
    for (int64_t at = 0; at < x.width * bytes; at += 64) __builtin_prefetch(x.data + i * x.stride * bytes + at, 0, 2);
}

// row = scale * x, rounded to the matrix's dtype.
inline void storeRow(const Matrix& matrix, int64_t row, const float* x, float scale) {
  withType(matrix.dtype, [&](auto* type) {
    auto* y = matrix.row<std::remove_pointer_t<decltype(type)>>(row);
    forLanes(matrix.width, [&](int64_t i, auto part) { store(y + i, load(x + i, part) * set1(scale), part); });
  });
}

// ---- words and their product -----------------------------------------------------------------------------------------------------------

// Two bf16 that are neighbours along the contraction, the first in the lower half.
struct Pair {
  uint32_t bits;
};

template <class Word>
constexpr int64_t perWord = 1;
template <>
inline constexpr int64_t perWord<Pair> = 2;

template <class Word>
HORNBOOK_INLINE Vec loadWords(const Word* p) {
  Vec r;
  std::memcpy(&r.v, p, sizeof r.v);
  return r;
}
template <class Word>
HORNBOOK_INLINE void storeWords(Word* p, Vec a) {
  std::memcpy(p, &a.v, sizeof a.v);
}

HORNBOOK_INLINE Vec broadcast(float a) { return set1(a); }
HORNBOOK_INLINE Vec broadcast(Pair a) { return fromBits(set1(static_cast<int32_t>(a.bits))); }
HORNBOOK_INLINE Vec multiplyAdd(float, Vec a, Vec b, Vec c) { return fma(a, b, c); }
#if defined(HORNBOOK_BF16_PAIRS)
HORNBOOK_INLINE Vec multiplyAdd(Pair, Vec a, Vec b, Vec c) { return simd::multiplyAddPairs((simd::WordLanes)a.v, (simd::WordLanes)b.v, c); }
#endif

constexpr int maxRows = 6;
#if defined(HORNBOOK_AVX512) || defined(HORNBOOK_NEON)
constexpr int maxVectors = 4;  // 6 x 4 sums, 4 of B and one of A fit 32 registers
#else
constexpr int maxVectors = 2;
#endif
constexpr int64_t panelWidth = maxVectors * W;

// The right operand: columns in panels of `panelWidth`, or in one that is narrower; each panel row-major, a row being one step of the contraction.
template <class Word>
struct Panels {
  Word* data;
  int64_t width;  // of a panel
  int64_t steps;  // rows of a panel

  Panels() = default;
  Panels(Word* memory, int64_t columns, int64_t contraction)
      : data(memory), width(smaller(panelWidth, roundUp(larger(columns, 1), W))), steps((contraction + perWord<Word> - 1) / perWord<Word>) {}
  static int64_t words(int64_t columns, int64_t contraction) {
    const Panels p(nullptr, columns, contraction);
    return roundUp(columns, p.width) * p.steps;
  }
  Word* at(int64_t step, int64_t column) const { return data + (column / panelWidth * steps + step) * width + column % panelWidth; }
};

// The left operand: element (row, step) is at data[row * stride + step], or at data[step * stride + row] when Transposed.
template <class Word, bool Transposed, int R, int N>
HORNBOOK_INLINE void multiplyTile(const Word* __restrict a, int64_t stride, const Word* __restrict b, int64_t width, int64_t steps, float* __restrict c,
                                 int64_t cStride, bool accumulate) {
  Vec sums[R][N];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) sums[r][n] = accumulate ? load<float>(c + r * cStride + n * W) : zero();
  for (int64_t s = 0; s < steps; s++) {
    Vec columns[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) columns[n] = loadWords(b + s * width + n * W);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const Vec row = broadcast(Transposed ? a[s * stride + r] : a[r * stride + s]);
#pragma GCC unroll 4
      for (int n = 0; n < N; n++) sums[r][n] = multiplyAdd(Word{}, row, columns[n], sums[r][n]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) store<float>(c + r * cStride + n * W, sums[r][n]);
}

template <class Word, bool Transposed, int N>
inline void multiplyColumns(int64_t rows, const Word* a, int64_t stride, const Word* b, int64_t width, int64_t steps, float* c, int64_t cStride, bool accumulate) {
  switch (rows) {
    case 1: return multiplyTile<Word, Transposed, 1, N>(a, stride, b, width, steps, c, cStride, accumulate);
    case 2: return multiplyTile<Word, Transposed, 2, N>(a, stride, b, width, steps, c, cStride, accumulate);
    case 3: return multiplyTile<Word, Transposed, 3, N>(a, stride, b, width, steps, c, cStride, accumulate);
    case 4: return multiplyTile<Word, Transposed, 4, N>(a, stride, b, width, steps, c, cStride, accumulate);
    case 5: return multiplyTile<Word, Transposed, 5, N>(a, stride, b, width, steps, c, cStride, accumulate);
    default: return multiplyTile<Word, Transposed, 6, N>(a, stride, b, width, steps, c, cStride, accumulate);
  }
}

// C (+)= A B for `rows` <= maxRows rows, columns [from, to) of B (from a multiple of W) and `steps` of the contraction starting at B's row
// `step`. `a` points at A's first row and first step, `c` at the element of the first row in column `from`.
template <class Word, bool Transposed>
inline void multiply(int64_t rows, const Word* a, int64_t stride, const Panels<Word>& b, int64_t step, int64_t steps, int64_t from, int64_t to, float* c,
                     int64_t cStride, bool accumulate) {
  for (int64_t column = from; column < to;) {
    const Word* panel = b.at(step, column);
    const int64_t left = smaller(to - column, b.width - column % panelWidth);
    switch ((left + W - 1) / W) {
      case 1: multiplyColumns<Word, Transposed, 1>(rows, a, stride, panel, b.width, steps, c, cStride, accumulate); break;
      case 2: multiplyColumns<Word, Transposed, 2>(rows, a, stride, panel, b.width, steps, c, cStride, accumulate); break;
      case 3:
        if constexpr (maxVectors > 2) multiplyColumns<Word, Transposed, 3>(rows, a, stride, panel, b.width, steps, c, cStride, accumulate);
        break;
      default:
        if constexpr (maxVectors > 2) multiplyColumns<Word, Transposed, 4>(rows, a, stride, panel, b.width, steps, c, cStride, accumulate);
    }
    column += left;
    c += left;
  }
}

// ---- packing -----------------------------------------------------------------------------------------------------------------------------

// W words of a row from element i on, zeros beyond the row's `width`.
template <class Word, class T>
HORNBOOK_INLINE Vec rowWords(const T* row, int64_t i, int64_t width) {
  const int64_t left = width - i;
  if constexpr (perWord<Word> == 1) {
    return left >= W ? load<T>(row + i) : loadPartial<T>(row + i, static_cast<int>(left));
  } else {
#if defined(HORNBOOK_AVX512)
    const __mmask32 mask = left >= 2 * W ? ~0u : (1u << left) - 1;
    return {_mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, row + i))};
#else
    Vec r = zero();
    std::memcpy(&r, row + i, static_cast<size_t>(smaller(left, 2 * W)) * 2);
    return r;
#endif
  }
}

// Rows [first, first + count) as a left operand; its row stride is rowStride(width) words.
template <class Word>
constexpr int64_t leftStride(int64_t width) { return roundUp((width + perWord<Word> - 1) / perWord<Word>, W); }
template <class Word>
inline void packLeft(const Matrix& x, int64_t first, int64_t count, Word* packed) {
  const int64_t stride = leftStride<Word>(x.width);
  withType(x.dtype, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    if constexpr (perWord<Word> == 1 || sizeof(T) == 2) {
      for (int64_t i = 0; i < count; i++)
        for (int64_t w = 0; w * perWord<Word> < x.width; w += W) storeWords(packed + i * stride + w, rowWords<Word>(x.row<T>(first + i), w * perWord<Word>, x.width));
    }
  });
}

template <int Half, int... Lane>
HORNBOOK_INLINE void exchange(Vec& a, Vec& b, std::integer_sequence<int, Lane...>) {
  const FloatLanes lower = __builtin_shufflevector(a.v, b.v, ((Lane & Half) ? W + Lane - Half : Lane)...);
  b.v = __builtin_shufflevector(a.v, b.v, ((Lane & Half) ? W + Lane : Lane + Half)...);
  a.v = lower;
}
// Exchanges blocks of Half x Half off the diagonal; once for each power of two makes the transpose (Eklundh 1972).
template <int Half>
HORNBOOK_INLINE void transpose(Vec (&rows)[W]) {
#pragma GCC unroll 16
  for (int i = 0; i < W; i++)
    if (!(i & Half)) exchange<Half>(rows[i], rows[i + Half], std::make_integer_sequence<int, W>{});
  if constexpr (Half > 1) transpose<Half / 2>(rows);
}

// Rows [first, first + count) as the columns of a right operand, the contraction running along each row: K for Q K^T.
template <class Word>
inline void packColumns(const Matrix& x, int64_t first, int64_t count, const Panels<Word>& packed) {
  withType(x.dtype, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    if constexpr (perWord<Word> == 1 || sizeof(T) == 2) {
      for (int64_t column = 0; column < count; column += W) {
        Word* panel = packed.at(0, column);
        for (int64_t step = 0; step < packed.steps; step += W) {
          Vec block[W];
          for (int i = 0; i < W; i++)
            block[i] = column + i < count ? rowWords<Word>(x.row<T>(first + column + i), step * perWord<Word>, x.width) : zero();
          transpose<W / 2>(block);
          for (int i = 0; i < W && step + i < packed.steps; i++) storeWords(panel + (step + i) * packed.width, block[i]);
        }
      }
    }
  });
}

// Rows [first, first + count) as the steps of a right operand, the contraction running across rows: V for P V.
template <class Word>
inline void packSteps(const Matrix& x, int64_t first, int64_t count, const Panels<Word>& packed) {
  withType(x.dtype, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    if constexpr (perWord<Word> == 1 || sizeof(T) == 2) {
      for (int64_t column = 0; column < x.width; column += packed.width) {
        Word* step = packed.at(0, column);
        for (int64_t i = 0; i < count; i += perWord<Word>, step += packed.width) {
          const T* row = x.row<T>(first + i) + column;
          forLanes(smaller(x.width - column, packed.width), [&](int64_t j, auto part) {
            Vec words = load(row + j, part);
            if constexpr (perWord<Word> == 2) {
              const Ints second = i + 1 < count ? bitsOf(load(row + x.stride + j, part)) : set1(static_cast<int32_t>(0));
              words = fromBits(shiftRightLogical(bitsOf(words), 16) | second);
            }
            storeWords(step + j, words);
          });
        }
      }
    }
  });
}

// ---- scores ------------------------------------------------------------------------------------------------------------------------------

// Scores live in units of log 2, so that the exponential is a power of two.
constexpr float log2e = 1.44269504088896341f;
constexpr float ln2 = 0.693147180559945309f;
constexpr float infinity = __builtin_inff();

// 2^x for x of at most some tens; 0 far below, minus infinity included. A NaN stays one. Minimax polynomial on [-1/2, 1/2], within 1e-7.
HORNBOOK_INLINE Vec exp2(Vec x) {
#if defined(HORNBOOK_AVX512)
  x = max(set1(-160.0f), x);
#else
  x = max(set1(-127.0f), x);
#endif
  const Vec n = roundSmall(x);
  const Vec p = polynomial(x - n, {1.0f, 0.693146978f, 0.240222421f, 0.0555073374f, 0.00967151268f, 0.00132647267f});
#if defined(HORNBOOK_AVX512)
  return scaleByPowerOf2(p, n);
#else
  return p * fromBits((toInt(n) + set1(127)) << 23);  // n = -127 gives the bits of zero
#endif
}

// From products q k to scores, and what dropout keeps of the weights.
struct Scores {
  Visibility visibility;
  int64_t heads;
  float scale, softcap, p;
  const float* slopes;
  TensorView mask;
  rng::RandomKey key;

  template <class Params>
  explicit Scores(const Params& a)
      : visibility{a.q.shape[1], a.k.shape[1], a.window, a.causal != 0, a.starts.template as<int32_t>(), {}},
        heads(a.q.shape[2]), scale(a.scale), softcap(a.softcap), p(a.p), slopes(a.slopes.template as<float>()), mask(a.mask),
        key(rng::randomKey(a.seedLow, a.seedHigh, a.stream)) {
    if constexpr (requires { a.lengths; }) visibility.lengths = RowNumbers(a.lengths);
  }

  // Without any of these a score is the product times `multiplier`, and that multiplication can wait. (The largest product is the largest
  // score only if the scale is positive.)
  bool plain() const { return softcap <= 0 && !slopes && !mask && scale > 0; }
  float multiplier() const { return plain() ? scale * log2e : 1.0f; }

  // Makes scores (over `multiplier`) of the products of one query with the keys [from, to), from and to - from being multiples of W; hidden
  // keys and keys that do not exist get minus infinity. `slope`, where wanted and softcap > 0, gets d score / d (scale * product).
  void finish(int64_t batch, int64_t head, int64_t query, int64_t from, int64_t to, float* products, float* slope) const {
    if (!plain()) general(batch, head, query, from, to, products, slope);
    const Range seen = visibility.of(batch, query);
    hide(from, smaller(seen.low, to), from, products);
    hide(larger(seen.high, from), to, from, products);
  }

  // 1 / (1 - p) for what dropout keeps of a query's weights on the keys [from, to), else 0.
  void kept(int64_t batch, int64_t head, int64_t query, int64_t from, int64_t to, float* factors) const {
    const float factor = 1.0f / (1.0f - p), threshold = p;
    const int64_t row = ((batch * heads + head) * visibility.queries + query) * visibility.room;
    rng::randomWords(key, row + from, to - from, [&](int64_t i, const uint32_t* words, int count) {
      float* y = factors + (i - row - from);
      for (int n = 0; n < count; n++) y[n] = rng::uniform(words[n]) >= threshold ? factor : 0.0f;
    });
  }

 private:
  // Keys [low, high) get minus infinity, by whole vectors: what is written by element cannot be read as a vector at once.
  static void hide(int64_t low, int64_t high, int64_t from, float* products) {
    if (low >= high) return;
    const Vec lane = toFloat(iota()), first = set1(static_cast<float>(low - from)), end = set1(static_cast<float>(high - from));
    for (int64_t j = roundDown(low - from, W); j < high - from; j += W) {
      const Vec at = set1(static_cast<float>(j)) + lane;
      store<float>(products + j, select((first <= at) & (at < end), set1(-infinity), load<float>(products + j)));
    }
  }

  void general(int64_t batch, int64_t head, int64_t query, int64_t from, int64_t to, float* products, float* slope) const {
    const float bias = slopes ? slopes[head] * log2e : 0.0f;
    const Vec position = set1(static_cast<float>(visibility.position(batch, query)));
    const Vec lane = toFloat(iota());
    for (int64_t j = from; j < to; j += W) {
      Vec score = load<float>(products + j - from) * set1(scale);
      if (softcap > 0) {
        const Vec t = tanh(score / set1(softcap));
        score = t * set1(softcap);
        if (slope) store<float>(slope + j - from, fnma(t, t, set1(1.0f)));
      }
      score *= set1(log2e);
      if (slopes) score = fnma(set1(bias), abs(position - (set1(static_cast<float>(j)) + lane)), score);
      store<float>(products + j - from, score);
    }
    if (!mask) return;
    const uint8_t* row = mask.as<uint8_t>() + batch * mask.strides[0] + head * mask.strides[1] + query * mask.strides[2];
    const int64_t last = smaller(to, visibility.keys(batch));
    for (int64_t j = from; j < last; j++)
      if (row[j * mask.strides[3]] == 0) products[j - from] = -infinity;
  }
};

// Whether the operands can be packed as pairs of bf16.
inline bool usePairs([[maybe_unused]] std::initializer_list<DType> dtypes) {
#if defined(HORNBOOK_BF16_PAIRS)
  for (const DType dtype : dtypes)
    if (dtype != DType::bf16) return false;
  return true;
#else
  return false;
#endif
}

}  // namespace hornbook::kernels::attention_detail
