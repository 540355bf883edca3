// The device's memory: an allocator that runs on the queue's thread. Small blocks are kept by size. Large ones are cut from segments, and what
// is freed joins the free memory beside it: a step's activations, let go one by one on the way back, make room for its gradients, whatever their
// sizes. A warm training step fits where the one before it did, so nothing is asked of the operating system.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace hornbook {

class Memory {
 public:
  Memory();
  ~Memory();

  // 64-byte aligned; throws std::bad_alloc when the system has no more.
  void* allocate(size_t bytes);
  // `bytes` as they were asked for. Whoever holds blocks frees them before this object goes.
  void free(void* block, size_t bytes);

  // Bytes in use, and bytes held in all.
  size_t live() const { return live_; }
  size_t held() const { return live_ + cached_; }

 private:
  void* allocateSmall(size_t size);
  void* allocateLarge(size_t size);
  void addSegment(size_t size);
  // From the system, whose last resort is what is kept here.
  void* obtain(size_t alignment, size_t size);
  // Makes a stretch of a segment free, joined with free stretches on both sides.
  void addFree(char* start, size_t size);
  void removeFree(char* start, size_t size);
  void trim();

  std::map<size_t, std::vector<void*>> small_;
  std::map<char*, size_t> segments_;
  // The free stretches of all segments; by size for the smallest that fits, of equals the one at the lowest address.
  std::map<char*, size_t> free_;
  std::set<std::pair<size_t, char*>> freeBySize_;
  size_t live_ = 0;
  size_t cached_ = 0;
};

}  // namespace hornbook
