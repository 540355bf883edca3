// What products with quantised weights are made of (quantized_matmul.cc, quantized_best.cc): activations in runs of eight bits, and their products
// with a panel of weights as it lies.
#pragma once

#include <cmath>

#include "blocks.h"
#include "dot_neon.h"

namespace hornbook::kernels {

using namespace blocks;

constexpr int64_t fewRows = 8;  // of a: up to here a panel is read as it lies

// The rows of a that are taken together: tiles of the largest height, and what is left by halves.
HORNBOOK_INLINE int64_t tileHeight(int64_t left, int64_t largest) {
  if (left >= largest) return largest;
  return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

// A run of 32 activations: x = scale * q. `start` is what the offset of the codes takes from the sum of products, for each group of a run, and `sums` what a
// minimum of 1 adds.
struct alignas(64) Activations {
  int8_t q[run];
  float scale;
  int32_t start[2];
  float sums[2];
};

constexpr float negligible = 0x1p-100f;

template <class T>
inline void quantizeRun(const T* x, int offset, int groups, Activations& to) {
  float values[run];
  Vec largest = simd::zero();
  bool finite = true;
  for (int i = 0; i < run; i += W) {
    const Vec v = simd::load<T>(x + i);
    simd::store<float>(values + i, v);
    // Not below infinity, or NaN.
    finite = finite && !simd::any(!(simd::abs(v) < simd::set1(HUGE_VALF)));
    largest = simd::max(simd::abs(v), largest);
  }
  const float most = simd::maxOf(largest);
  if (!finite || most < negligible) {
    std::memset(&to, 0, sizeof to);
    to.scale = finite ? 0.0f : NAN;
    to.sums[0] = to.sums[1] = to.scale;
    return;
  }
  to.scale = most / 127.0f;
  const Vec inverse = simd::set1(127.0f / most);
  int32_t sums[2] = {0, 0};
  for (int i = 0; i < run; i += W) {
    const Ints q = simd::toInt(simd::roundSmall(simd::load<float>(values + i) * inverse));
#if defined(HORNBOOK_AVX512)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to.q + i), _mm512_cvtepi32_epi8((__m512i)q.v));
    sums[i * 2 / run] += _mm512_reduce_add_epi32((__m512i)q.v);
#else
    int32_t lanes[W];
    std::memcpy(lanes, &q, sizeof lanes);
    for (int j = 0; j < W; j++) {
      to.q[i + j] = static_cast<int8_t>(lanes[j]);
      sums[(i + j) * 2 / run] += lanes[j];
    }
#endif
  }
  if (groups == 1) sums[0] += sums[1];
  for (int g = 0; g < 2; g++) {
    to.start[g] = -offset * sums[g];
    to.sums[g] = to.scale * static_cast<float>(sums[g]);
  }
}

// acc + the product of four codes (unsigned, at most `largest`) and four bytes of a (signed), in each lane.
template <int largest>
HORNBOOK_INLINE Ints dot(Ints acc, WordLanes codes, uint32_t a) {
#if defined(__AVX512VNNI__)
  return {(IntLanes)_mm512_dpbusd_epi32((__m512i)acc.v, (__m512i)codes, _mm512_set1_epi32(static_cast<int>(a)))};
#elif defined(HORNBOOK_AVX512)
  const __m512i as = _mm512_set1_epi32(static_cast<int>(a));
  if constexpr (largest * 2 * 127 <= INT16_MAX) {
    const __m512i pairs = _mm512_maddubs_epi16((__m512i)codes, as);
    return {(IntLanes)_mm512_add_epi32((__m512i)acc.v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
  } else {
    const __m512i even = _mm512_madd_epi16((__m512i)(codes & 0x00ff00ffu), _mm512_srai_epi16(_mm512_slli_epi16(as, 8), 8));
    const __m512i odd = _mm512_madd_epi16((__m512i)(codes >> 8 & 0x00ff00ffu), _mm512_srai_epi16(as, 8));
    return {(IntLanes)_mm512_add_epi32((__m512i)acc.v, _mm512_add_epi32(even, odd))};
  }
#elif defined(HORNBOOK_AVX2)
  const __m256i as = _mm256_set1_epi32(static_cast<int>(a));
  if constexpr (largest * 2 * 127 <= INT16_MAX) {
    const __m256i pairs = _mm256_maddubs_epi16((__m256i)codes, as);
    return {(IntLanes)_mm256_add_epi32((__m256i)acc.v, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))};
  } else {
    const __m256i even = _mm256_madd_epi16((__m256i)(codes & 0x00ff00ffu), _mm256_srai_epi16(_mm256_slli_epi16(as, 8), 8));
    const __m256i odd = _mm256_madd_epi16((__m256i)(codes >> 8 & 0x00ff00ffu), _mm256_srai_epi16(as, 8));
    return {(IntLanes)_mm256_add_epi32((__m256i)acc.v, _mm256_add_epi32(even, odd))};
  }
#elif defined(__SSE2__)
  const __m128i as = _mm_set1_epi32(static_cast<int>(a));
  const __m128i even = _mm_madd_epi16((__m128i)(codes & 0x00ff00ffu), _mm_srai_epi16(_mm_slli_epi16(as, 8), 8));
  const __m128i odd = _mm_madd_epi16((__m128i)(codes >> 8 & 0x00ff00ffu), _mm_srai_epi16(as, 8));
  return {(IntLanes)_mm_add_epi32((__m128i)acc.v, _mm_add_epi32(even, odd))};
#elif defined(HORNBOOK_NEON)
  return {(IntLanes)dotNeon<largest>((int32x4_t)acc.v, (uint8x16_t)codes, vreinterpretq_s8_u32(vdupq_n_u32(a)))};
#else
  IntLanes sum = acc.v;
  for (int t = 0; t < 4; t++) sum += (IntLanes)(codes >> (8 * t) & 255u) * static_cast<int8_t>(a >> (8 * t));
  return {sum};
#endif
}

// Adds one run of `rows` rows of a and W rows of w: products(i, g) are the whole numbers of row i in group g.
template <class Format, int rows, class Products>
HORNBOOK_INLINE void addScaled(const Run& w, const Activations* a, Vec (&acc)[rows], Products products) {
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++) {
    Vec sum = simd::zero();
#pragma GCC unroll 2
    for (int g = 0; g < Format::groups; g++) {
      const Vec scaled = simd::toFloat(products(i, g));
      sum = g == 0 ? scaled * w.scale[0] : simd::fma(scaled, w.scale[g], sum);
    }
    acc[i] = simd::fma(sum, simd::set1(a[i].scale), acc[i]);
    if constexpr (Format::hasMin) {
#pragma GCC unroll 2
      for (int g = 0; g < Format::groups; g++) acc[i] = simd::fma(w.min[g], simd::set1(a[i].sums[g]), acc[i]);
    }
  }
}

template <class Format, int rows>
HORNBOOK_INLINE void addRun(const Run& w, const Activations* a, Vec (&acc)[rows]) {
  constexpr int wordsInGroup = 8 / Format::groups;
  addScaled<Format, rows>(w, a, acc, [&](int i, int g) __attribute__((always_inline)) {
    Ints products = simd::set1(a[i].start[g]);
#pragma GCC unroll 8
    for (int j = g * wordsInGroup; j < (g + 1) * wordsInGroup; j++) {
      uint32_t word;
      std::memcpy(&word, a[i].q + 4 * j, sizeof word);
      products = dot<Format::largestCode>(products, w.codes[j], word);
    }
    return products;
  });
}

template <int rows>
HORNBOOK_INLINE void storeTile(float* tile, int first, const Vec (&acc)[rows]) {
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++) simd::store<float>(tile + i * panelRows + first, acc[i]);
}

// Brings what comes after the next block to the second-level cache. A block of 256 is read here and there, which the processor does not foresee by
// itself (Q6_K: 8 GB/s without this, 23 with it).
template <class Format>
HORNBOOK_INLINE void prefetch(const uint8_t* block) {
  constexpr int bytes = Format::bytes * panelRows;
  for (int i = 0; i < bytes; i += 64) __builtin_prefetch(block + 2 * bytes + i, 0, 2);
}

// The same of a plane of the split layout where several rows of a keep the processor so busy that it looks ahead too little (8 rows of a, estimates of 262,144 rows
// of w: 9 ms without this, 6 with it).
template <int bytes>
HORNBOOK_INLINE void prefetchPlane(const uint8_t* plane, int64_t block) {
  for (int i = 0; i < bytes * panelRows; i += 64) __builtin_prefetch(plane + (block + 8) * bytes * panelRows + i);
}

// tile[i][j] = row i of a times row j of the panel, read as it lies.
template <class Format, int rows>
void multiplyPanel(const Panel& panel, const Activations* a, int64_t blocks, float* tile) {
  constexpr int parts = Format::size / run;
  for (int first = 0; first < panelRows; first += W) {
    Vec acc[rows];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) acc[i] = simd::zero();
    const Activations* at = a;
    for (int64_t block = 0; block < blocks; block++) {
      if (Format::size == 256 && first == 0) prefetch<Format>(panel.blocks + block * Format::bytes * panelRows);
      if constexpr (std::is_same_v<Format, SplitQ8_0> && rows >= 4) {
        prefetchPlane<Format::upperBytes>(panel.blocks, block);
        prefetchPlane<Format::lowerBytes>(panel.lower, block);
      }
#pragma GCC unroll 8
      for (int part = 0; part < parts; part++, at += rows) {
        Run w;
        unpackRun<Format>(panel, block, part, first, w);
        addRun<Format, rows>(w, at, acc);
      }
    }
    storeTile<rows>(tile, first, acc);
  }
}

// Calls use(sums, row, rows, column, lane) for each tile of a times the first n rows of w: sums[i * panelRows + j] belongs to row + i of a and column + j, where
// columns from n on mean nothing. In parallel; no two calls with one lane run at once.
using UseTile = FunctionRef<void(const float* sums, int64_t row, int64_t rows, int64_t column, int lane)>;
void forTiles(const TensorView& a, const TensorView& w, BlockFormat format, BlockLayout layout, int64_t n, UseTile use, Context& context);

}  // namespace hornbook::kernels
