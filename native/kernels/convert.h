// Conversions between element types: float to integer truncates toward zero and saturates, NaN becomes 0; integers saturate too.
#pragma once

#include <cstring>
#include <type_traits>

#include "simd.h"

namespace hornbook::kernels {

template <class T>
constexpr bool isFloat = std::is_same_v<T, float> || std::is_same_v<T, bf16>;

template <class D, class S>
HORNBOOK_INLINE D convert(S x) {
  if constexpr (std::is_same_v<D, S>) {
    return x;
  } else if constexpr (std::is_same_v<S, bf16>) {
    return convert<D>(simd::toFloat(x));
  } else if constexpr (std::is_same_v<D, bf16>) {
    return simd::fromFloat<bf16>(static_cast<float>(x));
  } else if constexpr (std::is_same_v<D, float>) {
    return static_cast<float>(x);
  } else if constexpr (std::is_same_v<D, int32_t>) {
    if constexpr (std::is_same_v<S, uint8_t>) return x;
    else return !(x > -2147483648.0f) ? (x == x ? INT32_MIN : 0) : x < 2147483648.0f ? static_cast<int32_t>(x) : INT32_MAX;
  } else {
    return !(x > S{0}) ? uint8_t{0} : x < S{255} ? static_cast<uint8_t>(x) : uint8_t{255};
  }
}

// y[i] = x[i], contiguous.
template <class D, class S>
inline void convertRun(const S* x, D* y, int64_t n) {
  if constexpr (std::is_same_v<D, S>) {
    std::memcpy(y, x, static_cast<size_t>(n) * sizeof(S));
  } else if constexpr (isFloat<S> && isFloat<D>) {
    simd::forLanes(n, [&](int64_t i, auto part) { simd::storeExact(y + i, simd::load(x + i, part), part); });
  } else {
    for (int64_t i = 0; i < n; i++) y[i] = convert<D>(x[i]);
  }
}

}  // namespace hornbook::kernels
