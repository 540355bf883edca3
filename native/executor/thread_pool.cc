#include "thread_pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace inkling {

namespace {

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Kernels of a step follow each other within microseconds, so a worker spins that long before it sleeps; longer would take the core from
// the JavaScript thread.
constexpr int spins = 4000;

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int lane = 1; lane < threads; lane++) workers_.emplace_back([this, lane] { work(lane); });
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  wake_.fetch_add(1);
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::run(int64_t tasks, Body body) {
  if (tasks <= 1 || workers_.empty()) {
    for (int64_t task = 0; task < tasks; task++) body(task, 0);
    return;
  }
  const uint32_t epoch = static_cast<uint32_t>(state_.load() >> 32) + 1;
  const uint64_t tag = static_cast<uint64_t>(epoch) << 32;
  const uint32_t count = static_cast<uint32_t>(tasks);
  state_.store(tag | closed);
  body_.store(&body, std::memory_order_relaxed);
  tasks_.store(count, std::memory_order_relaxed);
  done_.store(0, std::memory_order_relaxed);
  state_.store(tag);
  if (sleeping_.load() > 0) {
    wake_.fetch_add(1);
    wake_.notify_all();
  }

  for (uint32_t task; claim(epoch, count, task);) {
    body(task, 0);
    done_.fetch_add(1, std::memory_order_release);
  }
  for (int i = 0; done_.load(std::memory_order_acquire) != count; i++) {
    if (i < spins) relax();
    else std::this_thread::yield();
  }
}

bool ThreadPool::claim(uint32_t epoch, uint32_t tasks, uint32_t& task) {
  uint64_t state = state_.load(std::memory_order_acquire);
  while (static_cast<uint32_t>(state >> 32) == epoch && static_cast<uint32_t>(state) < tasks) {
    if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) {
      task = static_cast<uint32_t>(state);
      return true;
    }
  }
  return false;
}

void ThreadPool::work(int lane) {
  uint32_t seen = 0;
  while (!stop_) {
    uint64_t state = state_.load(std::memory_order_acquire);
    for (int i = 0; i < spins && (static_cast<uint32_t>(state >> 32) == seen || static_cast<uint32_t>(state) == closed); i++) {
      relax();
      state = state_.load(std::memory_order_acquire);
    }
    if (static_cast<uint32_t>(state >> 32) == seen || static_cast<uint32_t>(state) == closed) {
      // Announce the sleep before the last look, so that a job published in between is either seen here or wakes us.
      const uint32_t ticket = wake_.load();
      sleeping_.fetch_add(1);
      state = state_.load();
      const bool idle = static_cast<uint32_t>(state >> 32) == seen || static_cast<uint32_t>(state) == closed;
      if (idle && !stop_) wake_.wait(ticket);
      sleeping_.fetch_sub(1);
      continue;
    }
    const uint32_t epoch = static_cast<uint32_t>(state >> 32);
    const uint32_t tasks = tasks_.load(std::memory_order_relaxed);
    const Body* body = body_.load(std::memory_order_relaxed);
    for (uint32_t task; claim(epoch, tasks, task);) {
      (*body)(task, lane);
      done_.fetch_add(1, std::memory_order_release);
    }
    seen = epoch;
  }
}

}  // namespace inkling
