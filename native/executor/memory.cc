#include "memory.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <new>

#if defined(__linux__)
#include <malloc.h>
#include <sys/mman.h>
#endif

namespace hornbook {

namespace {

constexpr size_t hugePage = size_t{2} << 20;
// From this size on blocks are cut from segments.
constexpr size_t smallest = size_t{64} << 10;
// Large, for blocks of one segment become one when they are free, and what was never touched of it takes no memory.
constexpr size_t segmentSize = size_t{256} << 20;

size_t roundUp(size_t size, size_t step) { return (size + step - 1) / step * step; }

// Small: eight classes an octave, so that at most an eighth is wasted and sizes that differ a little share their blocks. Large: whole pages.
size_t roundedSize(size_t bytes) {
  if (bytes >= smallest) return roundUp(bytes, 4096);
  bytes = std::max<size_t>(bytes, 64);
  size_t step = 64;
  while (step * 16 <= bytes) step *= 2;
  return roundUp(bytes, step);
}

void* systemAllocate(size_t alignment, size_t size) {
#if defined(_WIN32)
  return _aligned_malloc(size, alignment);
#else
  return std::aligned_alloc(alignment, roundUp(size, alignment));
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
  for (auto& [size, blocks] : small_)
    for (void* block : blocks) systemFree(block);
  for (auto& [start, size] : segments_) systemFree(start);
}

void* Memory::allocate(size_t bytes) {
  const size_t size = roundedSize(bytes);
  void* block = size < smallest ? allocateSmall(size) : allocateLarge(size);
  live_ += size;
  cached_ -= size;
  return block;
}

void Memory::free(void* block, size_t bytes) {
  const size_t size = roundedSize(bytes);
  live_ -= size;
  cached_ += size;
  if (size < smallest) small_[size].push_back(block);
  else addFree(static_cast<char*>(block), size);
}

void* Memory::allocateSmall(size_t size) {
  std::vector<void*>& blocks = small_[size];
  if (blocks.empty()) {
    blocks.push_back(obtain(64, size));
    cached_ += size;
  }
  void* block = blocks.back();
  blocks.pop_back();
  return block;
}

void* Memory::allocateLarge(size_t size) {
  auto fit = freeBySize_.lower_bound({size, nullptr});
  if (fit == freeBySize_.end()) {
    addSegment(size);
    fit = freeBySize_.lower_bound({size, nullptr});
  }
  const auto [whole, start] = *fit;
  removeFree(start, whole);
  if (whole > size) addFree(start + size, whole - size);
  return start;
}

void Memory::addSegment(size_t size) {
  // What a past phase left behind (an evaluation's shapes, say) goes back before the process grows by more than a quarter.
  if (cached_ + size > std::max(live_ / 4, segmentSize)) trim();
  size = roundUp(std::max(size, segmentSize), hugePage);
  void* start = obtain(hugePage, size);
#if defined(__linux__)
  madvise(start, size, MADV_HUGEPAGE);
#endif
  segments_[static_cast<char*>(start)] = size;
  cached_ += size;
  addFree(static_cast<char*>(start), size);
}

void* Memory::obtain(size_t alignment, size_t size) {
  void* block = systemAllocate(alignment, size);
  if (block == nullptr) {
    trim();
    block = systemAllocate(alignment, size);
  }
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

void Memory::addFree(char* start, size_t size) {
  // Neighbours of other segments stay apart, so that a segment can go back as it came.
  const auto next = free_.lower_bound(start);
  if (next != free_.end() && next->first == start + size && segments_.count(next->first) == 0) {
    const size_t after = next->second;
    removeFree(start + size, after);
    size += after;
  }
  const auto right = free_.lower_bound(start);
  if (right != free_.begin() && segments_.count(start) == 0) {
    const auto [left, before] = *std::prev(right);
    if (left + before == start) {
      removeFree(left, before);
      start = left;
      size += before;
    }
  }
  free_[start] = size;
  freeBySize_.insert({size, start});
}

void Memory::removeFree(char* start, size_t size) {
  free_.erase(start);
  freeBySize_.erase({size, start});
}

void Memory::trim() {
  for (auto& [size, blocks] : small_) {
    for (void* block : blocks) systemFree(block);
    cached_ -= size * blocks.size();
    blocks.clear();
  }
  for (auto segment = segments_.begin(); segment != segments_.end();) {
    const auto [start, size] = *segment;
    const auto hole = free_.find(start);
    if (hole == free_.end() || hole->second != size) {
      ++segment;
      continue;
    }
    removeFree(start, size);
    systemFree(start);
    cached_ -= size;
    segment = segments_.erase(segment);
  }
#if defined(__linux__)
  malloc_trim(0);
#endif
}

}  // namespace hornbook
