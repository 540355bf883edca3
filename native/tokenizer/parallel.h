// A parallel loop for the tokenizer's long jobs. Threads live as long as the loop: a job takes milliseconds to minutes, starting a thread
// tens of microseconds, and so nothing idles between jobs.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>
#if defined(__linux__)
#include <sched.h>
#endif

namespace hornbook::tokenizer {

// Moves the calling thread off the processor of another. A new thread begins where its parent runs, and the system may leave the two there for as long as
// many a job takes, though another processor idles.
class Apart {
 public:
  void leave() const {
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || parent_ < 0 || CPU_COUNT(&allowed) < 2) return;
    cpu_set_t others = allowed;
    CPU_CLR(static_cast<size_t>(parent_), &others);
    if (sched_setaffinity(0, sizeof others, &others) == 0) sched_setaffinity(0, sizeof allowed, &allowed);
#endif
  }

 private:
#if defined(__linux__)
  const int parent_ = sched_getcpu();
#endif
};

// Calls body(task, lane) once for each task in [0, tasks), at most `threads` at a time, each with its own lane in [0, threads). The first
// exception ends the loop and is thrown here.
template <class Body>
void parallelFor(size_t tasks, int threads, Body&& body) {
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex failureLock;
  const auto work = [&](int lane) {
    try {
      for (size_t task = next++; task < tasks; task = next++) body(task, lane);
    } catch (...) {
      next = tasks;
      const std::lock_guard lock(failureLock);
      if (!failure) failure = std::current_exception();
    }
  };
  const Apart apart;
  std::vector<std::thread> helpers;
  const int lanes = static_cast<int>(std::min<size_t>(static_cast<size_t>(std::max(threads, 1)), std::max<size_t>(tasks, 1)));
  try {
    for (int lane = 1; lane < lanes; lane++) helpers.emplace_back([&work, &apart, lane] { apart.leave(); work(lane); });
  } catch (const std::exception&) {
    // The system gives no more threads; those that started, and this one, do the work.
  }
  work(0);
  for (std::thread& helper : helpers) helper.join();
  if (failure) std::rethrow_exception(failure);
}

// What a running job shares with whoever started it: it stops soon after `cancelled` is set, and counts what is done.
class JobControl {
 public:
  JobControl(int32_t* cancelled, int32_t* progress) : cancelled_(cancelled), progress_(progress) {}
  bool cancelled() const { return std::atomic_ref(*cancelled_).load(std::memory_order_relaxed) != 0; }
  void progress(int32_t done) const { std::atomic_ref(*progress_).store(done, std::memory_order_relaxed); }

 private:
  int32_t* cancelled_;
  int32_t* progress_;
};

struct Cancelled : std::exception {
  const char* what() const noexcept override { return "cancelled"; }
};

}  // namespace hornbook::tokenizer
