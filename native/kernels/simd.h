// Vectors of floats: the one layer through which kernels use the machine's vector registers, so that a kernel is written once for every
// instruction set and for both float and bf16 memory. `Vec` has W lanes: 16 on AVX-512, 8 on AVX2, 4 elsewhere (NEON, SSE2, WebAssembly),
// where the compiler's own vector types do most of the work. The instruction set is what the compiler was told; nothing is chosen at run time here.
//
// What it keeps: a lane's result depends on that lane's inputs alone, so an element gives the same bits in the body of a loop and in its tail;
// `sum` and the other horizontal reductions combine lanes in one fixed order. Between instruction sets the last bit may differ (fused
// multiply-add, W). Arithmetic is in float; bf16 is rounded to nearest even on the way out. A typical kernel:
//
//   forLanes(n, [&](int64_t i, auto part) { store(y + i, exp(load(x + i, part)), part); });
//
// The transcendental functions are in simd_math.h, which this file includes.
#pragma once

#include <cmath>
#include <cstring>

#include "kernel.h"

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#endif
// Portable kernels have a library of their own on every machine, and there nothing but the compiler's vectors.
#if defined(__ARM_NEON) && defined(__aarch64__) && !defined(HORNBOOK_ISA_PORTABLE)
#include <arm_neon.h>
#define HORNBOOK_NEON 1
#endif
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define HORNBOOK_AVX512 1
#elif defined(__AVX2__) && defined(__FMA__)
#define HORNBOOK_AVX2 1
#endif

// Whether the processor multiplies bf16 in pairs.
#if defined(__AVX512BF16__) || (defined(HORNBOOK_NEON) && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC))
#define HORNBOOK_BF16_PAIRS 1
#endif

#define HORNBOOK_INLINE inline __attribute__((always_inline))

