#include "executor.h"

#include <chrono>
#include <cstdio>
#include <cstring>
#include <utility>

namespace hornbook {

// Decodes one command; see `CpuDevice.launch` in src/tensor/cpu/device.ts for the other end. An operand is -1 when absent, else: buffer,
// dtype | rank << 8, offset, shape, strides. What a buffer cannot hold is refused here, so that no kernel reads outside of it.
class CommandReader {
 public:
  CommandReader(Executor& executor, const int32_t* words, const int32_t* end) : executor_(executor), next_(words), end_(end) {}

  int32_t i32() {
    if (next_ < end_) return *next_++;
    good_ = false;
    return 0;
  }

  float f32() {
    const int32_t word = i32();
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }

  TensorView tensor() {
    TensorView view;
    const int32_t id = i32();
    if (id < 0) return view;
    const int32_t kind = i32();
    const int64_t offset = i32();
    view.dtype = static_cast<DType>(kind & 0xff);
    view.rank = kind >> 8;
    if (view.rank < 0 || view.rank > maxRank) return bad();
    int64_t lowest = offset, highest = offset;
    bool empty = false;
    for (int i = 0; i < view.rank; i++) view.shape[i] = i32();
    for (int i = 0; i < view.rank; i++) view.strides[i] = i32();
    for (int i = 0; i < view.rank; i++) {
      if (view.shape[i] < 0) return bad();
      if (view.shape[i] == 0) empty = true;
      const int64_t reach = (view.shape[i] - 1) * view.strides[i];
      (reach < 0 ? lowest : highest) += reach;
    }
    const int64_t width = bytesPerElement(view.dtype);
    const auto* buffer = empty ? executor_.checked(id, 0, 0) : executor_.checked(id, lowest * width, (highest + 1 - lowest) * width);
    if (buffer == nullptr) return bad();
    view.data = static_cast<char*>(buffer->data) + offset * width;
    return view;
  }

  bool good() const { return good_; }

 private:
  TensorView bad() {
    good_ = false;
    executor_.fail(0, "a command reaches outside its buffer");
    return {};
  }

  Executor& executor_;
  const int32_t* next_;
  const int32_t* end_;
  bool good_ = true;
};

namespace {

// A command as `kernel([shape], [shape])`, for its error message; src/tensor/cpu/device.ts takes it apart again.
std::string describe(Opcode opcode, const int32_t* words, const int32_t* end) {
  std::string text = opcodeNames[static_cast<int>(opcode)] + std::string("(");
  int operands = 0;
  struct Shapes {
    const int32_t*& next;
    const int32_t* end;
    std::string& text;
    int& operands;
    int32_t i32() { return next < end ? *next++ : 0; }
    float f32() { return static_cast<float>(i32()); }
    bool good() const { return false; }
    TensorView tensor() {
      if (i32() < 0) return {};
      const int rank = i32() >> 8;
      i32();
      text += operands++ == 0 ? "[" : ", [";
      for (int i = 0; i < rank; i++) text += (i ? ", " : "") + std::to_string(i32());
      text += "]";
      for (int i = 0; i < rank; i++) i32();
      return {};
    }
  } reader{words, end, text, operands};
  static const KernelTable none = {};
  struct NoContext final : Context {
    void parallel(int64_t, FunctionRef<void(int64_t, int)>) override {}
    int lanes() const override { return 1; }
    void* scratch(size_t) override { return nullptr; }
    void fail(int64_t, const char*, ...) override {}
  } context;
  dispatch(opcode, reader, none, context);
  return text + ")";
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

Executor::Executor(const KernelTable& kernels, int threads)
    : kernels_(kernels), pool_(threads), thread_([this] { loop(); }) {}

Executor::~Executor() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    jobs_.clear();
  }
  ready_.notify_all();
  thread_.join();
  for (const Buffer& buffer : buffers_)
    if (buffer.data != nullptr) memory_.free(buffer.data, static_cast<size_t>(buffer.bytes));
}

void Executor::push(Job job) {
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  ready_.notify_one();
}

void Executor::submit(std::vector<int32_t> words) {
  Job job;
  job.kind = Job::Kind::commands;
  job.words = std::move(words);
  push(std::move(job));
}

void Executor::write(int32_t buffer, int64_t offset, std::vector<uint8_t> bytes) {
  Job job;
  job.kind = Job::Kind::write;
  job.buffer = buffer;
  job.offset = offset;
  job.bytes = std::move(bytes);
  push(std::move(job));
}

void Executor::fill(int32_t buffer, int64_t offset, int64_t bytes, Source source) {
  Job job;
  job.kind = Job::Kind::fill;
  job.buffer = buffer;
  job.offset = offset;
  job.length = bytes;
  job.source = std::move(source);
  push(std::move(job));
}

void Executor::read(int32_t buffer, int64_t offset, int64_t bytes, void* target, Done done) {
  Job job;
  job.kind = Job::Kind::read;
  job.buffer = buffer;
  job.offset = offset;
  job.length = bytes;
  job.target = target;
  job.done = std::move(done);
  push(std::move(job));
}

std::vector<LaunchTimes> Executor::profile() {
  std::lock_guard lock(profileMutex_);
  return std::exchange(profile_, {});
}

void Executor::loop() {
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      const bool timed = profiling_ && jobs_.empty();
      const double began = timed ? now() : 0;
      ready_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
      if (stop_) return;
      if (timed) waited_ += now() - began;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    switch (job.kind) {
      case Job::Kind::commands:
        runCommands(job.words);
        break;
      case Job::Kind::write:
        if (const Buffer* buffer = checked(job.buffer, job.offset, static_cast<int64_t>(job.bytes.size()))) {
          std::memcpy(static_cast<char*>(buffer->data) + job.offset, job.bytes.data(), job.bytes.size());
        } else {
          fail(0, "a write reaches outside its buffer");
        }
        break;
      case Job::Kind::fill:
        if (const Buffer* buffer = checked(job.buffer, job.offset, job.length)) {
          uint8_t* target = static_cast<uint8_t*>(buffer->data) + job.offset;
          pool_.run((job.length + job.source.stretch - 1) / job.source.stretch, [&](int64_t task, int) {
            const int64_t begin = task * job.source.stretch;
            const std::string error = job.source.copy(target + begin, begin, std::min(job.source.stretch, job.length - begin));
            if (!error.empty()) report(task, error);
          });
        } else {
          fail(0, "a write reaches outside its buffer");
        }
        break;
      case Job::Kind::read: {
        if (job.length > 0 && error_.empty()) {
          if (const Buffer* buffer = checked(job.buffer, job.offset, job.length)) {
            std::memcpy(job.target, static_cast<char*>(buffer->data) + job.offset, static_cast<size_t>(job.length));
          } else {
            fail(0, "a read reaches outside its buffer");
          }
        }
        job.done(std::exchange(error_, {}));
        break;
      }
    }
  }
}

