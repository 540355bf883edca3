// Operands that say on the device where the rows of a batch lie in larger buffers (keys and values of many sequences), so that the same command serves every
// step while sequences grow, come and go.
#pragma once

#include "kernel.h"

namespace hornbook::kernels {

// An i32 operand with a number for each row of a batch, or nothing.
struct RowNumbers {
  const int32_t* data = nullptr;
  int64_t stride = 0;

  RowNumbers() = default;
  explicit RowNumbers(const TensorView& x) : data(x.as<int32_t>()), stride(x.strides[0]) {}
  int64_t of(int64_t row, int64_t absent) const { return data ? data[row * stride] : absent; }
};

// Whether each row's slot is one of `count`; where one is not, the queue has failed.
inline bool slotsExist(const RowNumbers& slots, int64_t batch, int64_t count, Context& context) {
  for (int64_t row = 0; row < batch; row++) {
    const int64_t slot = slots.of(row, row);
    if (slot >= 0 && slot < count) continue;
    context.fail(row, "slot %lld of row %lld is not in [0, %lld).", static_cast<long long>(slot), static_cast<long long>(row), static_cast<long long>(count));
    return false;
  }
  return true;
}

// Whether each row has room for as many keys as it says; where one has not, the queue has failed.
inline bool lengthsFit(const RowNumbers& lengths, int64_t batch, int64_t room, Context& context) {
  for (int64_t row = 0; row < batch; row++) {
    const int64_t length = lengths.of(row, room);
    if (length >= 0 && length <= room) continue;
    context.fail(row, "%lld keys of row %lld are not in %lld.", static_cast<long long>(length), static_cast<long long>(row), static_cast<long long>(room));
    return false;
  }
  return true;
}

// Where the rows of a batch go in y [slots, room, ...]: `count` places each, from a place of its own on.
struct RowPlaces {
  RowNumbers at, slots;

  RowPlaces(const TensorView& at, const TensorView& slots) : at(at), slots(slots) {}

  // Whether all of them exist; where one does not, the queue has failed.
  bool fit(int64_t batch, int64_t count, const TensorView& y, Context& context) const {
    if (!slotsExist(slots, batch, y.shape[0], context)) return false;
    for (int64_t row = 0; row < batch; row++) {
      const int64_t first = at.of(row, 0);
      if (first >= 0 && first <= y.shape[1] - count) continue;
      context.fail(row, "%lld places from %lld on, of row %lld, are not in %lld.", static_cast<long long>(count), static_cast<long long>(first),
                   static_cast<long long>(row), static_cast<long long>(y.shape[1]));
      return false;
    }
    return true;
  }

  // Where a row begins, in elements of y.
  int64_t offset(int64_t row, const TensorView& y) const { return slots.of(row, row) * y.strides[0] + at.of(row, 0) * y.strides[1]; }
};

}  // namespace hornbook::kernels