namespace hornbook::simd {

#if defined(HORNBOOK_AVX512)
constexpr int W = 16;
#elif defined(HORNBOOK_AVX2)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif

typedef float FloatLanes __attribute__((vector_size(4 * W)));
typedef int32_t IntLanes __attribute__((vector_size(4 * W)));
typedef uint32_t WordLanes __attribute__((vector_size(4 * W)));
typedef uint16_t HalfLanes __attribute__((vector_size(2 * W)));

// W floats.
struct Vec {
  FloatLanes v;
};

// W 32-bit integers, for work on the bits of floats.
struct Ints {
  IntLanes v;
};

// One truth value a lane.
struct Mask {
#if defined(HORNBOOK_AVX512)
  __mmask16 v;
#else
  IntLanes v;  // all ones or zero
#endif
};

// ---- making, casting -----------------------------------------------------------------------------------------------------------------

HORNBOOK_INLINE Vec set1(float x) {
#if defined(HORNBOOK_AVX512)
  return {_mm512_set1_ps(x)};
#elif defined(HORNBOOK_AVX2)
  return {_mm256_set1_ps(x)};
#else
  return {FloatLanes{x, x, x, x}};  // not 0 + x, which would lose the sign of -0
#endif
}
HORNBOOK_INLINE Vec zero() { return {FloatLanes{}}; }
HORNBOOK_INLINE Ints set1(int32_t x) { return {IntLanes{} + x}; }
// 0, 1, 2, ...
HORNBOOK_INLINE Ints iota() {
  Ints r;
  for (int i = 0; i < W; i++) r.v[i] = i;
  return r;
}

HORNBOOK_INLINE Ints bitsOf(Vec a) { return {(IntLanes)a.v}; }
HORNBOOK_INLINE Vec fromBits(Ints a) { return {(FloatLanes)a.v}; }
HORNBOOK_INLINE Vec toFloat(Ints a) { return {__builtin_convertvector(a.v, FloatLanes)}; }
// Truncates toward zero; the value must fit.
HORNBOOK_INLINE Ints toInt(Vec a) { return {__builtin_convertvector(a.v, IntLanes)}; }

HORNBOOK_INLINE Ints operator+(Ints a, Ints b) { return {(IntLanes)((WordLanes)a.v + (WordLanes)b.v)}; }
HORNBOOK_INLINE Ints operator-(Ints a, Ints b) { return {(IntLanes)((WordLanes)a.v - (WordLanes)b.v)}; }
HORNBOOK_INLINE Ints operator&(Ints a, Ints b) { return {a.v & b.v}; }
HORNBOOK_INLINE Ints operator|(Ints a, Ints b) { return {a.v | b.v}; }
HORNBOOK_INLINE Ints operator^(Ints a, Ints b) { return {a.v ^ b.v}; }
HORNBOOK_INLINE Ints operator<<(Ints a, int n) { return {(IntLanes)((WordLanes)a.v << n)}; }
HORNBOOK_INLINE Ints operator>>(Ints a, int n) { return {a.v >> n}; }  // keeps the sign
HORNBOOK_INLINE Ints shiftRightLogical(Ints a, int n) { return {(IntLanes)((WordLanes)a.v >> n)}; }

// ---- arithmetic ----------------------------------------------------------------------------------------------------------------------

HORNBOOK_INLINE Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
HORNBOOK_INLINE Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
HORNBOOK_INLINE Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
HORNBOOK_INLINE Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
HORNBOOK_INLINE Vec& operator+=(Vec& a, Vec b) { return a = a + b; }
HORNBOOK_INLINE Vec& operator-=(Vec& a, Vec b) { return a = a - b; }
HORNBOOK_INLINE Vec& operator*=(Vec& a, Vec b) { return a = a * b; }
HORNBOOK_INLINE Vec operator-(Vec a) { return fromBits(bitsOf(a) ^ set1(INT32_MIN)); }
HORNBOOK_INLINE Vec abs(Vec a) { return fromBits(bitsOf(a) & set1(INT32_MAX)); }
// The magnitude of a (which must not be negative) with the sign of b.
HORNBOOK_INLINE Vec withSignOf(Vec a, Vec b) { return fromBits(bitsOf(a) | (bitsOf(b) & set1(INT32_MIN))); }

// a b + c: rounded once where the instruction set can, else twice.
HORNBOOK_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if defined(HORNBOOK_AVX512)
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
#elif defined(HORNBOOK_AVX2)
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
#elif defined(HORNBOOK_NEON)
  return {vfmaq_f32(c.v, a.v, b.v)};
#else
  return {a.v * b.v + c.v};
#endif
}
// c - a b
HORNBOOK_INLINE Vec fnma(Vec a, Vec b, Vec c) {
#if defined(HORNBOOK_AVX512)
  return {_mm512_fnmadd_ps(a.v, b.v, c.v)};
#elif defined(HORNBOOK_AVX2)
  return {_mm256_fnmadd_ps(a.v, b.v, c.v)};
#elif defined(HORNBOOK_NEON)
  return {vfmsq_f32(c.v, a.v, b.v)};
#else
  return {c.v - a.v * b.v};
#endif
}

#if defined(HORNBOOK_BF16_PAIRS)
// c + a b, where a lane of a and b is a pair of bf16 whose products are added.
HORNBOOK_INLINE Vec multiplyAddPairs(WordLanes a, WordLanes b, Vec c) {
#if defined(HORNBOOK_AVX512)
  return {_mm512_dpbf16_ps(c.v, (__m512bh)a, (__m512bh)b)};
#else
  return {vbfdotq_f32(c.v, (bfloat16x8_t)a, (bfloat16x8_t)b)};
#endif
}
#endif

// 1 / a within 2^-14, relatively.
HORNBOOK_INLINE Vec reciprocalNear(Vec a) {
#if defined(HORNBOOK_AVX512)
  return {_mm512_rcp14_ps(a.v)};
#else
  return set1(1.0f) / a;
#endif
}

HORNBOOK_INLINE Vec sqrt(Vec a) {
#if defined(HORNBOOK_AVX512)
  return {_mm512_sqrt_ps(a.v)};
#elif defined(HORNBOOK_AVX2)
  return {_mm256_sqrt_ps(a.v)};
#elif defined(__SSE2__)
  return {_mm_sqrt_ps(a.v)};
#elif defined(HORNBOOK_NEON)
  return {vsqrtq_f32(a.v)};
#else
  Vec r;
  for (int i = 0; i < W; i++) r.v[i] = __builtin_sqrtf(a.v[i]);
  return r;
#endif
}

// ---- comparing, choosing -------------------------------------------------------------------------------------------------------------

