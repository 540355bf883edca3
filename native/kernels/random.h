// Counter-based randomness: element i is a function of (seed, stream, i) alone. The twin of src/tensor/random.ts, bit for bit, which also
// names the sources: the same operations in the same order, doubles where JavaScript has doubles, and no contraction into fused multiply-adds
// (kernels are compiled with -ffp-contract=off).
#pragma once

#include <cmath>
#include <cstring>

#include "simd.h"

namespace hornbook::rng {

struct RandomKey {
  uint32_t seedLow, seedHigh, stream;
};

inline RandomKey randomKey(int32_t seedLow, int32_t seedHigh, int32_t stream) {
  return {static_cast<uint32_t>(seedLow), static_cast<uint32_t>(seedHigh), static_cast<uint32_t>(stream)};
}

// 64-bit lanes, each holding 32 bits of a block's state; what its upper half holds does not matter.
constexpr int wideLanes = simd::W / 2;
typedef uint64_t WideLanes __attribute__((vector_size(8 * wideLanes)));

// The products of the lower halves.
HORNBOOK_INLINE WideLanes multiply32(WideLanes a, uint64_t b) {
  const WideLanes all = WideLanes{} + b;
#if defined(HORNBOOK_AVX512)
  return (WideLanes)_mm512_mul_epu32((__m512i)a, (__m512i)all);
#elif defined(HORNBOOK_AVX2)
  return (WideLanes)_mm256_mul_epu32((__m256i)a, (__m256i)all);
#elif defined(__SSE2__)
  return (WideLanes)_mm_mul_epu32((__m128i)a, (__m128i)all);
#elif defined(HORNBOOK_NEON)
  return (WideLanes)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)all));
#else
  return (a & 0xffffffff) * all;
#endif
}

// Philox 4x32-10 on wideLanes consecutive blocks; pairs[b] are words 0, 1 and words 2, 3 of a block.
HORNBOOK_INLINE void philox(const RandomKey& key, uint64_t first, uint64_t (*pairs)[2]) {
  WideLanes c0, c1, c2 = WideLanes{} + key.stream, c3 = {};
  for (int b = 0; b < wideLanes; b++) c0[b] = first + static_cast<uint64_t>(b);
  c1 = c0 >> 32;
  uint32_t k0 = key.seedLow, k1 = key.seedHigh;
  for (int round = 0; round < 10; round++) {
    const WideLanes product0 = multiply32(c0, 0xd2511f53), product1 = multiply32(c2, 0xcd9e8d57);
    c0 = (product1 >> 32) ^ c1 ^ k0;
    c1 = product1;
    c2 = (product0 >> 32) ^ c3 ^ k1;
    c3 = product0;
    k0 += 0x9e3779b9;
    k1 += 0xbb67ae85;
  }
  const WideLanes low = (c0 & 0xffffffff) | c1 << 32, high = (c2 & 0xffffffff) | c3 << 32;
  for (int b = 0; b < wideLanes; b++) {
    pairs[b][0] = low[b];
    pairs[b][1] = high[b];
  }
}

// The random words of elements [first, first + n), handed to `take(i, words, count)` in runs of at most maxRun.
constexpr int maxRun = 256;
template <class Take>
inline void randomWords(const RandomKey& key, int64_t first, int64_t n, Take take) {
  uint64_t pairs[maxRun / 4][2];
  uint32_t words[maxRun];
  int64_t i = first;
  const int64_t end = first + n;
  while (i < end) {
    const int skip = static_cast<int>(i % 4);
    const int64_t count = end - i < maxRun - skip ? end - i : maxRun - skip;
    for (int b = 0; 4 * b < skip + count; b += wideLanes) philox(key, static_cast<uint64_t>(i) / 4 + static_cast<uint64_t>(b), pairs + b);
    std::memcpy(words, pairs, sizeof words);  // little-endian: the lower word comes first
    take(i, static_cast<const uint32_t*>(words) + skip, static_cast<int>(count));
    i += count;
  }
}

// Uniform in [0, 1) on a grid of 2^-24.
inline float uniform(uint32_t word) { return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24f; }

// The polynomial in r with these coefficients, the highest power first; each step is rounded twice.
template <class... Rest>
HORNBOOK_INLINE double horner(double r, double first, Rest... rest) {
  double p = first;
  ((p = p * r + rest), ...);
  return p;
}

HORNBOOK_INLINE double naturalLog(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const int exponent = static_cast<int>((bits >> 52) & 0x7ff) - 1023;
  bits = (bits & 0xfffffffffffff) | 0x3ff0000000000000;
  double m;
  std::memcpy(&m, &bits, sizeof m);
  const bool large = m > 1.4142135623730951;
  m = large ? m * 0.5 : m;
  const double s = (m - 1) / (m + 1);
  const double z = s * s;
  const double sum =
      horner(z, 1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3) * z;
  return (exponent + large) * 0.6931471805599453 + 2 * (s + s * sum);
}

// The three parts of the inverse of the normal distribution function, by how far out p lies.
HORNBOOK_INLINE double inverseNormalCentre(double q) {
  const double r = 0.180625 - q * q;
  return q *
         horner(r, 2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457, 13731.693765509461125,
                    1971.5909503065514427, 133.14166789178437745, 3.387132872796366608) /
         horner(r, 5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867, 5394.1960214247511077,
                    687.1870074920579083, 42.313330701600911252, 1.0);
}
HORNBOOK_INLINE double inverseNormalTail(double r) {
  r -= 1.6;
  return horner(r, 7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
                    3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734) /
         horner(r, 1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
                    0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0);
}

// Standard normal numbers out of random words, n <= maxRun. A word is at least 2^-33 from 0 and 1, where random.ts would need its third
// part (beyond e^-25) no more. All go through the centre, then those outside it, gathered, through the tail: so that both are vector loops.
inline void normals(const uint32_t* words, int n, double* y) {
  int outside[maxRun], count = 0;
  double r[maxRun];
  for (int i = 0; i < n; i++) y[i] = inverseNormalCentre((words[i] + 0.5) * 0x1p-32 - 0.5);
  for (int i = 0; i < n; i++) {
    outside[count] = i;
    count += std::fabs((words[i] + 0.5) * 0x1p-32 - 0.5) > 0.425;
  }
  for (int k = 0; k < count; k++) {
    const double p = (words[outside[k]] + 0.5) * 0x1p-32;
    r[k] = p < 0.5 ? p : 1 - p;
  }
  for (int k = 0; k < count; k++) r[k] = inverseNormalTail(std::sqrt(-naturalLog(r[k])));
  for (int k = 0; k < count; k++) y[outside[k]] = words[outside[k]] < 0x80000000u ? -r[k] : r[k];
}

}  // namespace hornbook::rng
