// Activation functions and their derivatives on vectors, for the elementwise kernels and for what is fused behind a matrix product.
#pragma once

#include "../generated/contract.h"
#include "simd.h"

namespace inkling::simd {

INKLING_INLINE Vec relu(Vec x) { return max(zero(), x); }  // keeps NaN
INKLING_INLINE Vec reluGrad(Vec x) { return select(x > zero(), set1(1.0f), zero()); }

// x Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016).
INKLING_INLINE Vec gelu(Vec x) {
  const Vec half = set1(0.5f) * x;
  return fma(half, erf(x * set1(0.707106781f)), half);
}
// Phi(x) + x phi(x)
INKLING_INLINE Vec geluGrad(Vec x) {
  const Vec distribution = fma(set1(0.5f), erf(x * set1(0.707106781f)), set1(0.5f));
  const Vec density = set1(0.39894228f) * exp(set1(-0.5f) * x * x);
  return fma(x, density, distribution);
}

// The approximation x/2 (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3), which is x sigmoid(2u).
INKLING_INLINE Vec geluTanh(Vec x) {
  const Vec twoU = x * fma(set1(1.59576912f * 0.044715f), x * x, set1(1.59576912f));
  return x * sigmoid(twoU);
}
INKLING_INLINE Vec geluTanhGrad(Vec x) {
  const Vec xx = x * x;
  const Vec s = sigmoid(x * fma(set1(1.59576912f * 0.044715f), xx, set1(1.59576912f)));
  const Vec slope = fma(set1(3 * 1.59576912f * 0.044715f), xx, set1(1.59576912f));
  return fma(x * slope, s * (set1(1.0f) - s), s);
}

// x sigmoid(x)
INKLING_INLINE Vec silu(Vec x) { return x * sigmoid(x); }
INKLING_INLINE Vec siluGrad(Vec x) {
  const Vec s = sigmoid(x);
  return fma(x * s, set1(1.0f) - s, s);
}

// ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|); its derivative is sigmoid.
INKLING_INLINE Vec softplus(Vec x) { return max(zero(), x) + log1pPositive(exp(-abs(x))); }

// Calls use(f) with f the activation as a function of a Vec.
template <class Use>
INKLING_INLINE void withActivation(Activation activation, Use use) {
  switch (activation) {
    case Activation::none: return use([](Vec x) { return x; });
    case Activation::relu: return use([](Vec x) { return relu(x); });
    case Activation::gelu: return use([](Vec x) { return gelu(x); });
    case Activation::geluTanh: return use([](Vec x) { return geluTanh(x); });
    case Activation::silu: return use([](Vec x) { return silu(x); });
  }
}

}  // namespace inkling::simd