#if defined(HORNBOOK_AVX512)
HORNBOOK_INLINE Mask operator<(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
HORNBOOK_INLINE Mask operator<=(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
HORNBOOK_INLINE Mask operator==(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
HORNBOOK_INLINE Mask operator!=(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NEQ_UQ)}; }
HORNBOOK_INLINE Mask operator==(Ints a, Ints b) { return {_mm512_cmpeq_epi32_mask((__m512i)a.v, (__m512i)b.v)}; }
HORNBOOK_INLINE Mask operator<(Ints a, Ints b) { return {_mm512_cmplt_epi32_mask((__m512i)a.v, (__m512i)b.v)}; }
HORNBOOK_INLINE Mask operator&(Mask a, Mask b) { return {static_cast<__mmask16>(a.v & b.v)}; }
HORNBOOK_INLINE Mask operator|(Mask a, Mask b) { return {static_cast<__mmask16>(a.v | b.v)}; }
HORNBOOK_INLINE Mask operator!(Mask a) { return {static_cast<__mmask16>(~a.v)}; }
HORNBOOK_INLINE Vec select(Mask m, Vec a, Vec b) { return {_mm512_mask_blend_ps(m.v, b.v, a.v)}; }
HORNBOOK_INLINE Ints select(Mask m, Ints a, Ints b) { return {(IntLanes)_mm512_mask_blend_epi32(m.v, (__m512i)b.v, (__m512i)a.v)}; }
HORNBOOK_INLINE bool any(Mask m) { return m.v != 0; }
HORNBOOK_INLINE bool lane(Mask m, int i) { return (m.v >> i) & 1; }
// The first n lanes.
HORNBOOK_INLINE Mask firstLanes(int n) { return {static_cast<__mmask16>((1u << n) - 1)}; }
#else
HORNBOOK_INLINE Mask operator<(Vec a, Vec b) { return {a.v < b.v}; }
HORNBOOK_INLINE Mask operator<=(Vec a, Vec b) { return {a.v <= b.v}; }
HORNBOOK_INLINE Mask operator==(Vec a, Vec b) { return {a.v == b.v}; }
HORNBOOK_INLINE Mask operator!=(Vec a, Vec b) { return {a.v != b.v}; }
HORNBOOK_INLINE Mask operator==(Ints a, Ints b) { return {a.v == b.v}; }
HORNBOOK_INLINE Mask operator<(Ints a, Ints b) { return {a.v < b.v}; }
HORNBOOK_INLINE Mask operator&(Mask a, Mask b) { return {a.v & b.v}; }
HORNBOOK_INLINE Mask operator|(Mask a, Mask b) { return {a.v | b.v}; }
HORNBOOK_INLINE Mask operator!(Mask a) { return {~a.v}; }
HORNBOOK_INLINE Vec select(Mask m, Vec a, Vec b) {
#if defined(HORNBOOK_AVX2)
  return {_mm256_blendv_ps(b.v, a.v, (__m256)m.v)};
#else
  return {(FloatLanes)(((IntLanes)a.v & m.v) | ((IntLanes)b.v & ~m.v))};
#endif
}
HORNBOOK_INLINE Ints select(Mask m, Ints a, Ints b) { return {(a.v & m.v) | (b.v & ~m.v)}; }
HORNBOOK_INLINE bool any(Mask m) {
#if defined(HORNBOOK_AVX2)
  return _mm256_movemask_ps((__m256)m.v) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_ps((__m128)m.v) != 0;
#else
  return (m.v[0] | m.v[1] | m.v[2] | m.v[3]) != 0;
#endif
}
HORNBOOK_INLINE bool lane(Mask m, int i) { return m.v[i] != 0; }
HORNBOOK_INLINE Mask firstLanes(int n) { return iota() < set1(static_cast<int32_t>(n)); }
#endif
HORNBOOK_INLINE Mask operator>(Vec a, Vec b) { return b < a; }
HORNBOOK_INLINE Mask operator>=(Vec a, Vec b) { return b <= a; }
HORNBOOK_INLINE bool all(Mask m) { return !any(!m); }
HORNBOOK_INLINE Mask isNaN(Vec a) { return a != a; }

// The larger or smaller; where a or b is NaN, b. So max(bound, x) keeps a NaN in x.
HORNBOOK_INLINE Vec max(Vec a, Vec b) {
#if defined(HORNBOOK_AVX512)
  return {_mm512_max_ps(a.v, b.v)};
#elif defined(HORNBOOK_AVX2)
  return {_mm256_max_ps(a.v, b.v)};
#elif defined(__SSE2__)
  return {_mm_max_ps(a.v, b.v)};
#else
  return select(a > b, a, b);
#endif
}
HORNBOOK_INLINE Vec min(Vec a, Vec b) {
#if defined(HORNBOOK_AVX512)
  return {_mm512_min_ps(a.v, b.v)};
#elif defined(HORNBOOK_AVX2)
  return {_mm256_min_ps(a.v, b.v)};
#elif defined(__SSE2__)
  return {_mm_min_ps(a.v, b.v)};
#else
  return select(a < b, a, b);
#endif
}
// The same, but NaN where either is NaN.
HORNBOOK_INLINE Vec maxNaN(Vec a, Vec b) { return select(isNaN(a), a, max(a, b)); }
HORNBOOK_INLINE Vec minNaN(Vec a, Vec b) { return select(isNaN(a), a, min(a, b)); }

// To the nearest whole number, ties to even; |a| < 2^22.
HORNBOOK_INLINE Vec roundSmall(Vec a) {
#if defined(HORNBOOK_AVX512)
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
#elif defined(HORNBOOK_AVX2)
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
#elif defined(HORNBOOK_NEON)
  return {vrndnq_f32(a.v)};
#else
  const Vec magic = set1(12582912.0f);  // 1.5 * 2^23: adding it pushes the fraction out
  return a + magic - magic;
#endif
}

HORNBOOK_INLINE Vec floor(Vec a) {
#if defined(HORNBOOK_AVX512)
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
#elif defined(HORNBOOK_AVX2)
  return {_mm256_floor_ps(a.v)};
#elif defined(HORNBOOK_NEON)
  return {vrndmq_f32(a.v)};
#else
  const Mask whole = !(abs(a) < set1(8388608.0f));  // 2^23 and beyond, infinities and NaN
  const Vec truncated = toFloat(toInt(select(whole, zero(), a)));
  const Vec lower = truncated - select(truncated > a, set1(1.0f), zero());
  return select(whole, a, withSignOf(abs(lower), a));  // keeps -0
#endif
}

// ---- across lanes, always by halves: lane i with lane i + W/2, and so on. maxOf and minOf want lanes that are not NaN. ---------------------------------------------------------------

template <class Combine>
HORNBOOK_INLINE float fold(Vec a, Combine combine) {
  float lanes[W];
  std::memcpy(lanes, &a.v, sizeof lanes);
  for (int half = W / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) lanes[i] = combine(lanes[i], lanes[i + half]);
  return lanes[0];
}

#if defined(HORNBOOK_AVX512) || defined(HORNBOOK_AVX2)
#define HORNBOOK_FOLD(a, op)                                                                      \
  const __m128 quarter = op(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));             \
  const __m128 eighth = op(quarter, _mm_movehl_ps(quarter, quarter));                            \
  return _mm_cvtss_f32(op(eighth, _mm_shuffle_ps(eighth, eighth, 1)));
