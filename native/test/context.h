// A context for testing and measuring kernels outside Node: a pool that spins between tasks, scratch memory full of NaN, errors that abort.
#pragma once

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "../kernels/kernel.h"

namespace hornbook {

class TestContext final : public Context {
 public:
  // With `backwards`, tasks are handed out from the last to the first: their order must not matter.
  explicit TestContext(int lanes, bool backwards = false) : lanes_(lanes), backwards_(backwards) {
    for (int lane = 1; lane < lanes; lane++) threads_.emplace_back([this, lane] { serve(lane); });
  }
  ~TestContext() {
    stop_ = true;
    generation_++;
    for (std::thread& thread : threads_) thread.join();
    for (const Block& block : scratch_) std::free(block.memory);
  }

  void parallel(int64_t tasks, FunctionRef<void(int64_t, int)> body) override {
    body_ = &body;
    tasks_ = tasks;
    next_ = 0;
    busy_ = lanes_ - 1;
    generation_++;
    work(0);
    for (int spins = 0; busy_ > 0; spins++) pause(spins);
  }
  int lanes() const override { return lanes_; }

  void* scratch(size_t bytes) override {
    if (used_ == scratch_.size()) scratch_.push_back({nullptr, 0});
    Block& block = scratch_[used_++];
    if (block.bytes < bytes) {
      std::free(block.memory);
      block = {std::aligned_alloc(64, (bytes + 63) / 64 * 64), bytes};
    }
    if (poison) std::memset(block.memory, 0xff, bytes);
    return block.memory;
  }
  // Ends a kernel.
  void reset() { used_ = 0; }

  void fail(int64_t, const char* format, ...) override {
    va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::abort();
  }

  bool poison = true;

 private:
  struct Block {
    void* memory;
    size_t bytes;
  };

  static void pause(int spins) {
    if (spins > 2000) return std::this_thread::yield();
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  void work(int lane) {
    for (int64_t task; (task = next_.fetch_add(1)) < tasks_;) (*body_)(backwards_ ? tasks_ - 1 - task : task, lane);
  }
  void serve(int lane) {
    for (int64_t seen = 0;;) {
      for (int spins = 0; generation_ == seen; spins++) pause(spins);
      seen++;
      if (stop_) return;
      work(lane);
      busy_--;
    }
  }

  int lanes_;
  bool backwards_;
  const FunctionRef<void(int64_t, int)>* body_ = nullptr;
  int64_t tasks_ = 0;
  std::atomic<int64_t> next_{0}, generation_{0};
  std::atomic<int> busy_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
  std::vector<Block> scratch_;
  size_t used_ = 0;
};

}  // namespace hornbook
