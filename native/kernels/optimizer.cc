// Optimizer steps: one pass over weights, gradients and moments, scaling of the gradient included. And master weights into halves and back.
#include <cmath>

#include "../generated/contract.h"
#include "master.h"
#include "walk.h"

namespace hornbook::kernels {
namespace {

using namespace simd;

// Calls body with the master weight as it lies.
template <class Body>
void withMaster(const TensorView& w, const TensorView& shadow, const TensorView& remainder, const Body& body) {
  if (w) body(WholeMaster{w.as<float>()});
  else body(HalvedMaster{shadow.as<bf16>(), remainder.as<bf16>()});
}

// Calls step(i, part, g, w), which returns the new weights, for all elements; g is the scaled gradient.
template <class Params, class Step>
void stepAll(const Params& p, Context& context, const Step& step) {
  const float scale = p.gradScale ? *p.gradScale.template as<float>() : 1.0f;
  if (!std::isfinite(scale)) return;
  withFloatType(p.gradient.dtype, [&](auto t) {
    const auto* gradients = p.gradient.template as<decltype(t)>();
    withMaster(p.w, p.shadow, p.remainder, [&](const auto& master) {
      parallelRanges(context, p.gradient.elements(), taskElements, [&](int64_t begin, int64_t end) {
        forLanes(end - begin, [&](int64_t k, auto part) {
          const int64_t i = begin + k;
          master.put(i, step(i, part, load(gradients + i, part) * set1(scale), master.get(i, part)), part);
        });
      });
    });
  });
}

}  // namespace

void splitMaster(const SplitMasterParams& p, Context& context) {
  const WholeMaster whole{p.w.as<float>()};
  const HalvedMaster halves{p.shadow.as<bf16>(), p.remainder.as<bf16>()};
  parallelRanges(context, p.w.elements(), taskElements, [&](int64_t begin, int64_t end) {
    forLanes(end - begin, [&](int64_t k, auto part) { halves.put(begin + k, whole.get(begin + k, part), part); });
  });
}

void joinMaster(const JoinMasterParams& p, Context& context) {
  const WholeMaster whole{p.w.as<float>()};
  const HalvedMaster halves{p.shadow.as<bf16>(), p.remainder.as<bf16>()};
  parallelRanges(context, p.w.elements(), taskElements, [&](int64_t begin, int64_t end) {
    forLanes(end - begin, [&](int64_t k, auto part) { whole.put(begin + k, halves.get(begin + k, part), part); });
  });
}

void adamw(const AdamwParams& p, Context& context) {
  float* m = p.m.as<float>();
  float* v = p.v.as<float>();
  const Vec beta1 = set1(p.beta1), beta2 = set1(p.beta2), other1 = set1(1.0f - p.beta1), other2 = set1(1.0f - p.beta2), eps = set1(p.eps);
  const Vec correction1 = set1(p.correction1), correction2 = set1(p.correction2), rate = set1(p.rate), decay = set1(p.weightDecay);
  stepAll(p, context, [=](int64_t i, auto part, Vec g, Vec w) {
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
    return stepAll(p, context, [=](int64_t, auto, Vec g, Vec w) { return fnma(rate, fma(decay, w, g), w); });
  }
  const bool nesterov = p.nesterov != 0;
  stepAll(p, context, [=](int64_t i, auto part, Vec g, Vec w) {
    const Vec moved = fma(momentum, load(m + i, part), g);
    store(m + i, moved, part);
    return fnma(rate, fma(decay, w, nesterov ? fma(momentum, moved, g) : moved), w);
  });
}

}  // namespace hornbook::kernels