HORNBOOK_INLINE float sum8(__m256 a) { HORNBOOK_FOLD(a, _mm_add_ps) }
HORNBOOK_INLINE float max8(__m256 a) { HORNBOOK_FOLD(a, _mm_max_ps) }
HORNBOOK_INLINE float min8(__m256 a) { HORNBOOK_FOLD(a, _mm_min_ps) }
#undef HORNBOOK_FOLD
#endif

#if defined(HORNBOOK_AVX512)
HORNBOOK_INLINE __m256 lowerHalf(Vec a) { return _mm512_castps512_ps256(a.v); }
HORNBOOK_INLINE __m256 upperHalf(Vec a) { return _mm512_extractf32x8_ps(a.v, 1); }
HORNBOOK_INLINE float sum(Vec a) { return sum8(_mm256_add_ps(lowerHalf(a), upperHalf(a))); }
HORNBOOK_INLINE float maxOf(Vec a) { return max8(_mm256_max_ps(lowerHalf(a), upperHalf(a))); }
HORNBOOK_INLINE float minOf(Vec a) { return min8(_mm256_min_ps(lowerHalf(a), upperHalf(a))); }
#elif defined(HORNBOOK_AVX2)
HORNBOOK_INLINE float sum(Vec a) { return sum8(a.v); }
HORNBOOK_INLINE float maxOf(Vec a) { return max8(a.v); }
HORNBOOK_INLINE float minOf(Vec a) { return min8(a.v); }
#else
HORNBOOK_INLINE float sum(Vec a) { return fold(a, [](float x, float y) { return x + y; }); }
HORNBOOK_INLINE float maxOf(Vec a) { return fold(a, [](float x, float y) { return x > y ? x : y; }); }
HORNBOOK_INLINE float minOf(Vec a) { return fold(a, [](float x, float y) { return x < y ? x : y; }); }
#endif

