// What is asked of memory while a tile is summed, so that nobody waits for it afterwards: the places that the tile will be stored to, and the rows of a
// that come after those in hand, which the processor does not foresee by itself.
#pragma once

#include "matmul.h"

namespace hornbook::gemm {

constexpr int64_t cacheLine = 64;
constexpr int64_t stretchSteps = 16;     // of a tile's sum, between two looks ahead: a cache line of a row of pairs
constexpr int64_t destinationAhead = 2;  // stretches before the end: b streams through the first-level cache and would push it out again

// Rows of memory.
struct Rows {
  const char* first = nullptr;
  int64_t stride = 0;
  int64_t bytes = 0;
};

// The rows that a tile will be stored to, of c and of the pre-activation.
struct Destination {
  Rows results[2];

  HORNBOOK_INLINE void prefetch(int rows) const {
    for (const Rows& result : results) {
      if (result.first == nullptr) return;
      const char* row = result.first;
      for (int i = 0; i < rows; i++, row += result.stride) {
        for (int64_t at = 0; at < result.bytes; at += cacheLine) __builtin_prefetch(row + at, 1);
        __builtin_prefetch(row + result.bytes - 1, 1);
      }
    }
  }
};

// Rows that will be read next, a few lines a stretch: hundreds at once would be dropped.
class Coming {
 public:
  Coming() = default;
  // All of them within so many stretches.
  Coming(Rows rows, int64_t count, int64_t stretches) : rows_(rows), left_(count) {
    atOnce_ = ceilDiv(count * ceilDiv(rows.bytes, cacheLine), most(stretches, 1));
  }

  HORNBOOK_INLINE void prefetch() {
    for (int64_t i = 0; i < atOnce_ && left_ > 0; i++) {
      __builtin_prefetch(rows_.first + at_, 0, 2);
      at_ += cacheLine;
      if (at_ < rows_.bytes) continue;
      at_ = 0;
      rows_.first += rows_.stride;
      left_--;
    }
  }

 private:
  Rows rows_;
  int64_t left_ = 0;
  int64_t at_ = 0;
  int64_t atOnce_ = 0;
};

}  // namespace hornbook::gemm
