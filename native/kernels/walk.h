// How kernels go through tensors: work cut into tasks by its shape alone, loop nests over operands with any strides, and sources that hand
// strided, broadcast or contiguous memory to inner loops as contiguous runs, so that those are written once.
#pragma once

#include "kernel.h"

namespace hornbook::kernels {

// About how many elements make a task: enough to pay for waking a thread, few enough to share a matrix of 768 x 128 evenly.
constexpr int64_t taskElements = 16384;

inline int64_t ceilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Calls body(begin, end) for pieces of [0, n) of `perTask` each; a single piece runs right here.
template <class Body>
inline void parallelRanges(Context& context, int64_t n, int64_t perTask, const Body& body) {
  if (n <= 0) return;
  if (n <= perTask) return body(int64_t{0}, n);
  context.parallel(ceilDivide(n, perTask), [&](int64_t task, int) {
    const int64_t begin = task * perTask;
    body(begin, begin + perTask < n ? begin + perTask : n);
  });
}

// How many rows of n elements make a task.
inline int64_t rowsPerTask(int64_t n) { return n >= taskElements ? 1 : taskElements / (n > 0 ? n : 1); }

// Axes shared by K operands. Axes of length 1 are dropped, and neighbours that every operand walks through in one stride are merged, so
// that dense operands have a single axis. At least one axis remains.
template <int K>
struct Nest {
  int rank = 0;
  int64_t shape[maxRank];
  int64_t strides[maxRank][K];

  Nest() = default;
  // Axes [first, last) of the operands.
  Nest(const TensorView* const (&views)[K], int first, int last) {
    for (int axis = first; axis < last; axis++) {
      int64_t s[K];
      for (int k = 0; k < K; k++) s[k] = views[k]->strides[axis];
      append(views[0]->shape[axis], s);
    }
    finish();
  }
  explicit Nest(const TensorView* const (&views)[K]) : Nest(views, 0, views[0]->rank) {}

  // Adds an axis inside those present.
  void append(int64_t length, const int64_t (&s)[K]) {
    if (length == 1) return;
    bool merges = rank > 0;
    for (int k = 0; merges && k < K; k++) merges = strides[rank - 1][k] == s[k] * length;
    if (merges) {
      shape[rank - 1] *= length;
    } else {
      shape[rank++] = length;
    }
    for (int k = 0; k < K; k++) strides[rank - 1][k] = s[k];
  }
  void finish() {
    if (rank > 0) return;
    rank = 1;
    shape[0] = 1;
    for (int k = 0; k < K; k++) strides[0][k] = 1;
  }

  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= shape[i];
    return n;
  }
  int64_t inner() const { return shape[rank - 1]; }
  int64_t innerStride(int k) const { return strides[rank - 1][k]; }

  // Where element `index` (in row-major order) lies in each operand.
  void offsetsOf(int64_t index, int64_t (&offset)[K]) const {
    for (int k = 0; k < K; k++) offset[k] = 0;
    for (int i = rank - 1; i >= 0; i--) {
      const int64_t position = index % shape[i];
      index /= shape[i];
      for (int k = 0; k < K; k++) offset[k] += position * strides[i][k];
    }
  }

  // Calls run(offset, n, index) for the runs along the innermost axis that make up elements [begin, end); `index` counts elements.
  template <class Run>
  void walk(int64_t begin, int64_t end, const Run& run) const {
    if (begin >= end) return;
    int64_t position[maxRank];
    int64_t offset[K];
    int64_t index = begin;
    for (int i = rank - 1; i >= 0; i--) {
      position[i] = index % shape[i];
      index /= shape[i];
    }
    offsetsOf(begin, offset);
    for (index = begin;;) {
      const int64_t left = inner() - position[rank - 1];
      const int64_t n = left < end - index ? left : end - index;
      run(offset, n, index);
      index += n;
      if (index >= end) return;
      // A run that does not end the walk ends the innermost axis.
      for (int k = 0; k < K; k++) offset[k] -= position[rank - 1] * strides[rank - 1][k];
      position[rank - 1] = 0;
      for (int i = rank - 2;; i--) {
        for (int k = 0; k < K; k++) offset[k] += strides[i][k];
        if (++position[i] < shape[i]) break;
        for (int k = 0; k < K; k++) offset[k] -= shape[i] * strides[i][k];
        position[i] = 0;
      }
    }
  }
};

// Runs that are not contiguous pass through buffers of this many elements.
constexpr int64_t chunkElements = 512;

// Hands out n <= chunkElements elements with any stride as contiguous memory: in place, or gathered into a buffer.
template <class T>
class Source {
 public:
  const T* read(const T* p, int64_t stride, int64_t n) {
    if (stride == 1) return p;
    if (stride == 0) {
      if (p != repeated_ || n > count_) {
        for (int64_t i = 0; i < n; i++) buffer_[i] = *p;
        repeated_ = p;
        count_ = n;
      }
    } else {
      for (int64_t i = 0; i < n; i++) buffer_[i] = p[i * stride];
      repeated_ = nullptr;
    }
    return buffer_;
  }

 private:
  const T* repeated_ = nullptr;  // what the buffer repeats
  int64_t count_ = 0;
  alignas(64) T buffer_[chunkElements];
};

// Calls piece(start, n) for pieces of a run: the whole run when all is contiguous, else what fits a Source.
template <class Piece>
inline void forPieces(bool contiguous, int64_t n, const Piece& piece) {
  if (contiguous) return piece(int64_t{0}, n);
  for (int64_t start = 0; start < n; start += chunkElements) piece(start, n - start < chunkElements ? n - start : chunkElements);
}

// Calls use(T{}) with the element type of a dtype.
template <class Use>
inline void withFloatType(DType dtype, const Use& use) {
  if (dtype == DType::f32) return use(float{});
  if (dtype == DType::bf16) return use(bf16{});
}
template <class Use>
inline void withType(DType dtype, const Use& use) {
  switch (dtype) {
    case DType::f32: return use(float{});
    case DType::bf16: return use(bf16{});
    case DType::i32: return use(int32_t{});
    case DType::u8: return use(uint8_t{});
  }
}
// The same by size alone, for what only moves elements.
template <class Use>
inline void withBits(DType dtype, const Use& use) {
  switch (bytesPerElement(dtype)) {
    case 4: return use(uint32_t{});
    case 2: return use(uint16_t{});
    default: return use(uint8_t{});
  }
}

}  // namespace hornbook::kernels
