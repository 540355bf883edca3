// Tensors for tests of kernels: seeded contents, any strides, and reading as double whatever the dtype.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "../kernels/kernel.h"

namespace hornbook::testing {

// SplitMix64: enough for test data.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed) {}
  uint64_t word() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  double uniform() { return static_cast<double>(word() >> 11) * 0x1p-53; }
  // Between low and high, both included.
  int64_t integer(int64_t low, int64_t high) { return low + static_cast<int64_t>(word() % static_cast<uint64_t>(high - low + 1)); }
  // Symmetric, variance 1, bell-like.
  double normal() { return (uniform() + uniform() + uniform() + uniform() - 2) * std::sqrt(3.0); }
  bool coin(double p = 0.5) { return uniform() < p; }

 private:
  uint64_t state_;
};

inline uint16_t bf16Bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if (x != x) return static_cast<uint16_t>((bits >> 16) | 64);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
inline float bf16Value(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float x;
  std::memcpy(&x, &wide, 4);
  return x;
}

// Owns memory with a guard of a known pattern on each side; `strides` default to dense.
class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, std::vector<int64_t> shape, std::vector<int64_t> strides = {}) {
    view_.dtype = dtype;
    view_.rank = static_cast<int32_t>(shape.size());
    if (strides.empty()) {
      strides.resize(shape.size());
      int64_t step = 1;
      for (size_t i = shape.size(); i-- > 0; step *= shape[i]) strides[i] = step;
    }
    int64_t extent = 1;
    for (size_t i = 0; i < shape.size(); i++) {
      view_.shape[i] = shape[i];
      view_.strides[i] = strides[i];
      extent += (shape[i] > 0 ? shape[i] - 1 : 0) * strides[i];
    }
    memory_.assign(static_cast<size_t>(extent * bytesPerElement(dtype)) + 2 * guard, 0xa5);
  }
  TensorView view() {
    TensorView v = view_;
    v.data = v.rank == 0 && memory_.empty() ? nullptr : memory_.data() + guard;
    return v;
  }
  int64_t count() const { return view_.elements(); }
  DType dtype() const { return view_.dtype; }

  // Where the i-th element (row-major) lies, in elements.
  int64_t offset(int64_t i) const {
    int64_t at = 0;
    for (int axis = view_.rank - 1; axis >= 0; axis--) {
      at += i % view_.shape[axis] * view_.strides[axis];
      i /= view_.shape[axis];
    }
    return at;
  }
  double get(int64_t i) const {
    const unsigned char* at = memory_.data() + guard + offset(i) * bytesPerElement(view_.dtype);
    switch (view_.dtype) {
      case DType::f32: { float x; std::memcpy(&x, at, 4); return x; }
      case DType::bf16: { uint16_t x; std::memcpy(&x, at, 2); return bf16Value(x); }
      case DType::i32: { int32_t x; std::memcpy(&x, at, 4); return x; }
      default: return *at;
    }
  }
  void set(int64_t i, double value) {
    unsigned char* at = memory_.data() + guard + offset(i) * bytesPerElement(view_.dtype);
    switch (view_.dtype) {
      case DType::f32: { const float x = static_cast<float>(value); std::memcpy(at, &x, 4); break; }
      case DType::bf16: { const uint16_t x = bf16Bits(static_cast<float>(value)); std::memcpy(at, &x, 2); break; }
      case DType::i32: { const int32_t x = static_cast<int32_t>(value); std::memcpy(at, &x, 4); break; }
      default: *at = static_cast<unsigned char>(value);
    }
  }
  Tensor& normal(Numbers& numbers, double scale = 1) {
    for (int64_t i = 0; i < count(); i++) set(i, scale * numbers.normal());
    return *this;
  }
  std::vector<double> values() const {
    std::vector<double> all(static_cast<size_t>(count()));
    for (int64_t i = 0; i < count(); i++) all[static_cast<size_t>(i)] = get(i);
    return all;
  }
  // Every byte, gaps and guards included: what must not change, and what must be equal between thread counts.
  const std::vector<unsigned char>& bytes() const { return memory_; }
  // Whether every byte that is not an element still holds the pattern.
  bool gapsUntouched() const {
    std::vector<bool> used(memory_.size(), false);
    const int64_t size = bytesPerElement(view_.dtype);
    for (int64_t i = 0; i < count(); i++)
      for (int64_t b = 0; b < size; b++) used[static_cast<size_t>(guard + offset(i) * size + b)] = true;
    for (size_t i = 0; i < memory_.size(); i++)
      if (!used[i] && memory_[i] != 0xa5) return false;
    return true;
  }

 private:
  static constexpr int64_t guard = 64;
  TensorView view_;
  std::vector<unsigned char> memory_;
};

inline int failures = 0;

// Largest difference over the largest magnitude (at least `floor`) must stay below `tolerance`; infinities must match.
inline void expectClose(const char* what, const std::vector<double>& actual, const std::vector<double>& expected, double tolerance, double floor = 1e-3) {
  double worst = 0, largest = floor;
  size_t where = 0;
  bool broken = actual.size() != expected.size();
  for (size_t i = 0; !broken && i < expected.size(); i++) {
    if (std::isinf(expected[i])) {
      if (actual[i] != expected[i]) broken = true, where = i;
      continue;
    }
    largest = std::fmax(largest, std::fabs(expected[i]));
    const double difference = std::fabs(actual[i] - expected[i]);
    if (!(difference <= worst)) worst = difference, where = i;
  }
  if (!broken && worst <= tolerance * largest) return;
  failures++;
  if (failures < 40)
    std::printf("FAIL %s: at %zu is %.9g, should be %.9g (largest %.3g, allowed %.3g)\n", what, where, actual[where], expected[where], largest, tolerance);
}

inline void expect(const char* what, bool holds) {
  if (holds) return;
  failures++;
  std::printf("FAIL %s\n", what);
}

inline int finish(const char* name) {
  std::printf("%s: %s\n", name, failures == 0 ? "ok" : "FAILED");
  return failures == 0 ? 0 : 1;
}

}  // namespace hornbook::testing
