// LayerNorm (Ba et al. 2016) and RMSNorm (Zhang & Sennrich 2019), forward and backward, along rows.
//
// With z = (x - mean) rstd (RMSNorm: mean = 0) and g = weight dy the backward pass is
//   dx = rstd (g - mean(g) - z mean(g z))        (RMSNorm: without mean(g)),
//   dweight = sum over rows of dy z,  dbias = sum over rows of dy.
// Sums over rows are made for blocks of rows that depend on the shape alone, then added in order, so that threads do not change the bits.
#include <cmath>

#include "simd.h"
#include "uniform.h"
#include "walk.h"

namespace hornbook::kernels {
namespace {

using namespace simd;

// Where the rows of a tensor start.
class Rows {
 public:
  explicit Rows(const TensorView& x) : leading_({&x}, 0, x.rank > 0 ? x.rank - 1 : 0) {}
  int64_t operator[](int64_t row) const {
    if (leading_.rank == 1) return row * leading_.strides[0][0];
    int64_t offset[1];
    leading_.offsetsOf(row, offset);
    return offset[0];
  }

 private:
  Nest<1> leading_;
};

// weight + offset, or ones.
const float* effectiveWeight(const TensorView& weight, float offset, int64_t n, Context& context) {
  if (weight && offset == 0) return weight.as<float>();
  float* w = context.scratch<float>(n);
  for (int64_t i = 0; i < n; i++) w[i] = weight ? weight.as<float>()[i] + offset : 1;
  return w;
}

const float* orZeros(const TensorView& bias, int64_t n, Context& context) {
  if (bias) return bias.as<float>();
  float* zeros = context.scratch<float>(n);
  for (int64_t i = 0; i < n; i++) zeros[i] = 0;
  return zeros;
}

struct Backward {
  TensorView x, dy, dx;
  const float* weight;
  const float* mean;  // null for RMSNorm
  const float* rstd;
  int64_t n;
};

// R rows at a time, so that the sums over rows are loaded and stored once for all of them; they follow one another in dweight and dbias.
template <class T, bool centered, int R>
void backwardRows(const Backward& p, const Rows& rows, int64_t row, float* dweight, float* dbias) {
  const int64_t n = p.n;
  const T *x[R], *dy[R];
  Vec mean[R], rstd[R], sumG[R], sumGZ[R];
  for (int r = 0; r < R; r++) {
    x[r] = p.x.as<T>() + rows[row + r];
    dy[r] = p.dy.as<T>() + (row + r) * n;
    mean[r] = set1(centered ? p.mean[row + r] : 0.0f);
    rstd[r] = set1(p.rstd[row + r]);
    sumG[r] = sumGZ[r] = zero();
  }
  forLanes(n, [&](int64_t i, auto part) {
    const Vec w = load(p.weight + i, part);
    Vec dw = load(dweight + i, part), db = centered ? load(dbias + i, part) : zero();
    for (int r = 0; r < R; r++) {
      const Vec d = load(dy[r] + i, part);
      const Vec v = load(x[r] + i, part);
      const Vec z = (centered ? v - mean[r] : v) * rstd[r];
      const Vec g = d * w;  // 0 beyond the row
      sumGZ[r] = fma(g, z, sumGZ[r]);
      dw = fma(d, z, dw);
      if (centered) {
        sumG[r] += g;
        db += d;
      }
    }
    store(dweight + i, dw, part);
    if (centered) store(dbias + i, db, part);
  });
  if (!p.dx) return;
  for (int r = 0; r < R; r++) {
    const float scale = 1.0f / static_cast<float>(n), s = p.rstd[row + r];
    const float meanGZ = sum(sumGZ[r]) * scale, meanG = centered ? sum(sumG[r]) * scale : 0;
    const Vec gz = set1(meanGZ), gMean = set1(meanG), by = set1(s);
    T* dx = p.dx.as<T>() + (row + r) * n;
    forLanes(n, [&](int64_t i, auto part) {
      const Vec v = load(x[r] + i, part);
      const Vec z = (centered ? v - mean[r] : v) * by;
      Vec g = load(dy[r] + i, part) * load(p.weight + i, part);
      if (centered) g = g - gMean;
      store(dx + i, fnma(z, gz, g) * by, part);
    });
  }
}

template <class T, bool centered>
void backward(const Backward& p, const TensorView& dweight, bool accumulateWeight, const TensorView& dbias, bool accumulateBias, Context& context) {
  const int64_t n = p.n, count = p.dy.rows();
  if (n == 0) return;
  const Rows rows(p.x);
  // Blocks of a multiple of 4 rows, at most 64 of them.
  const int64_t perTask = ceilDivide(count / 64 > rowsPerTask(n) ? ceilDivide(count, 64) : rowsPerTask(n), 4) * 4;
  const int64_t tasks = ceilDivide(count, perTask);
  float* partials = context.scratch<float>(tasks * 2 * n);
  parallelRanges(context, count, perTask, [&](int64_t begin, int64_t end) {
    float* dw = partials + begin / perTask * 2 * n;
    float* db = dw + n;
    for (int64_t i = 0; i < 2 * n; i++) dw[i] = 0;
    int64_t row = begin;
    for (; row + 4 <= end; row += 4) backwardRows<T, centered, 4>(p, rows, row, dw, db);
    for (; row < end; row++) backwardRows<T, centered, 1>(p, rows, row, dw, db);
  });
  const auto finish = [&](const TensorView& gradient, bool accumulate, const float* first) {
    if (!gradient) return;
    float* y = gradient.as<float>();
    parallelRanges(context, n, tasks > 0 ? ceilDivide(taskElements, tasks) : n, [&](int64_t begin, int64_t end) {
      forLanes(end - begin, [&](int64_t i, auto part) {
        Vec total = accumulate ? load(y + begin + i, part) : zero();
        for (int64_t task = 0; task < tasks; task++) total += load(first + task * 2 * n + begin + i, part);
        store(y + begin + i, total, part);
      });
    });
  };
  finish(dweight, accumulateWeight, partials);
  if (centered) finish(dbias, accumulateBias, partials + n);
}

}  // namespace

void layerNorm(const LayerNormParams& p, Context& context) {
  const int64_t n = p.x.last();
  const float* weight = effectiveWeight(p.weight, 0, n, context);
  const float* bias = orZeros(p.bias, n, context);
  const float length = static_cast<float>(n);
  withFloatType(p.x.dtype, [&](auto t) {
    using T = decltype(t);
    parallelRanges(context, p.x.rows(), rowsPerTask(n), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const T* x = p.x.as<T>() + row * n;
        T* y = p.y.as<T>() + row * n;
        const float rough = sum(sumLanes(n, [&](Vec a, int64_t i, auto part) { return a + load(x + i, part); })) / length;
        const Vec center = set1(rough);
        // `rough` is off by its rounding; where a row hardly varies that is not small beside its deviations. Their mean is the error.
        Vec deviations = zero();
        const float squares = sum(sumLanes(n, [&](Vec a, int64_t i, auto part) {
          const Vec d = inside(part, load(x + i, part) - center, zero());
          deviations += d;
          return fma(d, d, a);
        }));
        const float error = sum(deviations) / length;
        const float variance = squares / length - error * error;
        const float rstd = 1.0f / std::sqrt((variance < 0 ? 0 : variance) + p.eps);
        const Vec scale = set1(rstd), shift = set1(-error * rstd);
        forLanes(n, [&](int64_t i, auto part) {
          const Vec z = fma(load(x + i, part) - center, scale, shift);
          store(y + i, fma(z, load(weight + i, part), load(bias + i, part)), part);
        });
        const float mean = rough + error;
        p.mean.as<float>()[row] = mean;
        p.rstd.as<float>()[row] = rstd;
      }
    });
  });
}