void Executor::runCommands(const std::vector<int32_t>& words) {
  // Each command: code, number of words that follow, the words.
  for (size_t at = 0; at + 2 <= words.size();) {
    const int32_t code = words[at];
    const int32_t* begin = words.data() + at + 2;
    const int32_t* end = begin + words[at + 1];
    at += 2 + static_cast<size_t>(words[at + 1]);
    try {
      if (code == static_cast<int32_t>(Control::allocate)) {
        const size_t id = static_cast<size_t>(begin[0]);
        const int64_t bytes = static_cast<int64_t>(static_cast<uint32_t>(begin[1])) | (static_cast<int64_t>(begin[2]) << 32);
        if (id >= buffers_.size()) buffers_.resize(id + 1 + id / 2);
        buffers_[id] = {};
        buffers_[id] = {memory_.allocate(static_cast<size_t>(bytes)), bytes};
      } else if (code == static_cast<int32_t>(Control::free)) {
        Buffer& buffer = buffers_.at(static_cast<size_t>(begin[0]));
        if (buffer.data != nullptr) memory_.free(buffer.data, static_cast<size_t>(buffer.bytes));
        buffer = {};
      } else if (!profiling_) {
        if (error_.empty()) runKernel(static_cast<Opcode>(code), begin, end);
      } else {
        // Timed to the end of this scope, whatever happens in it.
        struct Timer {
          Executor& executor;
          LaunchTimes times{now(), 0, std::exchange(executor.waited_, 0)};
          ~Timer() {
            times.ended = now();
            std::lock_guard lock(executor.profileMutex_);
            executor.profile_.push_back(times);
          }
        } timer{*this};
        if (error_.empty()) runKernel(static_cast<Opcode>(code), begin, end);
      }
    } catch (const std::bad_alloc&) {
      report(0, "out of memory: the device holds " + std::to_string(memory_.live()) + " bytes and the system gives no more");
    }
  }
}

void Executor::runKernel(Opcode opcode, const int32_t* words, const int32_t* end) {
  struct ScratchGuard {
    Executor& executor;
    ~ScratchGuard() {
      for (const Buffer& block : executor.scratch_) executor.memory_.free(block.data, static_cast<size_t>(block.bytes));
      executor.scratch_.clear();
    }
  } guard{*this};
  CommandReader reader(*this, words, end);
  Context& context = *this;
  dispatch(opcode, reader, kernels_, context);
  if (!error_.empty()) error_ = describe(opcode, words, end) + ": " + error_;
}

const Executor::Buffer* Executor::checked(int32_t buffer, int64_t offset, int64_t bytes) {
  if (buffer < 0 || static_cast<size_t>(buffer) >= buffers_.size()) return nullptr;
  const Buffer& entry = buffers_[static_cast<size_t>(buffer)];
  if (entry.data == nullptr || offset < 0 || bytes < 0 || offset > entry.bytes - bytes) return nullptr;
  return &entry;
}

void* Executor::scratch(size_t bytes) {
  scratch_.push_back({memory_.allocate(bytes), static_cast<int64_t>(bytes)});
  return scratch_.back().data;
}

void Executor::fail(int64_t order, const char* format, ...) {
  char message[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  report(order, message);
}

void Executor::report(int64_t order, const std::string& message) {
  std::lock_guard lock(errorMutex_);
  if (!error_.empty() && errorOrder_ <= order) return;
  error_ = message;
  errorOrder_ = order;
}

}  // namespace hornbook
