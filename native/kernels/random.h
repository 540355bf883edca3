// Counter-based randomness: element i is a function of (seed, stream, i) alone. The twin of src/tensor/random.ts, bit for bit, which also
// names the sources: the same operations in the same order, doubles where JavaScript has doubles, and no contraction into fused multiply-adds
// (kernels are compiled with -ffp-contract=off).
#pragma once

#include <cmath>
#include <cstring>

#include "kernel.h"

namespace inkling::rng {

struct RandomKey {
  uint32_t seedLow, seedHigh, stream;
};

inline RandomKey randomKey(int32_t seedLow, int32_t seedHigh, int32_t stream) {
  return {static_cast<uint32_t>(seedLow), static_cast<uint32_t>(seedHigh), static_cast<uint32_t>(stream)};
}

// Words of `blocks` consecutive Philox 4x32-10 blocks: words[j][b] is word j of block `first + b`. Written so that the compiler keeps one
// block a lane.
constexpr int blocks = 16;
inline void philox(const RandomKey& key, uint64_t first, uint32_t words[4][blocks]) {
  uint32_t c0[blocks], c1[blocks], c2[blocks], c3[blocks];
  for (int b = 0; b < blocks; b++) {
    const uint64_t block = first + static_cast<uint64_t>(b);
    c0[b] = static_cast<uint32_t>(block);
    c1[b] = static_cast<uint32_t>(block >> 32);
    c2[b] = key.stream;
    c3[b] = 0;
  }
  uint32_t k0 = key.seedLow, k1 = key.seedHigh;
  for (int round = 0; round < 10; round++) {
    for (int b = 0; b < blocks; b++) {
      const uint64_t product0 = uint64_t{0xd2511f53} * c0[b];
      const uint64_t product1 = uint64_t{0xcd9e8d57} * c2[b];
      c0[b] = static_cast<uint32_t>(product1 >> 32) ^ c1[b] ^ k0;
      c1[b] = static_cast<uint32_t>(product1);
      c2[b] = static_cast<uint32_t>(product0 >> 32) ^ c3[b] ^ k1;
      c3[b] = static_cast<uint32_t>(product0);
    }
    k0 += 0x9e3779b9;
    k1 += 0xbb67ae85;
  }
  std::memcpy(words[0], c0, sizeof c0);
  std::memcpy(words[1], c1, sizeof c1);
  std::memcpy(words[2], c2, sizeof c2);
  std::memcpy(words[3], c3, sizeof c3);
}

// The random words of elements [first, first + n), handed to `take(i, words, count)` in runs of at most 4 * blocks.
template <class Take>
inline void randomWords(const RandomKey& key, int64_t first, int64_t n, Take take) {
  constexpr int run = 4 * blocks;
  uint32_t words[4][blocks], inOrder[run];
  int64_t i = first;
  const int64_t end = first + n;
  while (i < end) {
    philox(key, static_cast<uint64_t>(i) / 4, words);
    for (int b = 0; b < blocks; b++)
      for (int j = 0; j < 4; j++) inOrder[4 * b + j] = words[j][b];
    const int skip = static_cast<int>(i % 4);
    const int64_t count = end - i < run - skip ? end - i : run - skip;
    take(i, inOrder + skip, static_cast<int>(count));
    i += count;
  }
}

// Uniform in [0, 1) on a grid of 2^-24.
inline float uniform(uint32_t word) { return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24f; }

inline double naturalLog(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  int exponent = static_cast<int>((bits >> 52) & 0x7ff) - 1023;
  bits = (bits & 0xfffffffffffff) | 0x3ff0000000000000;
  double m;
  std::memcpy(&m, &bits, sizeof m);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    exponent += 1;
  }
  const double s = (m - 1) / (m + 1);
  const double z = s * s;
  double sum = 0;
  for (int n = 21; n >= 3; n -= 2) sum = z * (sum + 1.0 / n);
  return exponent * 0.6931471805599453 + 2 * (s + s * sum);
}

// c[0] r^(N-1) + ... + c[N-1], each step rounded twice.
template <int N>
inline double horner(double r, const double (&c)[N]) {
  double p = c[0];
  for (int i = 1; i < N; i++) p = p * r + c[i];
  return p;
}

inline double inverseNormal(double p) {
  const double q = p - 0.5;
  if (std::fabs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q *
           horner(r, {2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457, 13731.693765509461125,
                      1971.5909503065514427, 133.14166789178437745, 3.387132872796366608}) /
           horner(r, {5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867, 5394.1960214247511077,
                      687.1870074920579083, 42.313330701600911252, 1.0});
  }
  double r = std::sqrt(-naturalLog(q < 0 ? p : 1 - p));
  double value;
  if (r <= 5) {
    r -= 1.6;
    value = horner(r, {7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
                       3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734}) /
            horner(r, {1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
                       0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0});
  } else {
    r -= 5;
    value = horner(r, {2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
                       0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772}) /
            horner(r, {2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
                       0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0});
  }
  return q < 0 ? -value : value;
}

// Standard normal.
inline double normal(uint32_t word) { return inverseNormal((word + 0.5) * 0x1p-32); }

}  // namespace inkling::rng
