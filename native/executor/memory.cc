#include "memory.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <malloc.h>
#include <sys/mman.h>
#endif

namespace inkling {

namespace {

constexpr size_t hugePage = size_t{2} << 20;

void* systemAllocate(size_t alignment, size_t size) {
#if defined(_WIN32)
  return _aligned_malloc(size, alignment);
#else
  return std::aligned_alloc(alignment, size);
#endif
}

void systemFree(void* block) {
#if defined(_WIN32)
  _aligned_free(block);
#else
  std::free(block);
#endif
}

}  // namespace

Memory::Memory() {
#if defined(__GLIBC__)
  // What evaluations and saves leave behind on the JavaScript side then goes back to the system when it is collected. By default glibc raises
  // both bounds with every large block that is freed, and keeps a heap for each thread that ever asked for memory; of these only the first
  // shrinks.
  mallopt(M_MMAP_THRESHOLD, 64 << 10);
  mallopt(M_TRIM_THRESHOLD, 64 << 10);
  mallopt(M_ARENA_MAX, 1);
#endif
}

Memory::~Memory() {
  for (auto& [block, size] : sizes_) systemFree(block);
}

// Eight classes an octave: at most an eighth is wasted, and sizes that differ a little share their blocks.
size_t Memory::sizeClass(size_t bytes) {
  bytes = std::max<size_t>(bytes, 64);
  size_t step = 64;
  while (step * 16 <= bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

void* Memory::allocate(size_t bytes) {
  const size_t size = sizeClass(bytes);
  auto bin = free_.find(size);
  void* block;
  if (bin != free_.end() && !bin->second.empty()) {
    block = bin->second.back();
    bin->second.pop_back();
    cached_ -= size;
  } else {
    block = obtain(size);
    sizes_[block] = size;
  }
  live_ += size;
  return block;
}

void Memory::free(void* block) {
  const size_t size = sizes_.at(block);
  free_[size].push_back(block);
  live_ -= size;
  cached_ += size;
}

void* Memory::obtain(size_t size) {
  // What a past phase left behind (an evaluation's shapes, say) goes back before the process grows by more than a quarter.
  if (cached_ + size > std::max(live_ / 4, size_t{64} << 20)) trim();
  const bool large = size >= hugePage;
  const size_t alignment = large ? hugePage : 64;
  const size_t padded = (size + alignment - 1) / alignment * alignment;
  void* block = systemAllocate(alignment, padded);
  if (block == nullptr) {
    trim();
    block = systemAllocate(alignment, padded);
  }
  if (block == nullptr) throw std::bad_alloc();
#if defined(__linux__)
  if (large) madvise(block, padded, MADV_HUGEPAGE);
#endif
  return block;
}

void Memory::trim() {
  for (auto& [size, blocks] : free_) {
    for (void* block : blocks) {
      sizes_.erase(block);
      systemFree(block);
    }
    blocks.clear();
  }
  cached_ = 0;
#if defined(__linux__)
  malloc_trim(0);
#endif
}

}  // namespace inkling
