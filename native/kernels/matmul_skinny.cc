// Products of a few rows (decoding): each element of b is used only a few times, so b is read once, as it lies, at the speed of memory.
//
// Each sum runs over k in the order in which tiles run (Parts), one lane a column of c. Where b is contiguous along k (a weight stored [out, in]), blocks of W
// lines by W words are transposed in registers for that; where it is contiguous along n, rows of b are added up with weights. Tasks take columns, never parts of k.
#include "matmul_finish.h"
#include "matmul_words.h"
#include "tiles.h"

namespace hornbook::gemm {
namespace {

constexpr int64_t alongColumns = 32;    // per tile, where b is contiguous along k
constexpr int64_t acrossColumns = 256;  // and along n
constexpr int64_t elementsInTask = 48 << 10;
constexpr int64_t ahead = 512;          // bytes of a line that are asked for before their use

// W words from element k on of W lines, transposed: block[s] has word s of each.
template <Words words>
HORNBOOK_INLINE void loadTransposed(const Element<words>* const (&lines)[W], int64_t k, WordLanes (&block)[W]) {
#if defined(HORNBOOK_AVX512)
  if constexpr (words != Words::widened) {
    // Quarters of lines are put together as they are loaded, which leaves half of the exchanges: those within quarters.
    const auto quarter = [&](int line, int q) __attribute__((always_inline)) { return _mm_loadu_ps(reinterpret_cast<const float*>(lines[line] + k) + 4 * q); };
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) {
      __m512 rows[4];
#pragma GCC unroll 4
      for (int r = 0; r < 4; r++) {
        rows[r] = _mm512_castps128_ps512(quarter(r, q));
        rows[r] = _mm512_mask_broadcast_f32x4(rows[r], 0x00f0, quarter(4 + r, q));
        rows[r] = _mm512_mask_broadcast_f32x4(rows[r], 0x0f00, quarter(8 + r, q));
        rows[r] = _mm512_mask_broadcast_f32x4(rows[r], 0xf000, quarter(12 + r, q));
      }
      const __m512d low01 = _mm512_castps_pd(_mm512_unpacklo_ps(rows[0], rows[1])), high01 = _mm512_castps_pd(_mm512_unpackhi_ps(rows[0], rows[1]));
      const __m512d low23 = _mm512_castps_pd(_mm512_unpacklo_ps(rows[2], rows[3])), high23 = _mm512_castps_pd(_mm512_unpackhi_ps(rows[2], rows[3]));
      block[4 * q] = (WordLanes)_mm512_unpacklo_pd(low01, low23);
      block[4 * q + 1] = (WordLanes)_mm512_unpackhi_pd(low01, low23);
      block[4 * q + 2] = (WordLanes)_mm512_unpacklo_pd(high01, high23);
      block[4 * q + 3] = (WordLanes)_mm512_unpackhi_pd(high01, high23);
    }
    return;
  }
#endif
#pragma GCC unroll 16
  for (int j = 0; j < W; j++) block[j] = wordsAlong<words>(lines[j] + k);
  transpose(block);
}

// sums[i * stride + j] = the sum over [k, end) of row i of a times line first + j of b, for j < W, of which `lines` exist.
template <Words words, int rows>
void sumLines(const Lines& a, const Lines& b, int64_t first, int64_t lines, int64_t k, int64_t end, float* sums, int64_t stride) {
  using T = Element<words>;
  constexpr int64_t width = W * perWord<words>;
  const T* x[rows];
  const T* w[W];
  for (int i = 0; i < rows; i++) x[i] = a.at<T>(i, 0);
  for (int64_t j = 0; j < W; j++) w[j] = b.at<T>(first + least(j, lines - 1), 0);
  Vec acc[rows];
#pragma GCC unroll 8
  for (int i = 0; i < rows; i++) acc[i] = simd::zero();
  alignas(64) uint32_t row[rows * W];
  const auto add = [&](const WordLanes& column, int s) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) acc[i] = multiplyAdd<words>(WordLanes{} + row[i * W + s], column, acc[i]);
  };
  // What is asked for ahead of its use: further on in these lines, or, near their end, the beginnings of the next ones.
  const int64_t begin = k, further = ahead / static_cast<int64_t>(sizeof(T)), nextLines = begin + W * b.lineStride - end;
  for (; k + width <= end; k += width) {
    WordLanes block[W];
    const int64_t later = k + further + (k + further < end ? 0 : nextLines);
    const bool asks = width * sizeof(T) >= 64 || k * static_cast<int64_t>(sizeof(T)) % 64 == 0;
    if (asks) {
#pragma GCC unroll 16
      for (int j = 0; j < W; j++) __builtin_prefetch(w[j] + later);
    }
    loadTransposed<words>(w, k, block);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) storeWords(row + i * W, wordsAlong<words>(x[i] + k));
