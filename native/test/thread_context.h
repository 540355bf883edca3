// A Context for tests and benchmarks of kernels: plain threads, scratch from the heap, errors kept as text. It scrambles the order of the
// tasks, so that a kernel whose bits depend on who runs what, or when, is found out.
#pragma once

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../kernels/kernel.h"

namespace hornbook {

class ThreadContext final : public Context {
 public:
  explicit ThreadContext(int lanes) : lanes_(lanes) {}
  ThreadContext(const ThreadContext&) = delete;
  ~ThreadContext() { release(); }

  void parallel(int64_t tasks, FunctionRef<void(int64_t, int)> body) override {
    std::atomic<int64_t> next{0};
    const auto work = [&](int lane) {
      for (int64_t i; (i = next.fetch_add(1)) < tasks;) body(lanes_ % 2 ? i : tasks - 1 - i, lane);
    };
    std::vector<std::thread> threads;
    for (int lane = 1; lane < lanes_ && lane < tasks; lane++) threads.emplace_back(work, lane);
    work(0);
    for (auto& thread : threads) thread.join();
  }
  int lanes() const override { return lanes_; }

  // Filled with NaN (all ones in every float format), since kernels may not trust what scratch holds.
  void* scratch(size_t bytes) override {
    const size_t rounded = (bytes + 64 + 63) / 64 * 64;
    void* memory = std::aligned_alloc(64, rounded);
    std::memset(memory, 0xff, rounded);
    blocks_.push_back(memory);
    return memory;
  }

  void fail(int64_t order, const char* format, ...) override {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failure.empty() || order < failureOrder_) {
      failure = text;
      failureOrder_ = order;
    }
  }

  // Ends one kernel: its scratch goes back.
  void release() {
    for (void* block : blocks_) std::free(block);
    blocks_.clear();
  }

  std::string failure;

 private:
  int lanes_;
  std::mutex mutex_;
  int64_t failureOrder_ = 0;
  std::vector<void*> blocks_;
};

}  // namespace hornbook
