// Memory on large pages, where the system has them. A table that is read here and there otherwise costs a page fault for each 4 kB when it is filled, which is
// as much time as filling it, and a miss of the processor's address cache for most reads after that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace hornbook::tokenizer {

constexpr size_t largePage = size_t{1} << 21;

// Asks for large pages for what of [start, start + bytes) has not been touched yet; without effect where there are none.
inline void preferLargePages([[maybe_unused]] void* start, [[maybe_unused]] size_t bytes) {
#if defined(__linux__)
  const auto first = (reinterpret_cast<uintptr_t>(start) + largePage - 1) / largePage * largePage, end = reinterpret_cast<uintptr_t>(start) + bytes;
  if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
}

// Memory without contents, where it is large from a large page's beginning on; for std::free.
inline void* allocate(size_t bytes) {
#if !defined(_WIN32)
  if (bytes >= largePage) return std::aligned_alloc(largePage, (bytes + largePage - 1) / largePage * largePage);
#endif
  return std::malloc(bytes > 0 ? bytes : 1);
}

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

// Zeros, from a cache line's beginning or a large page's. What is never touched costs nothing.
template <class T>
class ZeroedArray {
 public:
  explicit ZeroedArray(size_t count) : bytes_(count * sizeof(T)) {
    const size_t alignment = bytes_ >= largePage ? largePage : 64;
    size_t space = bytes_ + alignment;
    memory_.reset(std::calloc(space, 1));
    if (!memory_) throw std::bad_alloc();
    void* start = memory_.get();
    data_ = static_cast<T*>(std::align(alignment, bytes_, start, space));
  }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  void preferLargePages() { tokenizer::preferLargePages(data_, bytes_); }

 private:
  size_t bytes_;
  std::unique_ptr<void, Free> memory_;
  T* data_;
};

}  // namespace hornbook::tokenizer