#pragma GCC unroll 16
    for (int s = 0; s < W; s++) add(block[s], s);
  }
  if (k < end) {
    WordLanes block[W];
    for (int j = 0; j < W; j++) block[j] = wordsAlong<words>(w[j] + k, end - k);
    for (int i = 0; i < rows; i++) storeWords(row + i * W, wordsAlong<words>(x[i] + k, end - k));
    transpose(block);
    for (int s = 0; s < ceilDiv(end - k, perWord<words>); s++) add(block[s], s);
  }
#pragma GCC unroll 8
  for (int i = 0; i < rows; i++) simd::store<float>(sums + i * stride, acc[i]);
}

template <Words words, int rows>
void alongK(const Lines& a, const Lines& b, int64_t first, int64_t columns, int64_t k, int64_t end, float* sums, int64_t stride) {
  for (int64_t j = 0; j < columns; j += W) sumLines<words, rows>(a, b, first + j, least(W, columns - j), k, end, sums + j, stride);
}

template <Words words>
void alongK(const Lines& a, const Lines& b, int64_t first, int64_t columns, int64_t k, int64_t end, float* sums, int64_t stride) {
  using Kernel = void (*)(const Lines&, const Lines&, int64_t, int64_t, int64_t, int64_t, float*, int64_t);
  static constexpr Kernel kernels[skinnyRows] = {alongK<words, 1>, alongK<words, 2>, alongK<words, 3>, alongK<words, 4>,
                                                 alongK<words, 5>, alongK<words, 6>, alongK<words, 7>, alongK<words, 8>};
  kernels[a.count - 1](a, b, first, columns, k, end, sums, stride);
}

// Adds `depth` steps of b from `step` on, each weighted with its word of x (rows xStride bytes apart), to the sums.
template <Words words, int depth>
void addSteps(const char* x, int64_t xStride, int64_t rows, const Lines& b, int64_t step, int64_t first, int64_t columns, float* sums) {
  using T = Element<words>;
  constexpr int each = perWord<words>;
  const T* p = b.at<T>(first, step * each);
  simd::forLanes(columns, [&](int64_t j, auto lanes) {
    WordLanes ws[depth];
#pragma GCC unroll 8
    for (int s = 0; s < depth; s++) ws[s] = wordsAcross<words>(p + s * each * b.kStride + j, b.kStride, b.k - (step + s) * each, lanes);
    for (int64_t i = 0; i < rows; i++) {
      float* to = sums + i * acrossColumns + j;
      Vec acc = simd::load<float>(to);
#pragma GCC unroll 8
      for (int s = 0; s < depth; s++) {
        uint32_t weight;
        std::memcpy(&weight, x + i * xStride + (step + s) * 4, sizeof weight);
        acc = multiplyAdd<words>(WordLanes{} + weight, ws[s], acc);
      }
      simd::store<float>(to, acc);
    }
  });
}

template <Words words>
void acrossN(const char* x, int64_t xStride, int64_t rows, const Lines& b, int64_t first, int64_t columns, int64_t s, int64_t steps, float* sums) {
  constexpr int depth = 8;
  std::memset(sums, 0, static_cast<size_t>(rows * acrossColumns) * sizeof(float));
  for (; s + depth <= steps; s += depth) addSteps<words, depth>(x, xStride, rows, b, s, first, columns, sums);
  for (; s < steps; s++) addSteps<words, 1>(x, xStride, rows, b, s, first, columns, sums);
}