// ---- memory ----------------------------------------------------------------------------------------------------------------------------
// Addresses need only the alignment of an element. Partial loads fill the lanes beyond n with 0 and touch no memory beyond n; 0 <= n <= W.

// The upper halves of floats, rounded to nearest even. NaN stays NaN.
HORNBOOK_INLINE HalfLanes roundToBf16Exact(Vec a) {
  const Ints bits = bitsOf(a);
  const Ints rounded = shiftRightLogical(bits + set1(0x7fff) + (shiftRightLogical(bits, 16) & set1(1)), 16);
  const Ints quiet = shiftRightLogical(bits, 16) | set1(0x40);
  const Ints half = select(isNaN(a), quiet, rounded);
#if defined(HORNBOOK_AVX512)
  return (HalfLanes)_mm512_cvtepi32_epi16((__m512i)half.v);
#elif defined(HORNBOOK_AVX2)
  const __m256i packed = _mm256_packus_epi32((__m256i)half.v, (__m256i)half.v);
  return (HalfLanes)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
#else
  return __builtin_convertvector((WordLanes)half.v, HalfLanes);
#endif
}
// The same by the processor's own instruction where it has one, which makes zero of denormals. So results of arithmetic are stored; what
// moves or shadows weights uses storeExact.
HORNBOOK_INLINE HalfLanes roundToBf16(Vec a) {
#if defined(HORNBOOK_AVX512) && defined(__AVX512BF16__)
  return (HalfLanes)_mm512_cvtneps_pbh(a.v);
#elif defined(HORNBOOK_NEON) && defined(HORNBOOK_BF16_PAIRS)
  return (HalfLanes)vcvt_bf16_f32(a.v);
#else
  return roundToBf16Exact(a);
#endif
}
#if defined(HORNBOOK_BF16_PAIRS)
// Pairs as multiplyAddPairs reads them, rounded: `first` in the lower halves.
HORNBOOK_INLINE Vec pairsOf(Vec first, Vec second) {
#if defined(HORNBOOK_AVX512)
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return {_mm512_castsi512_ps(_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(second.v, first.v)))};
#else
  const uint16x4_t lower = (uint16x4_t)roundToBf16(first), upper = (uint16x4_t)roundToBf16(second);
  return {(FloatLanes)vcombine_u16(vzip1_u16(lower, upper), vzip2_u16(lower, upper))};
#endif
}
#endif
HORNBOOK_INLINE Vec widenBf16(HalfLanes a) {
#if defined(HORNBOOK_AVX512)
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)a), 16))};
#elif defined(HORNBOOK_AVX2)
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)a), 16))};
#else
  return {(FloatLanes)(__builtin_convertvector(a, WordLanes) << 16)};
#endif
}

// Halves of IEEE 754, exactly: denormals, infinities and NaN included.
HORNBOOK_INLINE Vec widenF16(HalfLanes a) {
#if defined(HORNBOOK_AVX512)
  return {_mm512_cvtph_ps((__m256i)a)};
#elif defined(HORNBOOK_AVX2) && defined(__F16C__)
  return {_mm256_cvtph_ps((__m128i)a)};
#elif defined(HORNBOOK_NEON)
  return {vcvt_f32_f16((float16x4_t)a)};
#else
  const WordLanes word = __builtin_convertvector(a, WordLanes);
  const WordLanes magnitude = word & 0x7fff;
  const Ints exponent = {(IntLanes)(magnitude >> 10)};
  const Vec denormal = toFloat(Ints{(IntLanes)magnitude}) * set1(0x1p-24f);
  // The bias of float is larger by 112, and so is, once more, the exponent of infinity and NaN.
  const Ints normal = {(IntLanes)((magnitude << 13) + (112u << 23))};
  const Ints extreme = {(IntLanes)((magnitude << 13) + (224u << 23))};
  const Vec finite = select(toFloat(exponent) < set1(1.0f), denormal, fromBits(normal));
  const Vec value = select(toFloat(exponent) > set1(30.0f), fromBits(extreme), finite);
  return fromBits(bitsOf(value) | Ints{(IntLanes)((word & 0x8000) << 16)});
#endif
}

