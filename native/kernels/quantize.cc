// Quantisers, the twin of src/tensor/reference/quantizers.ts, where the method is explained: the same operations on doubles in the same order, so that the
// bytes are the same. Blocks are independent of each other and any thread may take them.
#include <cmath>

#include "blocks.h"
#include "convert.h"
#include "walk.h"

namespace hornbook::kernels {
namespace {

constexpr double largestHalf = 65504;

uint16_t halfBits(double value) {
  return simd::toF16(static_cast<float>(value < -largestHalf ? -largestHalf : value > largestHalf ? largestHalf : value));
}

typedef double Lanes __attribute__((vector_size(64)));
typedef int32_t IntLanes __attribute__((vector_size(32)));
constexpr int lanes = 8;

HORNBOOK_INLINE Lanes load(const double* p) {
  Lanes r;
  std::memcpy(&r, p, sizeof r);
  return r;
}

// To the nearest whole number, ties upward, within [low, high].
HORNBOOK_INLINE Lanes rounded(Lanes value, double low, double high) {
  Lanes v = value + 0.5;
  v = v > low ? v : Lanes{} + low;
  v = v < high ? v : Lanes{} + high;
  const Lanes whole = __builtin_convertvector(__builtin_convertvector(v, IntLanes), Lanes);
  return whole > v ? whole - 1.0 : whole;
}
double rounded(double value, double low, double high) { return rounded(Lanes{} + value, low, high)[0]; }

HORNBOOK_INLINE double sum(const Lanes& v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }

// The scale d for which d * code, code in [low, high], comes closest to n numbers of x; 0 where all are 0.
double fitScale(const double* x, int n, double low, double high) {
  double extreme = 0;
  for (int i = 0; i < n; i++)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  if (extreme == 0) return 0;
  double best = 0, scale = 0;
  for (int step = -9; step <= 9; step++) {
    const double inverse = (low + 0.1 * step) / extreme;
    Lanes productLanes = {}, squareLanes = {};
    for (int i = 0; i < n; i += lanes) {
      const Lanes v = load(x + i), codes = rounded(inverse * v, low, high);
      productLanes += codes * v;
      squareLanes += codes * codes;
    }
    const double products = sum(productLanes), squares = sum(squareLanes);
    const double gain = squares > 0 ? products * products / squares : 0;
    if (gain > best) {
      best = gain;
      scale = products / squares;
    }
  }
  return scale;
}

struct Fit {
  double scale, min;
};

// The scale and minimum for which scale * code + min, code in [0, high], comes closest; with `belowZero` the minimum is at most 0.
Fit fitScaleAndMin(const double* x, int n, double high, bool belowZero) {
  double low = x[0], top = x[0];
  for (int i = 0; i < n; i++) {
    low = x[i] < low ? x[i] : low;
    top = x[i] > top ? x[i] : top;
  }
  Lanes all = {};
  for (int i = 0; i < n; i += lanes) all += load(x + i);
  const double total = sum(all);
  if (belowZero && low > 0) low = 0;
  if (top <= low) return {0, low};
  double best = HUGE_VAL;
  Fit fit = {(top - low) / high, low};
  for (int step = -1; step <= 20; step++) {
    const double inverse = (step < 0 ? high : high - 1 + 0.1 * step) / (top - low);
    Lanes codeLanes = {}, squareLanes = {}, productLanes = {};
    for (int i = 0; i < n; i += lanes) {
      const Lanes v = load(x + i), code = rounded(inverse * (v - low), 0, high);
      codeLanes += code;
      squareLanes += code * code;
      productLanes += code * v;
    }
    const double codes = sum(codeLanes), squares = sum(squareLanes), products = sum(productLanes);
    const double determinant = n * squares - codes * codes;
    if (determinant <= 0) continue;
    double s = (n * products - total * codes) / determinant;
    double m = (total * squares - products * codes) / determinant;
    if (belowZero && m > 0) {
      m = 0;
      s = products / squares;
    }
    const double error = s * s * squares + n * m * m + 2 * s * m * codes - 2 * s * products - 2 * m * total;
    if (s > 0 && error < best) {
      best = error;
      fit = {s, m};
    }
  }
  return fit;
}

// The squared error of n numbers with the best codes for this scale and minimum.
double squaredError(const double* x, int n, double scale, double min, double low, double high) {
  const double inverse = scale == 0 ? 0 : 1 / scale;
  Lanes error = {};
  for (int i = 0; i < n; i += lanes) {
    const Lanes v = load(x + i), off = scale * rounded((v - min) * inverse, low, high) + min - v;
    error += off * off;
  }
  return sum(error);
}

double reciprocal(double scale) { return scale == 0 ? 0 : 1 / scale; }

void putHalf(uint8_t* to, uint16_t bits) {
  to[0] = static_cast<uint8_t>(bits & 255);
  to[1] = static_cast<uint8_t>(bits >> 8);
}

void putNibbles(uint8_t* to, uint8_t* fifths, const int (&codes)[32]) {
  for (int i = 0; i < 32; i++) {
    to[i & 15] = static_cast<uint8_t>(to[i & 15] | (codes[i] & 15) << (i < 16 ? 0 : 4));
    if (fifths != nullptr) fifths[i >> 3] = static_cast<uint8_t>(fifths[i >> 3] | (codes[i] >> 4) << (i & 7));
  }
}

// Q4_0 and Q5_0: a scale and codes around 0.
template <int bits>
void symmetric32(const double* x, uint8_t* to) {
  constexpr int offset = 1 << (bits - 1);
  const uint16_t half = halfBits(fitScale(x, 32, -offset, offset - 1));
  const double inverse = reciprocal(simd::fromF16(half));
  int codes[32];
  for (int i = 0; i < 32; i++) codes[i] = static_cast<int>(rounded(x[i] * inverse, -offset, offset - 1)) + offset;
  putHalf(to, half);
  putNibbles(to + (bits == 4 ? 2 : 6), bits == 4 ? nullptr : to + 2, codes);
}

// Q4_1 and Q5_1: a scale and a minimum.
template <int bits>
void affine32(const double* x, uint8_t* to) {
  constexpr int high = (1 << bits) - 1;
  const Fit fit = fitScaleAndMin(x, 32, high, false);
  const uint16_t scaleHalf = halfBits(fit.scale), minHalf = halfBits(fit.min);
  const double inverse = reciprocal(simd::fromF16(scaleHalf)), min = simd::fromF16(minHalf);
  int codes[32];
  for (int i = 0; i < 32; i++) codes[i] = static_cast<int>(rounded((x[i] - min) * inverse, 0, high));
  putHalf(to, scaleHalf);
  putHalf(to + 2, minHalf);
  putNibbles(to + (bits == 4 ? 4 : 8), bits == 4 ? nullptr : to + 4, codes);
}

void eightBits(const double* x, uint8_t* to) {
  double largest = 0;
  for (int i = 0; i < 32; i++) largest = std::fabs(x[i]) > largest ? std::fabs(x[i]) : largest;
  const uint16_t half = halfBits(largest / 127);
  const double inverse = reciprocal(simd::fromF16(half));
  putHalf(to, half);
  for (int i = 0; i < 32; i++) to[2 + i] = static_cast<uint8_t>(static_cast<int>(rounded(x[i] * inverse, -128, 127)));
}

void putSixBits(uint8_t* to, int group, int scale, int min) {
  const auto add = [&](int i, int bits) { to[i] = static_cast<uint8_t>(to[i] | bits); };
  if (group < 4) {
    add(group, scale);
    add(4 + group, min);
  } else {
    add(4 + group, (scale & 15) | (min & 15) << 4);
    add(group - 4, scale >> 4 << 6);
    add(group, min >> 4 << 6);
  }
}

// Q4_K and Q5_K: 8 groups of 32; scales and mins in six bits, and a half each for all of them.
template <int bits>
void affine256(const double* x, uint8_t* to) {
  constexpr int high = (1 << bits) - 1;
  Fit fits[8];
  double largestScale = -HUGE_VAL, largestMin = -HUGE_VAL;
  for (int group = 0; group < 8; group++) {
    fits[group] = fitScaleAndMin(x + 32 * group, 32, high, true);
    largestScale = fits[group].scale > largestScale ? fits[group].scale : largestScale;
    largestMin = -fits[group].min > largestMin ? -fits[group].min : largestMin;
  }
  const uint16_t scaleHalf = halfBits(largestScale / 63), minHalf = halfBits(largestMin / 63);
  const double unit = simd::fromF16(scaleHalf), minUnit = simd::fromF16(minHalf);
  putHalf(to, scaleHalf);
  putHalf(to + 2, minHalf);
  uint8_t* const fifths = to + 16;
  uint8_t* const codes = to + (bits == 4 ? 16 : 48);
  for (int group = 0; group < 8; group++) {
    const double* const from = x + 32 * group;
    const int s0 = unit == 0 ? 0 : static_cast<int>(rounded(fits[group].scale / unit, 0, 63));
    const int m0 = minUnit == 0 ? 0 : static_cast<int>(rounded(-fits[group].min / minUnit, 0, 63));
    int s = s0, m = m0;
    double best = HUGE_VAL;
    for (int ds = -1; ds <= 1; ds++) {
      for (int dm = -1; dm <= 1; dm++) {
        if (s0 + ds < 0 || s0 + ds > 63 || m0 + dm < 0 || m0 + dm > 63) continue;
        const double error = squaredError(from, 32, unit * (s0 + ds), -minUnit * (m0 + dm), 0, high);
        if (error < best) {
          s = s0 + ds;
          m = m0 + dm;
          best = error;
        }
      }
    }
    putSixBits(to + 4, group, s, m);
    const double min = -minUnit * m, inverse = reciprocal(unit * s);
    for (int i = 0; i < 32; i++) {
      const int code = static_cast<int>(rounded((from[i] - min) * inverse, 0, high));
      uint8_t& byte = codes[32 * (group >> 1) + i];
      byte = static_cast<uint8_t>(byte | (code & 15) << (4 * (group & 1)));
      if (bits == 5) fifths[i] = static_cast<uint8_t>(fifths[i] | (code >> 4) << group);
    }
  }
}

// Q6_K: 16 groups of 16, scales in eight bits, a half for all of them.
void symmetric256(const double* x, uint8_t* to) {
  double fits[16], extreme = 0;
  for (int group = 0; group < 16; group++) {
    fits[group] = fitScale(x + 16 * group, 16, -32, 31);
    if (std::fabs(fits[group]) > std::fabs(extreme)) extreme = fits[group];
  }
  const uint16_t half = halfBits(extreme / -128);
  const double unit = simd::fromF16(half);
  putHalf(to + 208, half);
  for (int group = 0; group < 16; group++) {
    const double* const from = x + 16 * group;
    const int s0 = unit == 0 ? 0 : static_cast<int>(rounded(fits[group] / unit, -128, 127));
    int s = s0;
    double best = HUGE_VAL;
    for (int ds = -1; ds <= 1; ds++) {
      if (s0 + ds < -128 || s0 + ds > 127) continue;
      const double error = squaredError(from, 16, unit * (s0 + ds), 0, -32, 31);
      if (error < best) {
        s = s0 + ds;
        best = error;
      }
    }
    to[192 + group] = static_cast<uint8_t>(s);
    const double inverse = reciprocal(unit * s);
    for (int i = 0; i < 16; i++) {
      const int code = static_cast<int>(rounded(from[i] * inverse, -32, 31)) + 32, j = 16 * group + i;
      uint8_t& lower = to[64 * (j >> 7) + (j & 63)];
      uint8_t& upper = to[128 + 32 * (j >> 7) + (j & 31)];
      lower = static_cast<uint8_t>(lower | (code & 15) << (4 * (j >> 6 & 1)));
      upper = static_cast<uint8_t>(upper | (code >> 4) << (2 * (j >> 5 & 3)));
    }
  }
}

using QuantizeBlock = void (*)(const double* x, uint8_t* to);

QuantizeBlock quantizerOf(BlockFormat format) {
  switch (format) {
    case BlockFormat::q4_0: return symmetric32<4>;
    case BlockFormat::q4_1: return affine32<4>;
    case BlockFormat::q5_0: return symmetric32<5>;
    case BlockFormat::q5_1: return affine32<5>;
    case BlockFormat::q8_0: return eightBits;
    case BlockFormat::q4_k: return affine256<4>;
    case BlockFormat::q5_k: return affine256<5>;
    case BlockFormat::q6_k: return symmetric256;
    default: return nullptr;
  }
}

}  // namespace

void quantize(const QuantizeParams& p, Context& context) {
  const int64_t rows = p.x.shape[0], n = p.x.shape[1], stride = p.x.strides[0], rowBytes = p.w.shape[1];
  if (rows == 0 || n == 0) return;
  withFloatType(p.x.dtype, [&](auto t) {
    using T = decltype(t);
    if (blocks::isPlain(p.format)) {
      parallelRanges(context, rows, rowsPerTask(n), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; row++) {
          const T* x = p.x.as<T>() + row * stride;
          bf16* to = reinterpret_cast<bf16*>(p.w.as<uint8_t>() + row * rowBytes);
          simd::forLanes(n, [&](int64_t i, auto part) {
            const simd::Vec v = simd::load(x + i, part);
            if (p.format == BlockFormat::bf16) return simd::storeExact(to + i, v, part);
            const simd::HalfLanes half = simd::roundToF16(v);
            if constexpr (std::is_same_v<decltype(part), simd::First>) {
              simd::storeHalvesPartial(to + i, half, part.n);
            } else {
              simd::storeHalves(to + i, half);
            }
          });
        }
      });
      return;
    }
    const QuantizeBlock quantizeBlock = quantizerOf(p.format);
    if (quantizeBlock == nullptr) return context.fail(0, "quantize: this format is only read");
    blocks::withFormat(p.format, [&](auto f) {
      using Format = decltype(f);
      const int64_t inRow = n / Format::size;
      parallelRanges(context, rows * inRow, 4096 / Format::size, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) {
          const int64_t row = i / inRow, block = i % inRow;
          double x[Format::size];
          for (int j = 0; j < Format::size; j++) {
            x[j] = simd::toFloat(p.x.as<T>()[row * stride + block * Format::size + j]);
            if (!std::isfinite(x[j])) {
              context.fail(i, "quantize: row %lld has a number that is not finite at position %lld", static_cast<long long>(row),
                           static_cast<long long>(block * Format::size + j));
              return;
            }
          }
          uint8_t* const to = p.w.as<uint8_t>() + row * rowBytes + block * Format::bytes;
          std::memset(to, 0, Format::bytes);
          quantizeBlock(x, to);
        }
      });
    });
  });
}

}  // namespace hornbook::kernels
