// Operands that say on the device where in a longer tensor the work happens, so that the same command serves every step of a growing cache.
#pragma once

#include <initializer_list>

#include "kernel.h"

namespace hornbook::kernels {

// Narrows y, which is longer than `count` along its second axis, to the places from `at` on. False where they are not all there; the queue has failed then.
inline bool placeAt(const TensorView& at, int64_t count, TensorView& y, Context& context) {
  if (!at) return true;
  const int64_t first = *at.as<int32_t>(), room = y.shape[1];
  if (first < 0 || first > room - count) {
    context.fail(0, "%lld places from %lld on are not in %lld.", static_cast<long long>(count), static_cast<long long>(first), static_cast<long long>(room));
    return false;
  }
  y.data = y.as<char>() + first * y.strides[1] * bytesPerElement(y.dtype);
  y.shape[1] = count;
  return true;
}

// Only the first `length` keys of k, v and their scales count. False where they have fewer; the queue has failed then.
inline bool shorten(const TensorView& length, std::initializer_list<TensorView*> of, Context& context) {
  if (!length) return true;
  const int32_t count = *length.as<int32_t>();
  for (TensorView* view : of) {
    if (count < 0 || count > view->shape[1]) {
      context.fail(0, "%d keys are not in %lld.", count, static_cast<long long>(view->shape[1]));
      return false;
    }
    view->shape[1] = count;
  }
  return true;
}

}  // namespace hornbook::kernels
