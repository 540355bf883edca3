// A persistent pool for one caller: run() cuts a kernel into tasks that the caller and the workers claim one by one. Each thread begins with a stretch
// of its own, so that what it reads is one stream that the processor foresees; who is done helps the others.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "../kernels/kernel.h"

namespace hornbook {

class ThreadPool {
 public:
  // `threads` counts the caller, so 1 starts none.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls body(task, lane) for every task and returns when all are done. Only the owner calls it, never from a task.
  void run(int64_t tasks, FunctionRef<void(int64_t, int)> body);

 private:
  using Body = FunctionRef<void(int64_t, int)>;

  void work(int lane);
  void runTasks(uint32_t epoch, uint32_t tasks, const Body& body, int lane);
  bool claim(int from, uint32_t epoch, uint32_t end, uint32_t& task);
  uint32_t begin(int lane, uint32_t tasks) const { return static_cast<uint32_t>(static_cast<uint64_t>(tasks) * static_cast<uint32_t>(lane) / static_cast<uint32_t>(threads_)); }

  // Of the stretch of each lane: the epoch of the current job in the upper half, the next unclaimed task in the lower; a claim is one compare-and-swap,
  // which fails as soon as the job is over, so that a worker which wakes late cannot touch the next one. `closed` in the lower half: being replaced.
  static constexpr uint32_t closed = 0xffffffff;
  struct alignas(64) Stretch {
    std::atomic<uint64_t> state{closed};
  };
  const int threads_;
  const std::unique_ptr<Stretch[]> stretches_;
  alignas(64) std::atomic<uint32_t> done_{0};
  alignas(64) std::atomic<uint32_t> wake_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<const Body*> body_{nullptr};
  std::atomic<uint32_t> tasks_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace hornbook
