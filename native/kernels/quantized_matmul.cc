// Products with quantised weights: c = activation(a w^T + bias).
//
// Each run of 32 activations is rounded once to whole numbers of eight bits with one scale; then a product of 32 by 32 numbers is eight
// instructions that multiply and add four pairs of bytes each, in every lane, a lane being a row of w. Weights lie in panels of 16 such rows
// (blocks.h). With a few rows of a (decoding) a run of a panel is unpacked to registers and used at once: memory is the limit. With many, a
// panel is unpacked to the cache, and all rows of a pass.
//
// Both paths add the same numbers in the same order, so a row of c does not depend on how many others there are.
#include <cmath>
#include <type_traits>

#include "blocks.h"
#include "dot_neon.h"
#include "matmul_finish.h"
#include "walk.h"

namespace inkling::kernels {
namespace {

using namespace blocks;
using gemm::ceilDiv;
using gemm::least;
using gemm::most;

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
void quantizeRun(const T* x, int offset, int groups, Activations& to) {
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
#if defined(INKLING_AVX512)
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
INKLING_INLINE Ints dot(Ints acc, WordLanes codes, uint32_t a) {
#if defined(__AVX512VNNI__)
  return {(IntLanes)_mm512_dpbusd_epi32((__m512i)acc.v, (__m512i)codes, _mm512_set1_epi32(static_cast<int>(a)))};
#elif defined(INKLING_AVX512)
  const __m512i as = _mm512_set1_epi32(static_cast<int>(a));
  if constexpr (largest * 2 * 127 <= INT16_MAX) {
    const __m512i pairs = _mm512_maddubs_epi16((__m512i)codes, as);
    return {(IntLanes)_mm512_add_epi32((__m512i)acc.v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
  } else {
    const __m512i even = _mm512_madd_epi16((__m512i)(codes & 0x00ff00ffu), _mm512_srai_epi16(_mm512_slli_epi16(as, 8), 8));
    const __m512i odd = _mm512_madd_epi16((__m512i)(codes >> 8 & 0x00ff00ffu), _mm512_srai_epi16(as, 8));
    return {(IntLanes)_mm512_add_epi32((__m512i)acc.v, _mm512_add_epi32(even, odd))};
  }
#elif defined(INKLING_AVX2)
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
#elif defined(INKLING_NEON)
  return {(IntLanes)dotNeon<largest>((int32x4_t)acc.v, (uint8x16_t)codes, vreinterpretq_s8_u32(vdupq_n_u32(a)))};
#else
  IntLanes sum = acc.v;
  for (int t = 0; t < 4; t++) sum += (IntLanes)(codes >> (8 * t) & 255u) * static_cast<int8_t>(a >> (8 * t));
  return {sum};
#endif
}

// Adds one run of `rows` rows of a and W rows of w: products(i, g) are the whole numbers of row i in group g.
template <class Format, int rows, class Products>
INKLING_INLINE void addScaled(const Run& w, const Activations* a, Vec (&acc)[rows], Products products) {
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
INKLING_INLINE void addRun(const Run& w, const Activations* a, Vec (&acc)[rows]) {
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
INKLING_INLINE void storeTile(float* tile, int first, const Vec (&acc)[rows]) {
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++) simd::store<float>(tile + i * panelRows + first, acc[i]);
}

// Brings what comes after the next block to the second-level cache. A block of 256 is read here and there, which the processor does not foresee by
// itself (Q6_K: 8 GB/s without this, 23 with it).
template <class Format>
INKLING_INLINE void prefetch(const uint8_t* block) {
  constexpr int bytes = Format::bytes * panelRows;
  for (int i = 0; i < bytes; i += 64) __builtin_prefetch(block + 2 * bytes + i, 0, 2);
}

// tile[i][j] = row i of a times row j of the panel, read as it lies.
template <class Format, int rows>
void multiplyPanel(const uint8_t* panel, const Activations* a, int64_t blocks, float* tile) {
  constexpr int parts = Format::size / run;
  for (int first = 0; first < panelRows; first += W) {
    Vec acc[rows];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) acc[i] = simd::zero();
    const Activations* at = a;
    for (int64_t block = 0; block < blocks; block++) {
      const uint8_t* bytes = panel + block * Format::bytes * panelRows;
      if (Format::size == 256 && first == 0) prefetch<Format>(bytes);
#pragma GCC unroll 8
      for (int part = 0; part < parts; part++, at += rows) {
        Run w;
        Format::unpack(bytes, part, first, w);
        addRun<Format, rows>(w, at, acc);
      }
    }
    storeTile<rows>(tile, first, acc);
  }
}

// An unpacked run of W rows in memory: as Run, without what the format does not have.
template <class Format>
constexpr int64_t unpackedBytes = 32 * W + Format::groups * (Format::hasMin ? 2 : 1) * 4 * W;

template <class Format>
void unpackPanel(const uint8_t* panel, int64_t blocks, uint8_t* to) {
  constexpr int parts = Format::size / run;
  for (int first = 0; first < panelRows; first += W) {
    for (int64_t block = 0; block < blocks; block++) {
      const uint8_t* bytes = panel + block * Format::bytes * panelRows;
#pragma GCC unroll 8
      for (int part = 0; part < parts; part++, to += unpackedBytes<Format>) {
        Run w;
        Format::unpack(bytes, part, first, w);
        std::memcpy(to, w.codes, sizeof w.codes);
        std::memcpy(to + sizeof w.codes, w.scale, Format::groups * sizeof(Vec));
        if constexpr (Format::hasMin) std::memcpy(to + sizeof w.codes + Format::groups * sizeof(Vec), w.min, Format::groups * sizeof(Vec));
      }
    }
  }
}

// multiplyPanel on an unpacked panel.
template <class Format, int rows>
void multiplyUnpacked(const uint8_t* panel, const Activations* a, int64_t blocks, float* tile) {
  const int64_t runs = blocks * (Format::size / run);
  for (int first = 0; first < panelRows; first += W) {
    Vec acc[rows];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) acc[i] = simd::zero();
    const Activations* at = a;
    for (int64_t r = 0; r < runs; r++, at += rows, panel += unpackedBytes<Format>) {
      Run w;
      std::memcpy(w.codes, panel, sizeof w.codes);
      std::memcpy(w.scale, panel + sizeof w.codes, Format::groups * sizeof(Vec));
      if constexpr (Format::hasMin) std::memcpy(w.min, panel + sizeof w.codes + Format::groups * sizeof(Vec), Format::groups * sizeof(Vec));
      addRun<Format, rows>(w, at, acc);
    }
    storeTile<rows>(tile, first, acc);
  }
}

#if defined(INKLING_AMX)
constexpr int tileRows = 16;

// multiplyUnpacked with the products of whole numbers on tiles: a group of a run is one tile of a, one of w and one of products, all read where
// they lie. The scaling is the vector unit's as ever, so the bits are those of the other paths. Tested on emulated tiles only.
template <class Format>
void multiplyTiles(const uint8_t* panel, const Activations* a, int64_t blocks, float* tile) {
  static_assert(W == tileRows && panelRows == tileRows && Format::groups <= 2);
  constexpr int groups = Format::groups, words = 8 / groups;
  tiles::Configuration shapes = {};
  shapes.palette = 1;
  for (int t = 0; t < 6; t++) {
    const bool ofA = t == 2 || t == 3, ofW = t >= 4;
    shapes.rows[t] = ofW ? words : tileRows;
    shapes.columnBytes[t] = ofA ? 4 * words : 64;
  }
  tiles::configure(shapes);
  Vec acc[tileRows];
#pragma GCC unroll 16
  for (int i = 0; i < tileRows; i++) acc[i] = simd::zero();
  const int64_t runs = blocks * (Format::size / run);
  for (int64_t r = 0; r < runs; r++, a += tileRows, panel += unpackedBytes<Format>) {
    alignas(64) int32_t products[groups][tileRows][W];
    const auto multiplyGroup = [&](auto group) __attribute__((always_inline)) {
      constexpr int g = decltype(group)::value;
      tiles::zero<g>();
      tiles::load<2 + g>(a->q + g * 4 * words, sizeof(Activations));
      tiles::load<4 + g>(panel + g * words * 64, 64);
      tiles::multiplyAddBytes<g, 2 + g, 4 + g>();
      tiles::store<g>(products[g], 64);
    };
    multiplyGroup(std::integral_constant<int, 0>());
    if constexpr (groups == 2) multiplyGroup(std::integral_constant<int, 1>());
    Run w;
    std::memcpy(w.scale, panel + sizeof w.codes, groups * sizeof(Vec));
    if constexpr (Format::hasMin) std::memcpy(w.min, panel + sizeof w.codes + groups * sizeof(Vec), groups * sizeof(Vec));
    addScaled<Format, tileRows>(w, a, acc, [&](int i, int g) __attribute__((always_inline)) {
      Ints sums;
      std::memcpy(&sums, products[g][i], sizeof sums);
      return sums + simd::set1(a[i].start[g]);
    });
  }
  tiles::release();
  storeTile<tileRows>(tile, 0, acc);
}
#elif defined(INKLING_AVX512)
constexpr int tileRows = 12;
#else
constexpr int tileRows = 4;
#endif

constexpr int64_t fewRows = 8;            // up to here a panel is read as it lies
constexpr int64_t chunkRows = 512;        // of a, rounded at a time
constexpr int64_t fewRowsTaskBytes = 32 << 10;
constexpr int64_t mostTasks = 512;
constexpr int64_t manyRowsTaskPanels = 2;

// The rows of a that are taken together: tiles of `height`, and what is left by halves.
INKLING_INLINE int64_t tileHeight(int64_t left, int64_t largest) {
  if (left >= largest) return largest;
  return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

using Multiply = void (*)(const uint8_t* panel, const Activations* a, int64_t blocks, float* tile);

template <class Format>
Multiply multiplyFor(bool unpacked, int64_t rows) {
  switch (rows) {
    case 1: return unpacked ? multiplyUnpacked<Format, 1> : multiplyPanel<Format, 1>;
    case 2: return unpacked ? multiplyUnpacked<Format, 2> : multiplyPanel<Format, 2>;
    case 4: return unpacked ? multiplyUnpacked<Format, 4> : multiplyPanel<Format, 4>;
    case 8: return unpacked ? multiplyUnpacked<Format, 8> : multiplyPanel<Format, 8>;
#if defined(INKLING_AMX)
    default: return multiplyTiles<Format>;
#else
    default: return multiplyUnpacked<Format, tileRows>;
#endif
  }
}

template <class Format, class T>
void multiplyRows(const QuantizedMatmulParams& p, const gemm::Output& out, int64_t row0, int64_t rows, Activations* a, uint8_t* memory, int64_t laneBytes, Context& context) {
  const int64_t n = p.w.shape[0], rowBytes = p.w.shape[1], blocks = rowBytes / Format::bytes, runs = blocks * (Format::size / run);
  const bool few = rows <= fewRows;
  const int64_t largest = few ? 8 : most(tileRows, 8);

  // Run r of row i of a tile of h rows from row t on lies at t * runs + r * h + i.
  const int64_t roundingTasks = few ? 1 : ceilDiv(rows, tileRows * 4);
  context.parallel(roundingTasks, [&](int64_t task, int) {
    const int64_t begin = task * tileRows * 4, end = few ? rows : least(begin + tileRows * 4, rows);
    for (int64_t tile = begin; tile < end;) {
      const int64_t height = tileHeight(rows - tile, largest);
      for (int64_t i = 0; i < height; i++) {
        const T* x = p.a.as<T>() + (row0 + tile + i) * p.a.strides[0];
        for (int64_t r = 0; r < runs; r++) quantizeRun(x + r * run, Format::offset, Format::groups, a[tile * runs + r * height + i]);
      }
      tile += height;
    }
  });

  const gemm::Part whole = {true, true, nullptr, 0};
  const gemm::Finish finish = gemm::finishFor(out, whole);
  const int64_t panels = ceilDiv(n, panelRows);
  const int64_t perTask = few ? most(ceilDiv(panels, mostTasks), fewRowsTaskBytes / (panelRows * rowBytes)) : manyRowsTaskPanels;
  context.parallel(ceilDiv(panels, perTask), [&](int64_t task, int lane) {
    uint8_t* const copy = memory + lane * laneBytes;
    uint8_t* const unpacked = copy + panelRows * rowBytes;
    for (int64_t i = task * perTask; i < least((task + 1) * perTask, panels); i++) {
      const uint8_t* panel = panelAt(p.format, p.w, p.interleaved != 0, i * panelRows, copy);
      if (!few) {
        unpackPanel<Format>(panel, blocks, unpacked);
        panel = unpacked;
      }
      for (int64_t tile = 0; tile < rows;) {
        const int64_t height = tileHeight(rows - tile, largest);
        alignas(64) float sums[(tileRows > 8 ? tileRows : 8) * panelRows];
        multiplyFor<Format>(!few, height)(panel, a + tile * runs, blocks, sums);
        finish(out, whole, sums, panelRows, row0 + tile, i * panelRows, height, least(panelRows, n - i * panelRows));
        tile += height;
      }
    }
  });
}

template <class Format>
void multiply(const QuantizedMatmulParams& p, const gemm::Output& out, Context& context) {
  const int64_t m = p.a.shape[0], rowBytes = p.w.shape[1], runs = rowBytes / Format::bytes * (Format::size / run);
  Activations* const a = context.scratch<Activations>(least(m, chunkRows) * runs);
  const int64_t laneBytes = gemm::roundUp(panelRows * rowBytes + (m > fewRows ? runs * unpackedBytes<Format> * (panelRows / W) : 0), 64);
  uint8_t* const memory = context.scratch<uint8_t>(context.lanes() * laneBytes);
  for (int64_t row = 0; row < m; row += chunkRows) {
    const int64_t rows = least(chunkRows, m - row);
    if (p.a.dtype == DType::f32) {
      multiplyRows<Format, float>(p, out, row, rows, a, memory, laneBytes, context);
    } else {
      multiplyRows<Format, bf16>(p, out, row, rows, a, memory, laneBytes, context);
    }
  }
}

// Weights in 16 bits: a stretch of rows at a time becomes floats that stay in the cache, and the plain product does the rest.
void multiplyHalves(const QuantizedMatmulParams& p, Context& context) {
  constexpr int64_t stretch = 256 << 10;
  const int64_t n = p.w.shape[0], k = p.a.shape[1];
  MatmulParams product = {p.a, {}, p.bias, p.c, {}, p.activation, 0};
  TensorView& b = product.b;
  b.rank = 2;
  b.strides[0] = 1;
  b.strides[1] = k;
  b.shape[0] = k;
  b.shape[1] = n;
  b.dtype = DType::bf16;
  b.data = p.w.data;
  if (p.format == BlockFormat::bf16 && p.a.dtype == DType::bf16) return matmul(product, context);

  if (p.a.dtype == DType::bf16) {
    product.a.dtype = DType::f32;
    product.a.data = context.scratch<float>(p.a.elements());
    product.a.strides[0] = k;
    product.a.strides[1] = 1;
    copy({p.a, product.a, {}}, context);
  }
  const int64_t columns = least(n, gemm::roundUp(most(1, stretch / most(k, 1)), 64));
  b.dtype = DType::f32;
  b.data = context.scratch<float>(columns * k);
  TensorView floats = b;
  floats.strides[0] = k;
  floats.strides[1] = 1;
  for (int64_t j = 0; j < n; j += columns) {
    const int64_t count = least(columns, n - j);
    TensorView w = p.w;
    w.data = p.w.as<uint8_t>() + j * p.w.shape[1];
    w.shape[0] = floats.shape[0] = b.shape[1] = product.c.shape[1] = count;
    floats.shape[1] = k;
    dequantize({w, floats, p.format, 0}, context);
    product.c.data = p.c.as<char>() + j * bytesPerElement(p.c.dtype);
    if (p.bias) product.bias.data = p.bias.as<float>() + j;
    product.bias.shape[0] = count;
    matmul(product, context);
  }
}

}  // namespace

void quantizedMatmul(const QuantizedMatmulParams& p, Context& context) {
  if (p.c.elements() == 0) return;
  if (isPlain(p.format)) return multiplyHalves(p, context);
  gemm::Output out = {};
  out.c = p.c.data;
  out.dtype = p.c.dtype;
  out.rowStride = p.c.strides[0];
  out.bias = p.bias.as<float>();
  out.activation = p.activation;
  withFormat(p.format, [&](auto f) { multiply<decltype(f)>(p, out, context); });
}

}  // namespace inkling::kernels
