// The device's memory: a caching allocator that runs on the queue's thread. A warm training step repeats the same sizes, so each of its
// allocations is a hit, and nothing is asked of the operating system.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

namespace inkling {

class Memory {
 public:
  Memory();
  ~Memory();

  // 64-byte aligned; throws std::bad_alloc when the system has no more.
  void* allocate(size_t bytes);
  void free(void* block);

  // Bytes in use, and bytes held in all.
  size_t live() const { return live_; }
  size_t held() const { return live_ + cached_; }

 private:
  static size_t sizeClass(size_t bytes);
  void* obtain(size_t size);
  void trim();

  std::map<size_t, std::vector<void*>> free_;
  std::map<void*, size_t> sizes_;
  size_t live_ = 0;
  size_t cached_ = 0;
};

}  // namespace inkling
