// Products of a few rows (decoding): each element of b is used only a few times, so b is read once, as it lies, at the speed of memory.
//
// Where b is contiguous along k (a weight stored [out, in]), a column of c is a handful of dot products; where it is contiguous along n, rows of b are
// added up with weights. Tasks take columns, never parts of k.
#include "matmul_finish.h"
#include "matmul_words.h"

namespace hornbook::gemm {
namespace {

constexpr Part whole = {true, true, nullptr, 0};
constexpr int64_t alongColumns = 32;    // per tile of dot products
constexpr int64_t acrossColumns = 256;  // per tile of weighted sums
constexpr int64_t elementsInTask = 48 << 10;

// sums[i * stride + j] = dot product of row i of a with line j of b, for `lines` lines from `first` on.
template <Words words, int rows, int lines>
void dotProducts(const Lines& a, const Lines& b, int64_t first, float* sums, int64_t stride) {
  using T = Element<words>;
  constexpr int64_t width = W * perWord<words>;
  const T* x[rows];
  const T* w[lines];
  for (int i = 0; i < rows; i++) x[i] = a.at<T>(i, 0);
  for (int j = 0; j < lines; j++) w[j] = b.at<T>(first + j, 0);
  Vec acc[rows][lines];
#pragma GCC unroll 8
  for (int i = 0; i < rows; i++) {
#pragma GCC unroll 8
    for (int j = 0; j < lines; j++) acc[i][j] = simd::zero();
  }
  const auto step = [&](auto read) __attribute__((always_inline)) {
    WordLanes ws[lines];
#pragma GCC unroll 8
    for (int j = 0; j < lines; j++) ws[j] = read(w[j]);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
      const WordLanes xs = read(x[i]);
#pragma GCC unroll 8
      for (int j = 0; j < lines; j++) acc[i][j] = multiplyAdd<words>(xs, ws[j], acc[i][j]);
    }
  };
  int64_t k = 0;
  for (; k + width <= a.k; k += width) step([&](const T* p) __attribute__((always_inline)) { return wordsAlong<words>(p + k); });
  if (k < a.k) step([&](const T* p) __attribute__((always_inline)) { return wordsAlong<words>(p + k, a.k - k); });
#pragma GCC unroll 8
  for (int i = 0; i < rows; i++) {
#pragma GCC unroll 8
    for (int j = 0; j < lines; j++) sums[i * stride + j] = simd::sum(acc[i][j]);
  }
}

template <Words words, int rows>
void alongK(const Lines& a, const Lines& b, int64_t first, int64_t columns, float* sums, int64_t stride) {
  constexpr int lines = rows <= 1 ? 8 : rows <= 4 ? 4 : 2;
  int64_t j = 0;
  for (; j + lines <= columns; j += lines) dotProducts<words, rows, lines>(a, b, first + j, sums + j, stride);
  for (; j < columns; j++) dotProducts<words, rows, 1>(a, b, first + j, sums + j, stride);
}

template <Words words>
void alongK(const Lines& a, const Lines& b, int64_t first, int64_t columns, float* sums, int64_t stride) {
  using Kernel = void (*)(const Lines&, const Lines&, int64_t, int64_t, float*, int64_t);
  static constexpr Kernel kernels[skinnyRows] = {alongK<words, 1>, alongK<words, 2>, alongK<words, 3>, alongK<words, 4>,
                                                 alongK<words, 5>, alongK<words, 6>, alongK<words, 7>, alongK<words, 8>};
  kernels[a.count - 1](a, b, first, columns, sums, stride);
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
void acrossN(const char* x, int64_t xStride, int64_t rows, const Lines& b, int64_t first, int64_t columns, float* sums) {
  constexpr int depth = 8;
  const int64_t steps = ceilDiv(b.k, perWord<words>);
  std::memset(sums, 0, static_cast<size_t>(rows * acrossColumns) * sizeof(float));
  int64_t s = 0;
  for (; s + depth <= steps; s += depth) addSteps<words, depth>(x, xStride, rows, b, s, first, columns, sums);
  for (; s < steps; s++) addSteps<words, 1>(x, xStride, rows, b, s, first, columns, sums);
}

template <Words words>
void skinny(const Product& base, const Batch& batch, Context& context) {
  using T = Element<words>;
  constexpr int each = perWord<words>;
  const int64_t m = base.m(), n = base.n(), k = base.k();
  const bool along = base.b.kStride == 1;
  const int64_t tileColumns = along ? alongColumns : acrossColumns;

  // The rows of a as they are needed: contiguous, and for weighted sums as words. Where they are not, each task makes itself a copy.
  const bool copies = base.a.kStride != 1 || (!along && (words == Words::widened || k % each != 0));
  const int64_t copyStride = roundUp(ceilDiv(most(k, 1), each), 16);
  uint32_t* const copy = copies ? context.scratch<uint32_t>(context.lanes() * m * copyStride) : nullptr;

  const int64_t taskColumns = roundUp(most(1, elementsInTask / most(k, 1)), tileColumns);
  const int64_t cuts = ceilDiv(n, taskColumns);
  const int64_t inTask = cuts > 1 ? 1 : most(1, least(elementsInTask / most(1, n * k), batch.count / 32));
  context.parallel(ceilDiv(batch.count, inTask) * cuts, [&](int64_t task, int lane) {
    const int64_t end = least((task / cuts + 1) * inTask, batch.count);
    for (int64_t entry = task / cuts * inTask; entry < end; entry++) {
      const Product p = batch.entry(base, entry);
      const Finish finish = finishFor(p.out, whole);
      Lines a = p.a;
      if (copies) {
        uint32_t* mine = copy + lane * m * copyStride;
        for (int64_t i = 0; i < m; i++) {
          if (along) {
            T* row = reinterpret_cast<T*>(mine + i * copyStride);
            for (int64_t j = 0; j < k; j++) row[j] = *p.a.at<T>(i, j);
          } else {
            for (int64_t s = 0; s < ceilDiv(k, each); s++) mine[i * copyStride + s] = wordAt<words>(p.a.at<T>(i, s * each), p.a.kStride, k - s * each);
          }
        }
        a = {mine, copyStride * static_cast<int64_t>(sizeof(uint32_t) / sizeof(T)), 1, m, k};
      }
      const int64_t last = least((task % cuts + 1) * taskColumns, n);
      for (int64_t column = task % cuts * taskColumns; column < last; column += tileColumns) {
        const int64_t columns = least(tileColumns, last - column);
        alignas(64) float sums[skinnyRows * acrossColumns];
        if (along) {
          alongK<words>(a, p.b, column, columns, sums, tileColumns);
        } else {
          acrossN<words>(static_cast<const char*>(a.data), a.lineStride * static_cast<int64_t>(sizeof(T)), m, p.b, column, columns, sums);
        }
        finish(p.out, whole, sums, tileColumns, 0, column, m, columns);
      }
    }
  });
}

}  // namespace

void multiplySkinny(const Product& p, const Batch& batch, Context& context) {
  if (batch.dtype == DType::f32) return skinny<Words::floats>(p, batch, context);
  skinny<bf16Words>(p, batch, context);
}

}  // namespace hornbook::gemm