// To nearest even; what is too large becomes infinite, and a NaN stays one.
HORNBOOK_INLINE uint16_t toF16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < 0x38800000) {
    // A unit of the smallest halves is the last bit of a float between 0.5 and 1, so that the sum with 0.5 rounds to it.
    float shifted;
    std::memcpy(&shifted, &magnitude, sizeof shifted);
    shifted += 0.5f;
    std::memcpy(&bits, &shifted, sizeof bits);
    return static_cast<uint16_t>(sign | (bits - 0x3f000000));
  }
  return static_cast<uint16_t>(sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);
}
HORNBOOK_INLINE float fromF16(uint16_t half) {
  HalfLanes lanes = {};
  lanes[0] = half;
  return widenF16(lanes).v[0];
}
HORNBOOK_INLINE HalfLanes roundToF16(Vec a) {
#if defined(HORNBOOK_AVX512)
  return (HalfLanes)_mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT);
#elif defined(HORNBOOK_AVX2) && defined(__F16C__)
  return (HalfLanes)_mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT);
#elif defined(HORNBOOK_NEON)
  return (HalfLanes)vcvt_f16_f32(a.v);
#else
  HalfLanes half;
  for (int i = 0; i < W; i++) half[i] = toF16(a.v[i]);
  return half;
#endif
}

// A whole vector, or its first n lanes: the last argument of load and store, so that one loop body serves both.
struct All {};
struct First {
  int n;
};

template <class T>
HORNBOOK_INLINE Vec load(const T* p);
template <>
HORNBOOK_INLINE Vec load(const float* p) {
  Vec r;
  std::memcpy(&r.v, p, sizeof r.v);
  return r;
}
template <>
HORNBOOK_INLINE Vec load(const bf16* p) {
  HalfLanes half;
  std::memcpy(&half, p, sizeof half);
  return widenBf16(half);
}

// A byte that stands for the whole number bits - 128.
struct centered8 {
  uint8_t bits;
};
typedef uint8_t ByteLanes __attribute__((vector_size(W)));
template <>
HORNBOOK_INLINE Vec load(const centered8* p) {
#if defined(HORNBOOK_AVX512)
  return toFloat(Ints{(IntLanes)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))} - set1(128));
#else
  ByteLanes bytes;
  std::memcpy(&bytes, p, sizeof bytes);
  return toFloat(Ints{__builtin_convertvector(bytes, IntLanes)} - set1(128));
#endif
}

template <class T>
HORNBOOK_INLINE void store(T* p, Vec a);
template <>
HORNBOOK_INLINE void store(float* p, Vec a) {
  std::memcpy(p, &a.v, sizeof a.v);
}
HORNBOOK_INLINE void storeHalves(bf16* p, HalfLanes half) { std::memcpy(p, &half, sizeof half); }
template <>
HORNBOOK_INLINE void store(bf16* p, Vec a) {
  storeHalves(p, roundToBf16(a));
}

template <class T>
HORNBOOK_INLINE Vec loadPartial(const T* p, int n);
template <class T>
HORNBOOK_INLINE void storePartial(T* p, Vec a, int n);
template <>
HORNBOOK_INLINE Vec loadPartial(const centered8* p, int n) {
  centered8 lanes[W];
  for (int i = 0; i < W; i++) lanes[i].bits = i < n ? p[i].bits : 128;
  return load<centered8>(lanes);
}

