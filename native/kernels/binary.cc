// y = op(a, b), element by element, with broadcasting; where; and accumulate, the addition in place behind every gradient.
#include <cmath>

#include "activations.h"
#include "convert.h"
#include "walk.h"

namespace hornbook::kernels {
namespace {

using namespace simd;

bool isComparison(BinaryOp op) { return op >= BinaryOp::equal && op <= BinaryOp::greaterEqual; }

// max(-0, 0) is 0 and min(0, -0) is -0, whatever the order.
HORNBOOK_INLINE Vec maximum(Vec a, Vec b) { return select(a == b, fromBits(bitsOf(a) & bitsOf(b)), maxNaN(a, b)); }
HORNBOOK_INLINE Vec minimum(Vec a, Vec b) { return select(a == b, fromBits(bitsOf(a) | bitsOf(b)), minNaN(a, b)); }

template <class T, class F>
void mapRun(const T* a, const T* b, T* y, int64_t n, F f) {
  forLanes(n, [&](int64_t i, auto part) { store(y + i, f(load(a + i, part), load(b + i, part)), part); });
}

template <class T>
void floatRun(BinaryOp op, const T* a, const T* b, T* y, int64_t n) {
  const auto map = [&](auto f) { mapRun(a, b, y, n, f); };
  const Vec one = set1(1.0f);
  switch (op) {
    case BinaryOp::add: return map([](Vec u, Vec v) { return u + v; });
    case BinaryOp::sub: return map([](Vec u, Vec v) { return u - v; });
    case BinaryOp::mul: return map([](Vec u, Vec v) { return u * v; });
    case BinaryOp::div: return map([](Vec u, Vec v) { return u / v; });
    case BinaryOp::pow:
      for (int64_t i = 0; i < n; i++) y[i] = fromFloat<T>(std::pow(toFloat(a[i]), toFloat(b[i])));
      return;
    case BinaryOp::maximum: return map([](Vec u, Vec v) { return maximum(u, v); });
    case BinaryOp::minimum: return map([](Vec u, Vec v) { return minimum(u, v); });
    case BinaryOp::geluGrad: return map([](Vec x, Vec dy) { return dy * geluGrad(x); });
    case BinaryOp::geluTanhGrad: return map([](Vec x, Vec dy) { return dy * geluTanhGrad<T>(x); });
    case BinaryOp::siluGrad: return map([](Vec x, Vec dy) { return dy * siluGrad<T>(x); });
    case BinaryOp::softplusGrad: return map([](Vec x, Vec dy) { return dy * sigmoid(x); });
    case BinaryOp::reluGrad: return map([](Vec x, Vec dy) { return select(x > zero(), dy, zero()); });
    case BinaryOp::tanhGrad: return map([=](Vec t, Vec dy) { return dy * (one - abs(t)) * (one + abs(t)); });
    case BinaryOp::sigmoidGrad: return map([=](Vec s, Vec dy) { return dy * s * (one - s); });
    default: return;  // comparisons have another output
  }
}

template <class T>
HORNBOOK_INLINE auto comparable(T x) {
  if constexpr (isFloat<T>) return toFloat(x);
  else return x;
}

template <class T>
void compareRun(BinaryOp op, const T* a, const T* b, uint8_t* y, int64_t n) {
  const auto map = [&](auto f) {
    for (int64_t i = 0; i < n; i++) y[i] = f(comparable(a[i]), comparable(b[i]));
  };
  switch (op) {
    case BinaryOp::equal: return map([](auto u, auto v) { return u == v; });
    case BinaryOp::notEqual: return map([](auto u, auto v) { return u != v; });
    case BinaryOp::less: return map([](auto u, auto v) { return u < v; });
    case BinaryOp::lessEqual: return map([](auto u, auto v) { return u <= v; });
    case BinaryOp::greater: return map([](auto u, auto v) { return u > v; });
    case BinaryOp::greaterEqual: return map([](auto u, auto v) { return u >= v; });
    default: return;
  }
}

// Integers wrap around.
template <class T>
void integerRun(BinaryOp op, const T* a, const T* b, T* y, int64_t n) {
  const auto map = [&](auto f) {
    for (int64_t i = 0; i < n; i++) y[i] = static_cast<T>(f(a[i], b[i]));
  };
  switch (op) {
    case BinaryOp::add: return map([](T u, T v) { return static_cast<uint32_t>(u) + static_cast<uint32_t>(v); });
    case BinaryOp::sub: return map([](T u, T v) { return static_cast<uint32_t>(u) - static_cast<uint32_t>(v); });
    case BinaryOp::mul: return map([](T u, T v) { return static_cast<uint32_t>(u) * static_cast<uint32_t>(v); });
    case BinaryOp::div: return map([](T u, T v) { return v == 0 ? 0 : static_cast<int64_t>(u) / static_cast<int64_t>(v); });
    case BinaryOp::maximum: return map([](T u, T v) { return u > v ? u : v; });
    case BinaryOp::minimum: return map([](T u, T v) { return u < v ? u : v; });
    default: return;
  }
}

// Runs run(a, b, y, n) over contiguous pieces.
template <class T, class Y, class Run>
void overPairs(const BinaryParams& p, Context& context, const Run& run) {
  const Nest<3> nest({&p.a, &p.b, &p.y});
  const int64_t as = nest.innerStride(0), bs = nest.innerStride(1);
  parallelRanges(context, nest.elements(), taskElements, [&](int64_t begin, int64_t end) {
    Source<T> left, right;
    nest.walk(begin, end, [&](const int64_t(&offset)[3], int64_t length, int64_t) {
      forPieces(as == 1 && bs == 1, length, [&](int64_t start, int64_t n) {
        const T* a = left.read(p.a.as<T>() + offset[0] + start * as, as, n);
        const T* b = right.read(p.b.as<T>() + offset[1] + start * bs, bs, n);
        run(p.op, a, b, p.y.as<Y>() + offset[2] + start, n);
      });
    });
  });
}

}  // namespace

void binary(const BinaryParams& p, Context& context) {
  withType(p.a.dtype, [&](auto t) {
    using T = decltype(t);
    if (isComparison(p.op)) return overPairs<T, uint8_t>(p, context, compareRun<T>);
    if constexpr (isFloat<T>) {
      overPairs<T, T>(p, context, floatRun<T>);
    } else {
      if (p.op == BinaryOp::pow || p.op > BinaryOp::greaterEqual) {
        return context.fail(0, "binary: this function takes floats, not integers (op %d)", static_cast<int>(p.op));
      }
      overPairs<T, T>(p, context, integerRun<T>);
    }
  });
}

void where_(const WhereParams& p, Context& context) {
  const Nest<4> nest({&p.condition, &p.a, &p.b, &p.y});
  const int64_t cs = nest.innerStride(0), as = nest.innerStride(1), bs = nest.innerStride(2);
  withBits(p.y.dtype, [&](auto t) {
    using T = decltype(t);
    parallelRanges(context, nest.elements(), taskElements, [&](int64_t begin, int64_t end) {
      Source<uint8_t> choice;
      Source<T> left, right;
      nest.walk(begin, end, [&](const int64_t(&offset)[4], int64_t length, int64_t) {
        forPieces(cs == 1 && as == 1 && bs == 1, length, [&](int64_t start, int64_t n) {
          const uint8_t* c = choice.read(p.condition.as<uint8_t>() + offset[0] + start * cs, cs, n);
          const T* a = left.read(p.a.as<T>() + offset[1] + start * as, as, n);
          const T* b = right.read(p.b.as<T>() + offset[2] + start * bs, bs, n);
          T* y = p.y.as<T>() + offset[3] + start;
          for (int64_t i = 0; i < n; i++) {
            const T yes = a[i], no = b[i];
            y[i] = c[i] != 0 ? yes : no;
          }
        });
      });
    });
  });
}

void accumulate(const AccumulateParams& p, Context& context) {
  const Nest<2> nest({&p.x, &p.y});
  const int64_t xs = nest.innerStride(0), ys = nest.innerStride(1);
  const float weight = p.factor ? p.scale * *p.factor.as<float>() : p.scale;
  withFloatType(p.x.dtype, [&](auto s) {
    withFloatType(p.y.dtype, [&](auto d) {
      using S = decltype(s);
      using D = decltype(d);
      parallelRanges(context, nest.elements(), taskElements, [&](int64_t begin, int64_t end) {
        Source<S> source;
        nest.walk(begin, end, [&](const int64_t(&offset)[2], int64_t length, int64_t) {
          if (ys == 1) {
            forPieces(xs == 1, length, [&](int64_t start, int64_t n) {
              const S* x = source.read(p.x.as<S>() + offset[0] + start * xs, xs, n);
              D* y = p.y.as<D>() + offset[1] + start;
              const Vec w = set1(weight);
              forLanes(n, [&](int64_t i, auto part) { store(y + i, fma(w, load(x + i, part), load(y + i, part)), part); });
            });
          } else {
            const S* x = p.x.as<S>() + offset[0];
            D* y = p.y.as<D>() + offset[1];
            for (int64_t i = 0; i < length; i++) y[i * ys] = fromFloat<D>(toFloat(y[i * ys]) + weight * toFloat(x[i * xs]));
          }
        });
      });
    });
  });
}

}  // namespace hornbook::kernels
