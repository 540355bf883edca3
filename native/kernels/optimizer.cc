// Optimizer steps: one pass over weights, gradients and moments, scaling of the gradient and the bf16 shadow of the weights included.
#include <cmath>

#include "../generated/contract.h"
#include "simd.h"
#include "walk.h"

namespace inkling::kernels {
namespace {

using namespace simd;

// Calls step(i, part, g, w), which returns the new weights, for all elements; g is the scaled gradient.
template <class Step>
void stepAll(const TensorView& w, const TensorView& gradient, const TensorView& gradScale, const TensorView& shadow, Context& context, const Step& step) {
  const float scale = gradScale ? *gradScale.as<float>() : 1.0f;
  if (!std::isfinite(scale)) return;
  withFloatType(gradient.dtype, [&](auto t) {
    using T = decltype(t);
    float* weights = w.as<float>();
    const T* gradients = gradient.as<T>();
    bf16* copies = shadow.as<bf16>();
    parallelRanges(context, w.elements(), taskElements, [&](int64_t begin, int64_t end) {
      const auto run = [&](auto shadowed) {
        forLanes(end - begin, [&](int64_t k, auto part) {
          const int64_t i = begin + k;
          const Vec updated = step(i, part, load(gradients + i, part) * set1(scale), load(weights + i, part));
          store(weights + i, updated, part);
          if constexpr (decltype(shadowed)::value) storeExact(copies + i, updated, part);
        });
      };
      if (copies) run(std::true_type{});
      else run(std::false_type{});
    });
  });
}

}  // namespace

void adamw(const AdamwParams& p, Context& context) {
  float* m = p.m.as<float>();
  float* v = p.v.as<float>();
  const Vec beta1 = set1(p.beta1), beta2 = set1(p.beta2), other1 = set1(1.0f - p.beta1), other2 = set1(1.0f - p.beta2), eps = set1(p.eps);
  const Vec correction1 = set1(p.correction1), correction2 = set1(p.correction2), rate = set1(p.rate), decay = set1(p.weightDecay);
  stepAll(p.w, p.gradient, p.gradScale, p.shadow, context, [=](int64_t i, auto part, Vec g, Vec w) {
    const Vec mean = fma(beta1, load(m + i, part), other1 * g);
    const Vec square = fma(beta2, load(v + i, part), other2 * g * g);
    store(m + i, mean, part);
    store(v + i, square, part);
    const Vec direction = mean * correction1 / (sqrt(square * correction2) + eps);
    return fnma(rate, fma(decay, w, direction), w);
  });
}

void sgd(const SgdParams& p, Context& context) {
  float* m = p.m.as<float>();
  const Vec momentum = set1(p.momentum), rate = set1(p.rate), decay = set1(p.weightDecay);
  if (!m) {
    return stepAll(p.w, p.gradient, p.gradScale, p.shadow, context, [=](int64_t, auto, Vec g, Vec w) { return fnma(rate, fma(decay, w, g), w); });
  }
  const bool nesterov = p.nesterov != 0;
  stepAll(p.w, p.gradient, p.gradScale, p.shadow, context, [=](int64_t i, auto part, Vec g, Vec w) {
    const Vec moved = fma(momentum, load(m + i, part), g);
    store(m + i, moved, part);
    return fnma(rate, fma(decay, w, nesterov ? fma(momentum, moved, g) : moved), w);
  });
}

}  // namespace inkling::kernels