#if defined(HORNBOOK_AVX512)
template <>
HORNBOOK_INLINE Vec loadPartial(const float* p, int n) {
  return {_mm512_maskz_loadu_ps(firstLanes(n).v, p)};
}
template <>
HORNBOOK_INLINE Vec loadPartial(const bf16* p, int n) {
  return widenBf16((HalfLanes)_mm256_maskz_loadu_epi16(firstLanes(n).v, p));
}
template <>
HORNBOOK_INLINE void storePartial(float* p, Vec a, int n) {
  _mm512_mask_storeu_ps(p, firstLanes(n).v, a.v);
}
HORNBOOK_INLINE void storeHalvesPartial(bf16* p, HalfLanes half, int n) { _mm256_mask_storeu_epi16(p, firstLanes(n).v, (__m256i)half); }
#else
template <>
HORNBOOK_INLINE Vec loadPartial(const float* p, int n) {
  float lanes[W] = {};
  for (int i = 0; i < n; i++) lanes[i] = p[i];
  return load<float>(lanes);
}
template <>
HORNBOOK_INLINE Vec loadPartial(const bf16* p, int n) {
  bf16 lanes[W] = {};
  for (int i = 0; i < n; i++) lanes[i] = p[i];
  return load<bf16>(lanes);
}
template <>
HORNBOOK_INLINE void storePartial(float* p, Vec a, int n) {
  float lanes[W];
  store<float>(lanes, a);
  for (int i = 0; i < n; i++) p[i] = lanes[i];
}
HORNBOOK_INLINE void storeHalvesPartial(bf16* p, HalfLanes half, int n) {
  for (int i = 0; i < n; i++) p[i].bits = half[i];
}
#endif
template <>
HORNBOOK_INLINE void storePartial(bf16* p, Vec a, int n) {
  storeHalvesPartial(p, roundToBf16(a), n);
}

template <class T>
HORNBOOK_INLINE Vec load(const T* p, All) { return load<T>(p); }
template <class T>
HORNBOOK_INLINE Vec load(const T* p, First first) { return loadPartial<T>(p, first.n); }
template <class T>
HORNBOOK_INLINE void store(T* p, Vec a, All) { store<T>(p, a); }
template <class T>
HORNBOOK_INLINE void store(T* p, Vec a, First first) { storePartial<T>(p, a, first.n); }

HORNBOOK_INLINE void storeExact(float* p, Vec a, All) { store<float>(p, a); }
HORNBOOK_INLINE void storeExact(float* p, Vec a, First first) { storePartial<float>(p, a, first.n); }
HORNBOOK_INLINE void storeExact(bf16* p, Vec a, All) { storeHalves(p, roundToBf16Exact(a)); }
HORNBOOK_INLINE void storeExact(bf16* p, Vec a, First first) { storeHalvesPartial(p, roundToBf16Exact(a), first.n); }

HORNBOOK_INLINE Vec loadBf16(const bf16* p) { return load<bf16>(p); }
HORNBOOK_INLINE void storeBf16(bf16* p, Vec a) { store<bf16>(p, a); }

// a in the lanes that `part` covers, `other` in those beyond: for reductions whose neutral element is not 0.
HORNBOOK_INLINE Vec inside(All, Vec a, Vec) { return a; }
HORNBOOK_INLINE Vec inside(First first, Vec a, Vec other) { return select(firstLanes(first.n), a, other); }

// Calls body(i, part) for each vector of [0, n), the last one perhaps partial.
template <class Body>
HORNBOOK_INLINE void forLanes(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + W <= n; i += W) body(i, All{});
  if (i < n) body(i, First{static_cast<int>(n - i)});
}

// Folds [0, n) into one vector by a = step(a, i, part), in four interleaved sums that start from 0, so that additions need not wait for
// each other. Where `part` is not All, step must add 0 to the lanes beyond (as partial loads make products and sums do).
template <class Step>
HORNBOOK_INLINE Vec sumLanes(int64_t n, Step step) {
  Vec a[4] = {zero(), zero(), zero(), zero()};
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W)
    for (int j = 0; j < 4; j++) a[j] = step(a[j], i + j * W, All{});
  forLanes(n - i, [&](int64_t k, auto part) { a[0] = step(a[0], i + k, part); });
  return (a[0] + a[1]) + (a[2] + a[3]);
}

// One element.
HORNBOOK_INLINE float toFloat(float x) { return x; }
HORNBOOK_INLINE float toFloat(bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float r;
  std::memcpy(&r, &bits, sizeof r);
  return r;
}
template <class T>
HORNBOOK_INLINE T fromFloat(float x);
template <>
HORNBOOK_INLINE float fromFloat(float x) { return x; }
template <>
HORNBOOK_INLINE bf16 fromFloat(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return {static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

}  // namespace hornbook::simd

#include "simd_math.h"
