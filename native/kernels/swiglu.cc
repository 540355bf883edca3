// silu(gate) * up and its backward pass (Shazeer 2020). gate and up are often the two halves of one matrix product, so rows, not dense.
#include "activations.h"
#include "uniform.h"
#include "walk.h"

namespace hornbook::kernels {

using namespace simd;

namespace {

template <int K>
bool innerStridesAreOne(const Nest<K>& nest) {
  for (int k = 0; k < K; k++)
    if (nest.innerStride(k) != 1) return false;
  return true;
}

}  // namespace

void swiglu(const SwigluParams& params, Context& context) {
  SwigluParams p = params;
  Uniform uniform(context, innerStridesAreOne(Nest<3>({&p.gate, &p.up, &p.y})), {&p.gate, &p.up}, {&p.y});
  const Nest<3> nest({&p.gate, &p.up, &p.y});
  withFloatType(uniform.dtype(), [&](auto t) {
    using T = decltype(t);
    parallelRanges(context, nest.elements(), taskElements, [&](int64_t begin, int64_t end) {
      nest.walk(begin, end, [&](const int64_t(&offset)[3], int64_t n, int64_t) {
        const T* gate = p.gate.as<T>() + offset[0];
        const T* up = p.up.as<T>() + offset[1];
        T* y = p.y.as<T>() + offset[2];
        forLanes(n, [&](int64_t i, auto part) { store(y + i, silu<T>(load(gate + i, part)) * load(up + i, part), part); });
      });
    });
  });
  uniform.finish();
}

void swigluBackward(const SwigluBackwardParams& params, Context& context) {
  SwigluBackwardParams p = params;
  Uniform uniform(context, innerStridesAreOne(Nest<5>({&p.gate, &p.up, &p.dy, &p.dgate, &p.dup})), {&p.gate, &p.up, &p.dy}, {&p.dgate, &p.dup});
  const Nest<5> nest({&p.gate, &p.up, &p.dy, &p.dgate, &p.dup});
  withFloatType(uniform.dtype(), [&](auto t) {
    using T = decltype(t);
    parallelRanges(context, nest.elements(), taskElements, [&](int64_t begin, int64_t end) {
      nest.walk(begin, end, [&](const int64_t(&offset)[5], int64_t n, int64_t) {
        const T* gate = p.gate.as<T>() + offset[0];
        const T* up = p.up.as<T>() + offset[1];
        const T* dy = p.dy.as<T>() + offset[2];
        T* dgate = p.dgate.as<T>() + offset[3];
        T* dup = p.dup.as<T>() + offset[4];
        forLanes(n, [&](int64_t i, auto part) {
          const Vec g = load(gate + i, part), d = load(dy + i, part);
          const Vec s = sigmoidFor<T>(g);
          const Vec silu = g * s;
          const Vec slope = fma(silu, set1(1.0f) - s, s);
          store(dgate + i, d * load(up + i, part) * slope, part);
          store(dup + i, d * silu, part);
        });
      });
    });
  });
  uniform.finish();
}

}  // namespace hornbook::kernels
