// Activation functions and their derivatives on vectors, for the elementwise kernels and for what is fused behind a matrix product. T is what the
// result is stored as: those that are rounded to bf16 need not be as near to the truth as a float (sigmoidFor).
#pragma once

#include "../generated/contract.h"
#include "simd.h"

namespace hornbook::simd {

HORNBOOK_INLINE Vec relu(Vec x) { return select(x <= zero(), zero(), x); }  // keeps NaN
HORNBOOK_INLINE Vec reluGrad(Vec x) { return select(x > zero(), set1(1.0f), zero()); }

// The normal distribution: Phi(-t) = e^(-t^2/2) r(t), r rational, t >= 0. That keeps the digits of the far tail, where 1 + erf would lose
// them; and the density comes along. t^2/2 is large there, so its rounding error is carried into the exponential to first order.
struct Normal {
  Vec distribution, density;
};
HORNBOOK_INLINE Normal normal(Vec x) {
  const Vec t = min(set1(14.5f), abs(x));
  const Vec square = t * t;
  const Vec lost = fma(t, t, -square);  // 0 where fma rounds twice
  Vec e = exp(set1(-0.5f) * square);
  e = fnma(e * set1(0.5f), lost, e);
  const Vec p = polynomial(t, {0.5f, 0.438295186f, 0.183235288f, 0.0406332724f, 0.00411631353f});
  const Vec q = polynomial(t, {1.0f, 1.67447531f, 1.2025038f, 0.469471037f, 0.101858951f, 0.0103179486f});
  const Vec tail = e * p / q;
  return {select(x < zero(), tail, set1(1.0f) - tail), e * set1(0.39894228f)};
}

// x Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016).
HORNBOOK_INLINE Vec gelu(Vec x) { return x * normal(x).distribution; }
// Phi(x) + x phi(x)
HORNBOOK_INLINE Vec geluGrad(Vec x) {
  const Normal n = normal(x);
  return fma(x, n.density, n.distribution);
}

// The approximation x/2 (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3), which is x sigmoid(2u).
template <class T = float>
HORNBOOK_INLINE Vec geluTanh(Vec x) {
  const Vec twoU = x * fma(set1(1.59576912f * 0.044715f), x * x, set1(1.59576912f));
  return x * sigmoidFor<T>(twoU);
}
template <class T = float>
HORNBOOK_INLINE Vec geluTanhGrad(Vec x) {
  x = min(set1(16.0f), max(set1(-16.0f), x));  // beyond, the derivative is 0 or 1, and x^2 might overflow
  const Vec xx = x * x;
  const Vec s = sigmoidFor<T>(x * fma(set1(1.59576912f * 0.044715f), xx, set1(1.59576912f)));
  const Vec slope = fma(set1(3 * 1.59576912f * 0.044715f), xx, set1(1.59576912f));
  return fma(x * slope, s * (set1(1.0f) - s), s);
}

// x sigmoid(x)
template <class T = float>
HORNBOOK_INLINE Vec silu(Vec x) { return x * sigmoidFor<T>(x); }
template <class T = float>
HORNBOOK_INLINE Vec siluGrad(Vec x) {
  const Vec s = sigmoidFor<T>(x);
  return fma(x * s, set1(1.0f) - s, s);
}

// ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|); its derivative is sigmoid.
HORNBOOK_INLINE Vec softplus(Vec x) { return max(zero(), x) + log1pPositive(exp(-abs(x))); }

// Calls use(f) with f the activation as a function of a Vec.
template <class T, class Use>
HORNBOOK_INLINE void withActivation(Activation activation, Use use) {
  switch (activation) {
    case Activation::none: return use([](Vec x) { return x; });
    case Activation::relu: return use([](Vec x) { return relu(x); });
    case Activation::gelu: return use([](Vec x) { return gelu(x); });
    case Activation::geluTanh: return use([](Vec x) { return geluTanh<T>(x); });
    case Activation::silu: return use([](Vec x) { return silu<T>(x); });
  }
}

}  // namespace hornbook::simd
