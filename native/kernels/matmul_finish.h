// What happens to a tile after its sum, while it is still in the first-level cache: partial sums of earlier parts of k, bias, the pre-activation
// that the backward pass needs, activation, accumulation, rounding.
#pragma once

#include "activations.h"
#include "matmul.h"

namespace inkling::gemm {

// A sum over k that comes in several parts, and where it waits: in `partial` (f32, one row after the other), or in c itself where c is f32 and
// nothing but addition follows.
struct Part {
  bool first;
  bool last;
  float* partial;
  int64_t partialStride;
};

inline bool waitsInC(const Output& out) { return out.dtype == DType::f32 && out.activation == Activation::none && out.pre == nullptr; }

// Stores a tile at [row, row + rows) x [column, column + columns).
using Finish = void (*)(const Output&, const Part&, const float* tile, int64_t tileStride, int64_t row, int64_t column, int64_t rows, int64_t columns);

// The endings that need no decisions inside the loop; `full` takes every case.
enum class Ending { store, bias, add, full };

template <class C, Ending ending, class Function>
INKLING_INLINE void finishWith(const Output& out, const Part& part, const float* tile, int64_t tileStride, int64_t row, int64_t column, int64_t rows,
                               int64_t columns, Function activation) {
  const float* bias = out.bias == nullptr ? nullptr : out.bias + column;
  for (int64_t i = 0; i < rows; i++) {
    C* c = static_cast<C*>(out.c) + (row + i) * out.rowStride + column;
    const float* sums = tile + i * tileStride;
    float* partial = part.partial == nullptr ? nullptr : part.partial + (row + i) * part.partialStride + column;
    simd::forLanes(columns, [&](int64_t j, auto lanes) {
      Vec v = simd::load<float>(sums + j);
      if constexpr (ending == Ending::bias) v += simd::load<float>(bias + j, lanes);
      if constexpr (ending == Ending::add) v += simd::load<C>(c + j, lanes);
      if constexpr (ending == Ending::full) {
        if (partial != nullptr && !part.first) v += simd::load<float>(partial + j, lanes);
        if (partial != nullptr && !part.last) {
          simd::store<float>(partial + j, v, lanes);
          return;
        }
        if (bias != nullptr) v += simd::load<float>(bias + j, lanes);
        if (out.pre != nullptr) {
          const int64_t at = (row + i) * out.preStride + column + j;
          if (out.preDType == DType::f32) {
            simd::store<float>(static_cast<float*>(out.pre) + at, v, lanes);
          } else {
            simd::store<bf16>(static_cast<bf16*>(out.pre) + at, v, lanes);
          }
        }
        v = activation(v);
        if (out.accumulate) v += simd::load<C>(c + j, lanes);
      }
      simd::store<C>(c + j, v, lanes);
    });
  }
}

template <class C, Ending ending>
void finishTile(const Output& out, const Part& part, const float* tile, int64_t tileStride, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  const auto with = [&](auto activation) { finishWith<C, ending>(out, part, tile, tileStride, row, column, rows, columns, activation); };
  if constexpr (ending == Ending::full) {
    simd::withActivation(out.activation, with);
  } else {
    with([](Vec x) { return x; });
  }
}

template <class C>
Finish finishFor(const Output& out, const Part& part) {
  const bool whole = part.first && part.last;
  if (waitsInC(out) && part.partial == nullptr && !whole) {
    if (!part.first) return finishTile<C, Ending::add>;
    if (out.accumulate && out.bias == nullptr) return finishTile<C, Ending::add>;
  }
  if (out.activation != Activation::none || out.pre != nullptr || part.partial != nullptr || (out.accumulate && out.bias != nullptr)) {
    return finishTile<C, Ending::full>;
  }
  return out.accumulate ? finishTile<C, Ending::add> : out.bias != nullptr ? finishTile<C, Ending::bias> : finishTile<C, Ending::store>;
}

inline Finish finishFor(const Output& out, const Part& part) {
  return out.dtype == DType::f32 ? finishFor<float>(out, part) : finishFor<bf16>(out, part);
}

}  // namespace inkling::gemm
