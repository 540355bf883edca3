// The order of numbers as the order of whole ones, for what sorts or keeps the best.
#pragma once

#include <cstring>

#include "convert.h"

namespace hornbook::kernels {

// A key whose unsigned order is the order of values: NaN, of which there is one kind, above all; -0 equal to 0.
template <class T>
uint32_t sortKey(T x) {
  if constexpr (isFloat<T>) {
    const float value = simd::toFloat(x);
    if (value != value) return UINT32_MAX;
    if (value == 0) return 0x80000000u;
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
  } else {
    return static_cast<uint32_t>(x) ^ (std::is_same_v<T, int32_t> ? 0x80000000u : 0u);
  }
}

// The float of a key; that of a NaN is one.
inline float floatOfKey(uint32_t key) {
  const uint32_t bits = key >> 31 ? key ^ 0x80000000u : ~key;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace hornbook::kernels