// Calls compute(index, entry, column, columns, step, end, sums) for the steps [step, end) of a tile of columns of an entry of the batch, part by part, and puts
// the parts together as tiles do (matmul_finish.h): in c, or before anything else happens.
template <class Compute>
void byColumns(const Product& base, const Batch& batch, const Parts& cut, int64_t tileColumns, Context& context, const Compute& compute) {
  const int64_t m = base.m(), n = base.n(), k = base.k();
  const bool waits = waitsInC(base.out);
  const int64_t taskColumns = roundUp(most(1, elementsInTask / most(k, 1)), tileColumns);
  const int64_t cuts = ceilDiv(n, taskColumns);
  const int64_t inTask = cuts > 1 ? 1 : most(1, least(elementsInTask / most(1, n * k), batch.count / 32));
  context.parallel(ceilDiv(batch.count, inTask) * cuts, [&](int64_t task, int) {
    const int64_t end = least((task / cuts + 1) * inTask, batch.count);
    for (int64_t index = task / cuts * inTask; index < end; index++) {
      const Product p = batch.entry(base, index);
      const int64_t last = least((task % cuts + 1) * taskColumns, n);
      for (int64_t column = task % cuts * taskColumns; column < last; column += tileColumns) {
        const int64_t columns = least(tileColumns, last - column);
        alignas(64) float sums[skinnyRows * acrossColumns], before[skinnyRows * acrossColumns];
        for (int64_t i = 0; i < cut.count; i++) {
          compute(index, p, column, columns, i * cut.steps, least((i + 1) * cut.steps, cut.allSteps), sums);
          const bool first = i == 0, final = i + 1 == cut.count;
          if (!waits) {
            if (!first)
              for (int64_t j = 0; j < m * tileColumns; j++) sums[j] += before[j];
            if (!final) {
              std::memcpy(before, sums, static_cast<size_t>(m * tileColumns) * sizeof(float));
              continue;
            }
          }
          const Part part = {!waits || first, final, nullptr, 0};
          finishFor(p.out, part)(p.out, part, sums, tileColumns, 0, column, m, columns);
        }
      }
    }
  });
}

template <Words words>
void skinny(const Product& base, const Batch& batch, Context& context) {
  using T = Element<words>;
  constexpr int each = perWord<words>;
  const int64_t m = base.m(), k = base.k();
  const bool along = base.b.kStride == 1;
  const Parts cut(k, each, 1);

  // The rows of a as they are needed: contiguous, and for weighted sums as words.
  const bool copies = base.a.kStride != 1 || (!along && (words == Words::widened || k % each != 0));
  const int64_t copyStride = roundUp(cut.allSteps, 16);
  uint32_t* const copy = copies ? context.scratch<uint32_t>(batch.count * m * copyStride) : nullptr;
  if (copies) {
    context.parallel(batch.count, [&](int64_t index, int) {
      const Lines a = batch.entry(base, index).a;
      for (int64_t i = 0; i < m; i++) {
        uint32_t* to = copy + (index * m + i) * copyStride;
        if (along) {
          for (int64_t j = 0; j < k; j++) reinterpret_cast<T*>(to)[j] = *a.at<T>(i, j);
        } else {
          for (int64_t s = 0; s < ceilDiv(k, each); s++) to[s] = wordAt<words>(a.at<T>(i, s * each), a.kStride, k - s * each);
        }
      }
    });
  }
  const auto compute = [&](int64_t index, const Product& p, int64_t column, int64_t columns, int64_t step, int64_t end, float* sums) {
    Lines a = p.a;
    if (copies) a = {copy + index * m * copyStride, copyStride * static_cast<int64_t>(sizeof(uint32_t) / sizeof(T)), 1, m, k};
    if (along) {
      alongK<words>(a, p.b, column, columns, step * each, least(end * each, k), sums, alongColumns);
    } else {
      const int64_t rowStride = a.lineStride * static_cast<int64_t>(sizeof(T));
      acrossN<words>(static_cast<const char*>(a.data), rowStride, m, p.b, column, columns, step, least(end, ceilDiv(k, each)), sums);
    }
  };
  byColumns(base, batch, cut, along ? alongColumns : acrossColumns, context, compute);
}

