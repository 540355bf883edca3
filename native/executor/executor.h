// The queue of the cpu device: one thread takes commands in order and runs each kernel on the pool. It knows the contract and memory,
// and neither Node nor what a model is.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdarg>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../generated/contract.h"
#include "memory.h"
#include "thread_pool.h"

namespace hornbook {

// Commands that are not kernels; their codes are negative. Their words: code, buffer, and for allocate the bytes (low, high).
enum class Control : int32_t { allocate = -1, free = -2 };

// When one launch ran, in seconds of a steady clock, and for how long the queue had been empty since the launch before it.
struct LaunchTimes {
  double began = 0;
  double ended = 0;
  double waited = 0;
};

class Executor final : private Context {
 public:
  // What a wait reports: an empty error is success.
  using Done = std::function<void(std::string error)>;

  Executor(const KernelTable& kernels, int threads);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Appends a batch of encoded commands.
  void submit(std::vector<int32_t> words);
  // Appends a write into a buffer.
  void write(int32_t buffer, int64_t offset, std::vector<uint8_t> bytes);
  // A source of bytes: `copy` puts `length` of them, from `begin` on, at `target`, or says why it cannot. It is called on any thread, for stretches of
  // `stretch` bytes, the last perhaps shorter.
  struct Source {
    std::function<std::string(uint8_t* target, int64_t begin, int64_t length)> copy;
    int64_t stretch;
  };
  // Appends a write of so many bytes from a source; its error is one of the queue's.
  void fill(int32_t buffer, int64_t offset, int64_t bytes, Source source);
  // Appends a copy out of a buffer into `target`, which must stay valid until `done` is called (on the queue's thread). With no bytes it
  // only waits. An error of anything queued before is handed to the first wait after it; commands in between are dropped, except
  // allocations and frees.
  void read(int32_t buffer, int64_t offset, int64_t bytes, void* target, Done done);

  // While it is on, every launch is timed; to be set before the first. `profile` hands over the launches that ended since it was last called, in the
  // order of the queue; one that an error let drop counts as one that took no time.
  void setProfiling(bool on) { profiling_ = on; }
  std::vector<LaunchTimes> profile();
  int threads() const { return pool_.threads(); }

 private:
  struct Job {
    enum class Kind { commands, write, fill, read } kind = Kind::commands;
    std::vector<int32_t> words;
    std::vector<uint8_t> bytes;
    int32_t buffer = 0;
    int64_t offset = 0, length = 0;
    void* target = nullptr;
    Done done;
    Source source;
  };
  struct Buffer {
    void* data = nullptr;
    int64_t bytes = 0;
  };
  friend class CommandReader;

  void push(Job job);
  void loop();
  void runCommands(const std::vector<int32_t>& words);
  void runKernel(Opcode opcode, const int32_t* words, const int32_t* end);
  const Buffer* checked(int32_t buffer, int64_t offset, int64_t bytes);
  void report(int64_t order, const std::string& message);

  // Context, for the kernels.
  void parallel(int64_t tasks, FunctionRef<void(int64_t, int)> body) override { pool_.run(tasks, body); }
  int lanes() const override { return pool_.threads(); }
  void* scratch(size_t bytes) override;
  void fail(int64_t order, const char* format, ...) override;

  const KernelTable& kernels_;
  ThreadPool pool_;
  Memory memory_;
  std::vector<Buffer> buffers_;
  std::vector<Buffer> scratch_;

  std::mutex errorMutex_;
  std::string error_;
  int64_t errorOrder_ = 0;

  std::atomic<bool> profiling_ = false;
  double waited_ = 0;  // since the last launch; of the queue's thread alone
  std::mutex profileMutex_;
  std::vector<LaunchTimes> profile_;

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Job> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace hornbook
