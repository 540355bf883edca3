// Elementary functions on vectors: range reduction by the textbook (Muller, "Elementary Functions", 3rd ed., ch. 11) and polynomials or
// rational functions fitted to float precision (minimax by Lawson's algorithm). Within 2 units in the last place of the true value unless
// a function says otherwise (3 without a fused multiply-add); infinities, NaN, zeros, and results that overflow or are denormal come out as the functions' limits say.
// Included by simd.h.
#pragma once

namespace hornbook::simd {

// c[0] + c[1] x + ... by Horner's rule.
template <int N>
HORNBOOK_INLINE Vec polynomial(Vec x, const float (&c)[N]) {
  Vec r = set1(c[N - 1]);
  for (int i = N - 2; i >= 0; i--) r = fma(r, x, set1(c[i]));
  return r;
}

// a 2^n for whole n in [-300, 300], also where the result is denormal or overflows.
HORNBOOK_INLINE Vec scaleByPowerOf2(Vec a, Vec n) {
#if defined(HORNBOOK_AVX512)
  return {_mm512_scalef_ps(a.v, n.v)};
#else
  const Ints whole = toInt(n);
  const Ints half = whole >> 1;  // in two steps, for 2^n alone may not be a normal number
  const auto power = [](Ints e) { return fromBits((e + set1(127)) << 23); };
  return a * power(half) * power(whole - half);
#endif
}

// e^x = 2^n e^r, n whole, |r| <= ln(2) / 2.
HORNBOOK_INLINE Vec exp(Vec x) {
  x = min(set1(89.0f), max(set1(-104.0f), x));  // beyond lie infinity and zero
  const Vec n = roundSmall(x * set1(1.44269504f));
  Vec r = fnma(n, set1(0.693359375f), x);  // ln 2 in two parts, the first of so few bits that n times it is exact
  r = fnma(n, set1(-2.12194440e-4f), r);
  const Vec p = polynomial(r, {0.49999994f, 0.166665196f, 0.0416683927f, 0.00836878084f, 0.00138144649f});
  const Vec er = fma(r * r, p, r) + set1(1.0f);
  return scaleByPowerOf2(er, n);
}

// ln x = e ln 2 + ln m, m in [1/sqrt 2, sqrt 2).
HORNBOOK_INLINE Vec log(Vec x) {
  const Mask tiny = x < set1(1.17549435e-38f);  // denormal numbers are scaled up first
  const Vec scaled = select(tiny, x * set1(8388608.0f), x);
  // Moving the bits by those of 1/sqrt 2 carries the mantissa's upper part into the exponent, which then is e for m in the wanted interval.
  const Ints shifted = bitsOf(scaled) - set1(0x3f3504f3);
  const Vec e = toFloat(shifted >> 23) - select(tiny, set1(23.0f), zero());
  const Vec f = fromBits((shifted & set1(0x007fffff)) + set1(0x3f3504f3)) - set1(1.0f);
  const Vec q = polynomial(f, {0.333333313f, -0.250008225f, 0.200012267f, -0.166233569f, 0.142017618f, -0.131601945f, 0.127615497f, -0.0763442963f});
  const Vec ff = f * f;
  Vec r = fma(ff * f, q, e * set1(-2.12194440e-4f));
  r = fnma(ff, set1(0.5f), r);
  r = fma(e, set1(0.693359375f), f + r);
  const float infinity = __builtin_inff();
  r = select(x == set1(infinity), x, r);
  r = select(x == zero(), set1(-infinity), r);
  return select(x >= zero(), r, set1(__builtin_nanf("")));
}

// ln(1 + x) for x >= 0, precise for small x too: the rounding of 1 + x is corrected to first order (after Kahan).
HORNBOOK_INLINE Vec log1pPositive(Vec x) {
  const Vec u = set1(1.0f) + x;
  const Vec lost = x - (u - set1(1.0f));
  return select(x < set1(__builtin_inff()), log(u) + lost / u, x);
}

// 1 / (1 + e^-x), from e^-|x|, which does not overflow. Within 3 units in the last place.
HORNBOOK_INLINE Vec sigmoid(Vec x) {
  const Vec one = set1(1.0f);
  const Vec e = exp(-abs(x));
  return select(x < zero(), e, one) / (one + e);
}

// 2^t within 2^-13, relatively, and exact for whole t; 0 (or 2^-127) and infinity where floats end.
HORNBOOK_INLINE Vec exp2Near(Vec t) {
#if defined(HORNBOOK_AVX512)
  const Vec fraction = {_mm512_reduce_ps(t.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};  // t - floor(t), and 0 for an infinity
  return {_mm512_scalef_ps(polynomial(fraction, {1.0f, 0.695424318f, 0.226307675f, 0.0782679692f}).v, t.v)};
#else
  t = min(set1(130.0f), max(set1(-127.0f), t));
  const Vec whole = floor(t);
  return scaleByPowerOf2(polynomial(t - whole, {1.0f, 0.695424318f, 0.226307675f, 0.0782679692f}), whole);
#endif
}

// 1 / (1 + e^-x) for results that are rounded to bf16 anyway, in half the instructions: within 2^-12, relatively; where x is below some -88, 0 or nearly.
HORNBOOK_INLINE Vec sigmoidNear(Vec x) { return reciprocalNear(set1(1.0f) + exp2Near(x * set1(-1.44269504f))); }

template <class T>
HORNBOOK_INLINE Vec sigmoidFor(Vec x) {
  if constexpr (sizeof(T) == 2) return sigmoidNear(x);
  else return sigmoid(x);
}

// An odd rational function of x; beyond |x| = 9.02 the float result is 1. Within 6 units in the last place.
HORNBOOK_INLINE Vec tanh(Vec x) {
  const Vec c = min(set1(9.02f), max(set1(-9.02f), x));
  const Vec z = c * c;
  const Vec p = polynomial(z, {1.0f, 0.136799037f, 0.00386831281f, 2.80071527e-05f, 3.05842711e-08f, -1.2202901e-11f});
  const Vec q = polynomial(z, {1.0f, 0.470132351f, 0.0272457842f, 0.00039386045f, 1.28734496e-06f});
  const Vec r = c * p / q;
  return min(set1(1.0f), max(set1(-1.0f), r));
}

// The same, for |x| up to 3.93. Within 7 units in the last place.
HORNBOOK_INLINE Vec erf(Vec x) {
  const Vec c = min(set1(3.93f), max(set1(-3.93f), x));
  const Vec z = c * c;
  const Vec p = polynomial(z, {1.12837911f, 0.19078365f, 0.0527901351f, 0.00377956964f, 0.000284802256f, 2.04189905e-06f});
  const Vec q = polynomial(z, {1.0f, 0.502410352f, 0.114257328f, 0.0149973575f, 0.00116519316f, 3.80030033e-05f});
  const Vec r = c * p / q;
  return min(set1(1.0f), max(set1(-1.0f), r));
}

// Which = 0 for sine, 1 for cosine: x = n pi/2 + r, |r| <= pi/4; the quarter turn n chooses the function and the sign. Beyond |x| = 8192,
// where the reduction would lose precision, a lane goes through the C library in double.
template <int Which>
HORNBOOK_INLINE Vec sinOrCos(Vec x) {
  const Mask far = !(abs(x) <= set1(8192.0f));
  const Vec n = roundSmall(select(far, zero(), x) * set1(0.636619772f));
  // pi/2 in four parts, the first three of 11 bits, so that n times them is exact.
  Vec r = fnma(n, set1(1.5703125f), x);
  r = fnma(n, set1(4.83751297e-4f), r);
  r = fnma(n, set1(7.54953362e-8f), r);
  r = fnma(n, set1(2.56334415e-12f), r);
  const Ints quarter = toInt(n) + set1(static_cast<int32_t>(Which));
  const Vec z = r * r;
  const Vec s = fma(r * z, polynomial(z, {-0.166666552f, 0.00833215564f, -0.000195146305f}), r);
  const Vec c = fma(z * z, polynomial(z, {0.0416666456f, -0.00138873095f, 2.4432411e-05f}), fnma(z, set1(0.5f), set1(1.0f)));
  const Vec value = select((quarter & set1(1)) == set1(1), c, s);
  Vec result = fromBits(bitsOf(value) ^ ((quarter & set1(2)) << 30));
  if (__builtin_expect(any(far), 0)) {
    for (int i = 0; i < W; i++) {
      if (lane(far, i)) result.v[i] = static_cast<float>(Which == 0 ? std::sin(static_cast<double>(x.v[i])) : std::cos(static_cast<double>(x.v[i])));
    }
  }
  return result;
}
HORNBOOK_INLINE Vec sin(Vec x) { return select(x == zero(), x, sinOrCos<0>(x)); }  // keeps -0
HORNBOOK_INLINE Vec cos(Vec x) { return sinOrCos<1>(x); }

}  // namespace hornbook::simd