#if defined(HORNBOOK_AMX)
// On tiles with the operands exchanged: lines of b are rows of a tile as they lie, and the few rows of a are packed as the other operand. The sums are
// those that AmxEngine makes.
void skinnyTiles(const Product& base, const Batch& batch, Context& context) {
  constexpr int64_t tile = 16;
  const int64_t m = base.m(), k = base.k();
  const Parts cut(k, 2, tile);
  uint32_t* const packed = context.scratch<uint32_t>(batch.count * cut.allSteps * m);
  context.parallel(batch.count, [&](int64_t index, int) {
    const Lines a = batch.entry(base, index).a;
    uint32_t* to = packed + index * cut.allSteps * m;
    for (int64_t s = 0; s < cut.allSteps; s++)
      for (int64_t i = 0; i < m; i++) *to++ = 2 * s < k ? wordAt<Words::pairs>(a.at<bf16>(i, 2 * s), a.kStride, k - 2 * s) : 0;
  });
  const auto compute = [&](int64_t index, const Product& p, int64_t column, int64_t columns, int64_t step, int64_t end, float* sums) {
    const auto upper = static_cast<uint8_t>(least(columns, tile)), lower = static_cast<uint8_t>(most(columns - tile, 1));
    const bool both = columns > tile;
    tiles::Configuration c = {};
    c.palette = 1;
    const auto say = [&](int t, uint8_t rows, int64_t bytes) { c.rows[t] = rows, c.columnBytes[t] = static_cast<uint16_t>(bytes); };
    say(0, upper, 4 * m), say(1, lower, 4 * m), say(4, upper, 64), say(5, lower, 64), say(6, tile, 4 * m);
    tiles::configure(c);
    tiles::zero<0>();
    tiles::zero<1>();
    const int64_t stride = p.b.lineStride * 2;
    const auto add = [&](const char* lines, int64_t lineStride, int64_t s) {
      tiles::load<6>(packed + (index * cut.allSteps + s) * m, 4 * m);
      tiles::load<4>(lines, lineStride);
      tiles::multiplyAdd<0, 4, 6>();
      if (!both) return;
      tiles::load<5>(lines + tile * lineStride, lineStride);
      tiles::multiplyAdd<1, 5, 6>();
    };
    int64_t s = step;
    for (; s + tile <= end && 2 * (s + tile) <= k; s += tile) {
      const char* lines = reinterpret_cast<const char*>(p.b.at<bf16>(column, 2 * s));
      for (int64_t j = 0; j < columns; j++) __builtin_prefetch(lines + j * stride + ahead);
      add(lines, stride, s);
    }
    if (s < end) {
      alignas(64) char last[2 * tile][64] = {};
      if (2 * s < k)
        for (int64_t j = 0; j < columns; j++) std::memcpy(last[j], p.b.at<bf16>(column + j, 2 * s), static_cast<size_t>(k - 2 * s) * 2);
      add(last[0], 64, s);
    }
    alignas(64) float out[2 * tile][tile];
    tiles::store<0>(out[0], 64);
    tiles::store<1>(out[tile], 64);
    tiles::release();
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < columns; j++) sums[i * alongColumns + j] = out[j][i];
  };
  byColumns(base, batch, cut, alongColumns, context, compute);
}
#endif

}  // namespace

void multiplySkinny(const Product& p, const Batch& batch, Context& context) {
  if (batch.dtype == DType::f32) return skinny<Words::floats>(p, batch, context);
#if defined(HORNBOOK_AMX)
  if (p.b.kStride == 1) return skinnyTiles(p, batch, context);
#endif
  skinny<bf16Words>(p, batch, context);
}

}  // namespace hornbook::gemm
