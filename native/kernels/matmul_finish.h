// What happens to a tile after its sum, while it is still in the first-level cache: partial sums of earlier parts of k, bias, the pre-activation
// that the backward pass needs, activation, accumulation, rounding.
#pragma once

#include "activations.h"
#include "matmul_ahead.h"

namespace hornbook::gemm {

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
HORNBOOK_INLINE void finishWith(const Output& out, const Part& part, const float* tile, int64_t tileStride, int64_t row, int64_t column, int64_t rows,
                               int64_t columns, Function activation) {
  const float* bias = out.bias == nullptr ? nullptr : out.bias + column;
#pragma GCC unroll 8
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

// Whole tiles, of a size known when compiled, have a copy of their own: the ending of one passes through the processor beside the sum of the next.
template <class C, Ending ending, int wholeRows, int wholeColumns>
void finishTile(const Output& out, const Part& part, const float* tile, int64_t tileStride, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  const auto with = [&](auto activation) __attribute__((always_inline)) {
    if (wholeRows > 0 && rows == wholeRows && columns == wholeColumns) {
      finishWith<C, ending>(out, part, tile, wholeColumns, row, column, wholeRows, wholeColumns, activation);
    } else {
      finishWith<C, ending>(out, part, tile, tileStride, row, column, rows, columns, activation);
    }
  };
  if constexpr (ending == Ending::full) {
    // Added to c before it is rounded, the rest of a difference may be what an activation is off by.
    if (out.accumulate) simd::withActivation<float>(out.activation, with);
    else simd::withActivation<C>(out.activation, with);
  } else {
    with([](Vec x) { return x; });
  }
}

inline Ending endingFor(const Output& out, const Part& part) {
  const bool whole = part.first && part.last;
  if (waitsInC(out) && part.partial == nullptr && !whole) {
    if (!part.first) return Ending::add;
    if (out.accumulate && out.bias == nullptr) return Ending::add;
  }
  if (out.activation != Activation::none || out.pre != nullptr || part.partial != nullptr || (out.accumulate && out.bias != nullptr)) return Ending::full;
  return out.accumulate ? Ending::add : out.bias != nullptr ? Ending::bias : Ending::store;
}

template <class C, int wholeRows, int wholeColumns>
Finish finishFor(Ending ending) {
  switch (ending) {
    case Ending::store: return finishTile<C, Ending::store, wholeRows, wholeColumns>;
    case Ending::bias: return finishTile<C, Ending::bias, wholeRows, wholeColumns>;
    case Ending::add: return finishTile<C, Ending::add, wholeRows, wholeColumns>;
    case Ending::full: break;
  }
  return finishTile<C, Ending::full, wholeRows, wholeColumns>;
}

// The ending of a part of a product whose tiles are mostly of this size.
template <int wholeRows = 0, int wholeColumns = 0>
Finish finishFor(const Output& out, const Part& part) {
  const Ending ending = endingFor(out, part);
  return out.dtype == DType::f32 ? finishFor<float, wholeRows, wholeColumns>(ending) : finishFor<bf16, wholeRows, wholeColumns>(ending);
}

// Where the ending of a part stores a tile.
inline Destination destinationOf(const Output& out, const Part& part, int64_t row, int64_t column, int64_t columns) {
  const auto at = [&](void* data, int64_t stride, int64_t bytes) {
    return Rows{static_cast<const char*>(data) + (row * stride + column) * bytes, stride * bytes, columns * bytes};
  };
  if (part.partial != nullptr && !part.last) return {at(part.partial, part.partialStride, 4), {}};
  Destination to = {at(out.c, out.rowStride, bytesPerElement(out.dtype)), {}};
  if (out.pre != nullptr) to.results[1] = at(out.pre, out.preStride, bytesPerElement(out.preDType));
  return to;
}

}  // namespace hornbook::gemm