void layerNormBackward(const LayerNormBackwardParams& params, Context& context) {
  LayerNormBackwardParams p = params;
  Uniform uniform(context, true, {&p.x, &p.dy}, {&p.dx});
  const int64_t n = p.x.last();
  const Backward backwardParams{p.x, p.dy, p.dx, effectiveWeight(p.weight, 0, n, context), p.mean.as<float>(), p.rstd.as<float>(), n};
  withFloatType(uniform.dtype(), [&](auto t) {
    backward<decltype(t), true>(backwardParams, p.dweight, p.accumulateWeight != 0, p.dbias, p.accumulateBias != 0, context);
  });
  uniform.finish();
}

void rmsNorm(const RmsNormParams& p, Context& context) {
  const int64_t n = p.x.last();
  const float* weight = effectiveWeight(p.weight, p.offset, n, context);
  const Rows rows(p.x);
  withFloatType(p.x.dtype, [&](auto t) {
    using T = decltype(t);
    parallelRanges(context, p.x.rows(), rowsPerTask(n), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const T* x = p.x.as<T>() + rows[row];
        T* y = p.y.as<T>() + row * n;
        const float squares = sum(sumLanes(n, [&](Vec a, int64_t i, auto part) {
          const Vec v = load(x + i, part);
          return fma(v, v, a);
        }));
        const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(n) + p.eps);
        const Vec scale = set1(rstd);
        forLanes(n, [&](int64_t i, auto part) { store(y + i, load(x + i, part) * scale * load(weight + i, part), part); });
        p.rstd.as<float>()[row] = rstd;
      }
    });
  });
}

void rmsNormBackward(const RmsNormBackwardParams& params, Context& context) {
  RmsNormBackwardParams p = params;
  Uniform uniform(context, true, {&p.x, &p.dy}, {&p.dx});
  const int64_t n = p.x.last();
  const Backward backwardParams{p.x, p.dy, p.dx, effectiveWeight(p.weight, p.offset, n, context), nullptr, p.rstd.as<float>(), n};
  withFloatType(uniform.dtype(), [&](auto t) {
    backward<decltype(t), false>(backwardParams, p.dweight, p.accumulateWeight != 0, TensorView{}, false, context);
  });
  uniform.finish();
}

}  // namespace hornbook::kernels
