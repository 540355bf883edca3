// Softmax along rows: the largest element is taken off first, so that no exponential overflows.
#include "uniform.h"
#include "simd.h"
#include "walk.h"

namespace hornbook::kernels {
namespace {

using namespace simd;

template <class T>
float largest(const T* x, int64_t n) {
  const Vec lowest = set1(-__builtin_inff());
  Vec m = lowest;
  forLanes(n, [&](int64_t i, auto part) { m = max(inside(part, load(x + i, part), lowest), m); });  // where x is NaN, m stays
  return maxOf(m);
}

// What a row without a finite or infinite maximum becomes: NaN where NaN is among its elements, else `otherwise`.
template <class T>
void emptyRow(const T* x, T* y, int64_t n, float otherwise) {
  Vec total = zero();
  forLanes(n, [&](int64_t i, auto part) { total += load(x + i, part); });
  const float poison = sum(total);
  const Vec value = set1(poison == poison ? otherwise : poison);
  forLanes(n, [&](int64_t i, auto part) { store(y + i, value, part); });
}

// exponentials may be y.
template <class T>
void softmaxRow(const T* x, T* y, float* exponentials, int64_t n) {
  const float top = largest(x, n);
  if (top == -__builtin_inff()) return emptyRow(x, y, n, 0);
  Vec total = zero();
  forLanes(n, [&](int64_t i, auto part) {
    const Vec e = inside(part, exp(load(x + i, part) - set1(top)), zero());
    store(exponentials + i, e, part);
    total += e;
  });
  const Vec scale = set1(1.0f / sum(total));
  forLanes(n, [&](int64_t i, auto part) { store(y + i, load(exponentials + i, part) * scale, part); });
}

template <class T>
void logSoftmaxRow(const T* x, T* y, int64_t n) {
  const float top = largest(x, n);
  if (top == -__builtin_inff()) return emptyRow(x, y, n, top);
  Vec total = zero();
  forLanes(n, [&](int64_t i, auto part) { total += inside(part, exp(load(x + i, part) - set1(top)), zero()); });
  // (x - top) is exact where it matters, near the top; so it is not merged with the logarithm.
  const float logarithm = std::log(sum(total));
  forLanes(n, [&](int64_t i, auto part) { store(y + i, load(x + i, part) - set1(top) - set1(logarithm), part); });
}

}  // namespace

void softmax(const SoftmaxParams& p, Context& context) {
  const int64_t n = p.x.last(), rows = p.x.rows(), perTask = ceilDivide(rowsPerTask(n), 2);
  if (rows == 0 || n == 0) return;
  withFloatType(p.x.dtype, [&](auto t) {
    using T = decltype(t);
    const T* x = p.x.as<T>();
    T* y = p.y.as<T>();
    if (p.log) {
      return parallelRanges(context, rows, perTask, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; row++) logSoftmaxRow(x + row * n, y + row * n, n);
      });
    }
    if constexpr (std::is_same_v<T, float>) {
      parallelRanges(context, rows, perTask, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; row++) softmaxRow(x + row * n, y + row * n, y + row * n, n);
      });
    } else {
      // Exponentials are kept in float, to be rounded once.
      float* scratch = context.scratch<float>(context.lanes() * n);
      context.parallel(ceilDivide(rows, perTask), [&](int64_t task, int lane) {
        const int64_t end = (task + 1) * perTask < rows ? (task + 1) * perTask : rows;
        for (int64_t row = task * perTask; row < end; row++) softmaxRow(x + row * n, y + row * n, scratch + lane * n, n);
      });
    }
  });
}

void softmaxBackward(const SoftmaxBackwardParams& params, Context& context) {
  SoftmaxBackwardParams p = params;
  Uniform uniform(context, true, {&p.y, &p.dy}, {&p.dx});
  const int64_t n = p.y.last(), rows = p.y.rows();
  withFloatType(uniform.dtype(), [&](auto t) {
    using T = decltype(t);
    if (n > 0) {
      parallelRanges(context, rows, rowsPerTask(n), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; row++) {
          const T* y = p.y.as<T>() + row * n;
          const T* dy = p.dy.as<T>() + row * n;
          T* dx = p.dx.as<T>() + row * n;
          Vec total = zero();
          if (p.log) {
            forLanes(n, [&](int64_t i, auto part) { total += load(dy + i, part); });
            const Vec all = set1(sum(total));
            forLanes(n, [&](int64_t i, auto part) { store(dx + i, fnma(exp(load(y + i, part)), all, load(dy + i, part)), part); });
          } else {
            forLanes(n, [&](int64_t i, auto part) { total = fma(load(y + i, part), load(dy + i, part), total); });
            const Vec dot = set1(sum(total));
            forLanes(n, [&](int64_t i, auto part) { store(dx + i, load(y + i, part) * (load(dy + i, part) - dot), part); });
          }
        }
      });
    }
  });
  uniform.finish();
}

}  // namespace hornbook::kernels
