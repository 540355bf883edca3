// What a kernel sees of the world: tensors as views on memory, and a context that runs its tasks in parallel. A kernel knows neither
// Node, nor the operating system, nor how many threads there are; so the same source can become WebAssembly.
#pragma once

#include <cstddef>
#include <cstdint>

// While a kernel is missing its table entry is null, and launching it is an error; release builds refuse to link instead.
#if defined(HORNBOOK_ALLOW_MISSING_KERNELS)
#define HORNBOOK_KERNEL __attribute__((weak))
#else
#define HORNBOOK_KERNEL
#endif

namespace hornbook {

constexpr int maxRank = 8;

enum class DType : int32_t { f32 = 0, bf16 = 1, i32 = 2, u8 = 3 };

constexpr int64_t bytesPerElement(DType dtype) {
  return dtype == DType::bf16 ? 2 : dtype == DType::u8 ? 1 : 4;
}

// bfloat16 as its raw bits; arithmetic happens in float.
struct bf16 {
  uint16_t bits;
};

// Strides count elements. An absent operand has no data.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::f32;
  int32_t rank = 0;
  int64_t shape[maxRank] = {};
  int64_t strides[maxRank] = {};

  explicit operator bool() const { return data != nullptr; }

  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= shape[i];
    return n;
  }
  int64_t last() const { return rank == 0 ? 1 : shape[rank - 1]; }
  // The number of rows when the last axis is a row.
  int64_t rows() const {
    int64_t n = 1;
    for (int i = 0; i + 1 < rank; i++) n *= shape[i];
    return n;
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

// A reference to a callable, without an allocation; the callable must outlive the call.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  FunctionRef(const F& f)
      : object_(&f), call_([](const void* object, Args... args) -> R { return (*static_cast<const F*>(object))(args...); }) {}
  R operator()(Args... args) const { return call_(object_, args...); }

 private:
  const void* object_;
  R (*call_)(const void*, Args...);
};

class Context {
 public:
  // Calls body(task, lane) once for each task in [0, tasks), on any thread and in any order, and returns when all are done. `lane` is in
  // [0, lanes()) and no two calls with one lane run at once, so it may pick scratch memory. What a task computes must depend on `task` alone:
  // that makes results independent of the number of threads. Cut the work by its shape, never by lanes().
  virtual void parallel(int64_t tasks, FunctionRef<void(int64_t task, int lane)> body) = 0;
  virtual int lanes() const = 0;

  // Memory for the duration of this kernel, 64-byte aligned, contents undefined. Only from the kernel's own thread, before parallel().
  // Never returns null: when memory is out it fails the queue and unwinds to it.
  virtual void* scratch(size_t bytes) = 0;
  template <class T>
  T* scratch(int64_t count) {
    return static_cast<T*>(scratch(static_cast<size_t>(count) * sizeof(T)));
  }

  // Reports an error in the data (an id outside a table); the queue stops there and the next wait throws it. May be called from any task;
  // of several the one with the lowest `order` is kept, so that the message does not depend on threads. Returns: the kernel goes on or ends by itself.
  virtual void fail(int64_t order, const char* format, ...) = 0;

 protected:
  ~Context() = default;
};

}  // namespace hornbook
