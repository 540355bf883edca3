#include "thread_pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace hornbook {

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

ThreadPool::ThreadPool(int threads) : threads_(threads), stretches_(new Stretch[static_cast<size_t>(threads)]) {
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
  const uint32_t epoch = static_cast<uint32_t>(stretches_[0].state.load() >> 32) + 1;
  const uint64_t tag = static_cast<uint64_t>(epoch) << 32;
  const uint32_t count = static_cast<uint32_t>(tasks);
  for (int lane = 0; lane < threads_; lane++) stretches_[lane].state.store(tag | closed);
  body_.store(&body, std::memory_order_relaxed);
  // Not before the stretches are closed, also where stores may overtake each other (ARM): a worker late from the last job would take this
  // number for that job's, and find a task beyond its end.
  tasks_.store(count, std::memory_order_release);
  done_.store(0, std::memory_order_relaxed);
  for (int lane = 0; lane < threads_; lane++) stretches_[lane].state.store(tag | begin(lane, count));
  if (sleeping_.load() > 0) {
    wake_.fetch_add(1);
    wake_.notify_all();
  }

  runTasks(epoch, count, body, 0);
  for (int i = 0; done_.load(std::memory_order_acquire) != count; i++) {
    if (i < spins) relax();
    else std::this_thread::yield();
  }
}

void ThreadPool::runTasks(uint32_t epoch, uint32_t tasks, const Body& body, int lane) {
  uint32_t done = 0;
  for (int i = 0; i < threads_; i++) {
    const int from = (lane + i) % threads_;
    for (uint32_t task; claim(from, epoch, begin(from + 1, tasks), task); done++) body(task, lane);
  }
  if (done > 0) done_.fetch_add(done, std::memory_order_release);
}

bool ThreadPool::claim(int from, uint32_t epoch, uint32_t end, uint32_t& task) {
  std::atomic<uint64_t>& next = stretches_[from].state;
  uint64_t state = next.load(std::memory_order_acquire);
  while (static_cast<uint32_t>(state >> 32) == epoch && static_cast<uint32_t>(state) < end) {
    if (next.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) {
      task = static_cast<uint32_t>(state);
      return true;
    }
  }
  return false;
}

void ThreadPool::work(int lane) {
  const std::atomic<uint64_t>& own = stretches_[lane].state;
  uint32_t seen = 0;
  const auto idle = [&](uint64_t state) { return static_cast<uint32_t>(state >> 32) == seen || static_cast<uint32_t>(state) == closed; };
  while (!stop_) {
    uint64_t state = own.load(std::memory_order_acquire);
    for (int i = 0; i < spins && idle(state); i++) {
      relax();
      state = own.load(std::memory_order_acquire);
    }
    if (idle(state)) {
      // Announce the sleep before the last look, so that a job published in between is either seen here or wakes us.
      const uint32_t ticket = wake_.load();
      sleeping_.fetch_add(1);
      if (idle(own.load()) && !stop_) wake_.wait(ticket);
      sleeping_.fetch_sub(1);
      continue;
    }
    const uint32_t epoch = static_cast<uint32_t>(state >> 32);
    const uint32_t tasks = tasks_.load(std::memory_order_acquire);
    runTasks(epoch, tasks, *body_.load(std::memory_order_relaxed), lane);
    seen = epoch;
  }
}

}  // namespace hornbook
