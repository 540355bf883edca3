// The tokenizer's N-API surface, as `exports.tokenizer`; src/tokenizer/native.ts gives its types. Short texts are encoded on the JavaScript
// thread, everything long runs on a pool thread (and starts its own helpers) behind a promise.
#include "tokenizer.h"

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../tokenizer/encoder.h"
#include "../tokenizer/merges.h"
#include "../tokenizer/piece_counter.h"
#include "../tokenizer/train.h"
#include "napi_helpers.h"

namespace hornbook::napi {

namespace {

using namespace tokenizer;

// A C++ object held by a JavaScript value; jobs share it, so that it outlives them.
template <class T>
napi_value wrap(napi_env env, std::shared_ptr<T> object) {
  auto holder = std::make_unique<std::shared_ptr<T>>(std::move(object));
  napi_value result;
  check(env, napi_create_external(env, holder.get(), [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<T>*>(data); }, nullptr, &result));
  holder.release();
  return result;
}

template <class T>
std::shared_ptr<T> unwrap(napi_env env, napi_value value) {
  void* data;
  check(env, napi_get_value_external(env, value, &data));
  return *static_cast<std::shared_ptr<T>*>(data);
}

template <class T>
std::vector<T> toVector(napi_env env, napi_value value) {
  const Bytes bytes = toBytes(env, value);
  std::vector<T> result(bytes.length / sizeof(T));
  if (!result.empty()) std::memcpy(result.data(), bytes.data, result.size() * sizeof(T));
  return result;
}

// Byte strings one after another, and where each ends.
// In JavaScript's memory.
std::vector<std::string_view> toStrings(napi_env env, napi_value bytesValue, napi_value endsValue) {
  const Bytes bytes = toBytes(env, bytesValue);
  std::vector<std::string_view> result;
  size_t begin = 0;
  for (const uint32_t end : toVector<uint32_t>(env, endsValue)) {
    if (end < begin || end > bytes.length) throw std::runtime_error("token offsets run past the bytes");
    result.emplace_back(reinterpret_cast<const char*>(bytes.data) + begin, end - begin);
    begin = end;
  }
  return result;
}

std::vector<Document> toDocuments(napi_env env, napi_value array) {
  uint32_t count;
  check(env, napi_get_array_length(env, array, &count));
  std::vector<Document> documents(count);
  for (uint32_t i = 0; i < count; i++) {
    // The pointers outlive this scope because the array is kept for the length of the job.
    napi_handle_scope scope;
    check(env, napi_open_handle_scope(env, &scope));
    napi_value element;
    check(env, napi_get_element(env, array, i, &element));
    const Bytes bytes = toBytes(env, element);
    documents[i] = {bytes.data, bytes.length};
    check(env, napi_close_handle_scope(env, scope));
  }
  return documents;
}

// Two int32 in JavaScript's memory: set the first to cancel, read the second for progress.
JobControl toControl(napi_env env, napi_value value) {
  const Bytes bytes = toBytes(env, value);
  if (bytes.length != 8) throw std::runtime_error("a job's control is two int32");
  auto* words = reinterpret_cast<int32_t*>(const_cast<uint8_t*>(bytes.data));
  return JobControl(words, words + 1);
}

Pattern toPattern(napi_env env, napi_value value) {
  const int32_t pattern = toInt32(env, value);
  if (pattern < 0 || pattern >= patternCount) throw std::runtime_error("no such pre-tokenisation pattern");
  return static_cast<Pattern>(pattern);
}

// Work for a pool thread, and the promise of its result.
class Job {
 public:
  virtual ~Job() = default;
  virtual void run() = 0;                      // on a pool thread
  virtual napi_value result(napi_env env) = 0;  // back on the JavaScript thread

  // Starts it. The values in `keep` hold the memory that it reads.
  static napi_value start(napi_env env, std::unique_ptr<Job> job, std::initializer_list<napi_value> keep) {
    napi_value promise, name = fromString(env, "hornbook.tokenizer");
    for (const napi_value value : keep) {
      napi_ref reference;
      check(env, napi_create_reference(env, value, 1, &reference));
      job->kept_.push_back(reference);
    }
    check(env, napi_create_promise(env, &job->deferred_, &promise));
    check(env, napi_create_async_work(env, nullptr, name, execute, complete, job.get(), &job->work_));
    check(env, napi_queue_async_work(env, job->work_));
    job.release();
    return promise;
  }

 private:
  static void execute(napi_env, void* data) {
    auto* job = static_cast<Job*>(data);
    try {
      job->run();
    } catch (const std::exception& error) {
      job->failure_ = error.what();
    }
  }
  static void complete(napi_env env, napi_status status, void* data) {
    const std::unique_ptr<Job> job(static_cast<Job*>(data));
    for (const napi_ref reference : job->kept_) napi_delete_reference(env, reference);
    napi_delete_async_work(env, job->work_);
    if (status != napi_ok) job->failure_ = "cancelled";
    try {
      if (job->failure_.empty()) {
        napi_resolve_deferred(env, job->deferred_, job->result(env));
        return;
      }
    } catch (const std::exception& error) {
      job->failure_ = error.what();
    }
    napi_reject_deferred(env, job->deferred_, makeError(env, job->failure_));
  }

  napi_async_work work_ = nullptr;
  napi_deferred deferred_ = nullptr;
  std::vector<napi_ref> kept_;
  std::string failure_;
};

template <class T>
napi_value toTypedArray(napi_env env, napi_typedarray_type type, const T* data, size_t count) {
  void* memory;
  napi_value buffer, result;
  check(env, napi_create_arraybuffer(env, count * sizeof(T), &memory, &buffer));
  if (count > 0) std::memcpy(memory, data, count * sizeof(T));
  check(env, napi_create_typedarray(env, type, count, buffer, 0, &result));
  return result;
}

// createEncoder(byteTokens, merges, wholePieceBytes, wholePieceEnds, pattern)
napi_value createEncoder(napi_env env, napi_callback_info info) {
  const Arguments<5> args(env, info);
  const auto bytes = toVector<TokenId>(env, args[0]);
  const auto words = toVector<uint32_t>(env, args[1]);
  if (bytes.size() != 256 || words.size() % 3 != 0) throw std::runtime_error("256 byte tokens and three numbers a merge");
  TokenId byteTokens[256];
  std::copy(bytes.begin(), bytes.end(), byteTokens);
  std::vector<Merge> merges;
  merges.reserve(words.size() / 3);
  for (size_t i = 0; i < words.size(); i += 3) merges.push_back({words[i], words[i + 1], words[i + 2]});
  return wrap(env, std::make_shared<Encoder>(BpeModel(byteTokens, merges, toStrings(env, args[2], args[3])), toPattern(env, args[4])));
}

// encode(encoder, text: string | Uint8Array): Int32Array
napi_value encode(napi_env env, napi_callback_info info) {
  const Arguments<2> args(env, info);
  const auto encoder = unwrap<Encoder>(env, args[0]);
  static thread_local std::vector<uint8_t> text;
  static thread_local TokenBuffer tokens;
  tokens.clear();
  napi_valuetype type;
  check(env, napi_typeof(env, args[1], &type));
  if (type == napi_string) {
    size_t units, length;
    check(env, napi_get_value_string_utf16(env, args[1], nullptr, 0, &units));
    text.resize(units * 3 + 1);
    // Lone surrogates become U+FFFD here, as they do in TextEncoder.
    check(env, napi_get_value_string_utf8(env, args[1], reinterpret_cast<char*>(text.data()), text.size(), &length));
    encoder->encode(text.data(), length, tokens);
  } else {
    const Bytes bytes = toBytes(env, args[1]);
    encoder->encode(bytes.data, bytes.length, tokens);
  }
  const napi_value result = toTypedArray(env, napi_int32_array, tokens.data(), tokens.size());
  // One long text must not pin its memory for ever.
  if (text.size() > (1 << 20)) text = {};
  if (tokens.size() > (1 << 20)) tokens = {};
  return result;
}

class EncodeJob : public Job {
 public:
  EncodeJob(std::shared_ptr<Encoder> encoder, std::vector<Document> documents, int threads, int width, JobControl control)
      : encoder_(std::move(encoder)), documents_(std::move(documents)), threads_(threads), width_(width), control_(control) {}

  void run() override { encoded_ = encoder_->encodeDocuments(documents_, threads_, width_, control_); }

  napi_value result(napi_env env) override {
    const std::vector<double> ends(encoded_.ends.begin(), encoded_.ends.end());
    const size_t bytes = encoded_.count * static_cast<size_t>(width_);
    napi_value buffer, object;
    // The tokens become JavaScript's where they lie; a host that forbids such buffers gets a copy.
    const auto release = [](napi_env, void* data, void*) { std::free(data); };
    if (bytes > 0 && napi_create_external_arraybuffer(env, encoded_.tokens.get(), bytes, release, nullptr, &buffer) == napi_ok) {
      encoded_.tokens.release();
    } else {
      void* memory;
      check(env, napi_create_arraybuffer(env, bytes, &memory, &buffer));
      if (bytes > 0) std::memcpy(memory, encoded_.tokens.get(), bytes);
    }
    check(env, napi_create_object(env, &object));
    check(env, napi_set_named_property(env, object, "tokens", buffer));
    check(env, napi_set_named_property(env, object, "ends", toTypedArray(env, napi_float64_array, ends.data(), ends.size())));
    return object;
  }

 private:
  std::shared_ptr<Encoder> encoder_;
  std::vector<Document> documents_;
  int threads_;
  int width_;
  JobControl control_;
  EncodedDocuments encoded_;
};

// encodeDocuments(encoder, documents: Uint8Array[], threads, width: 2 | 4, control): Promise<{ tokens: ArrayBuffer, ends: Float64Array }>
napi_value encodeDocuments(napi_env env, napi_callback_info info) {
  const Arguments<5> args(env, info);
  const int width = toInt32(env, args[3]);
  if (width != 2 && width != 4) throw std::runtime_error("a token takes 2 or 4 bytes");
  return Job::start(env, std::make_unique<EncodeJob>(unwrap<Encoder>(env, args[0]), toDocuments(env, args[1]), toInt32(env, args[2]), width, toControl(env, args[4])),
                    {args[1], args[4]});
}

// Texts one behind another with `gap` bytes between: where each begins, and where one more would.
std::vector<std::string_view> toTexts(napi_env env, napi_value bytesValue, napi_value startsValue, napi_value gapValue) {
  const Bytes bytes = toBytes(env, bytesValue);
  const std::vector<uint32_t> starts = toVector<uint32_t>(env, startsValue);
  const int64_t gap = toInt32(env, gapValue);
  std::vector<std::string_view> texts;
  texts.reserve(starts.size());
  for (size_t i = 0; i + 1 < starts.size(); i++) {
    const int64_t begin = starts[i], end = starts[i + 1] - gap;
    if (begin > end || end > static_cast<int64_t>(bytes.length)) throw std::runtime_error("text offsets run past the bytes");
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data) + static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  }
  return texts;
}

// resolveMerges(mergeBytes, mergeStarts: Uint32Array, mergeGap, tokenBytes, tokenStarts: Uint32Array, tokenGap): Uint32Array
napi_value resolveMerges(napi_env env, napi_callback_info info) {
  const Arguments<6> args(env, info);
  const auto merges = tokenizer::resolveMerges(toTexts(env, args[0], args[1], args[2]), toTexts(env, args[3], args[4], args[5]));
  return toTypedArray(env, napi_uint32_array, reinterpret_cast<const uint32_t*>(merges.data()), merges.size() * 3);
}

// createCounter(pattern)
napi_value createCounter(napi_env env, napi_callback_info info) {
  const Arguments<1> args(env, info);
  return wrap(env, std::make_shared<PieceCounter>(toPattern(env, args[0])));
}

class FeedJob : public Job {
 public:
  FeedJob(std::shared_ptr<PieceCounter> counter, std::vector<Document> documents, int threads, JobControl control)
      : counter_(std::move(counter)), documents_(std::move(documents)), threads_(threads), control_(control) {}
  void run() override { counter_->feed(documents_, threads_, control_); }
  napi_value result(napi_env env) override { return undefined(env); }

 private:
  std::shared_ptr<PieceCounter> counter_;
  std::vector<Document> documents_;
  int threads_;
  JobControl control_;
};

// feed(counter, documents: Uint8Array[], threads, control): Promise<void>; one at a time
napi_value feed(napi_env env, napi_callback_info info) {
  const Arguments<4> args(env, info);
  return Job::start(env, std::make_unique<FeedJob>(unwrap<PieceCounter>(env, args[0]), toDocuments(env, args[1]), toInt32(env, args[2]), toControl(env, args[3])),
                    {args[1], args[3]});
}

class TrainJob : public Job {
 public:
  TrainJob(std::shared_ptr<PieceCounter> counter, std::vector<std::string> initialTokens, TrainingOptions options, JobControl control)
      : counter_(std::move(counter)), initialTokens_(std::move(initialTokens)), options_(options), control_(control) {}
  void run() override { merges_ = train(counter_->total(), initialTokens_, options_, control_); }
  napi_value result(napi_env env) override {
    static_assert(sizeof(Merge) == 12);
    return toTypedArray(env, napi_uint32_array, reinterpret_cast<const uint32_t*>(merges_.data()), merges_.size() * 3);
  }

 private:
  std::shared_ptr<PieceCounter> counter_;
  std::vector<std::string> initialTokens_;
  TrainingOptions options_;
  JobControl control_;
  std::vector<Merge> merges_;
};

// train(counter, initialBytes, initialEnds, vocabSize, minFrequency, control): Promise<Uint32Array> (left, right, result of each merge)
napi_value train(napi_env env, napi_callback_info info) {
  const Arguments<6> args(env, info);
  const auto initial = toStrings(env, args[1], args[2]);
  const TrainingOptions options{static_cast<size_t>(toInt64(env, args[3])), static_cast<uint64_t>(toInt64(env, args[4]))};
  return Job::start(env, std::make_unique<TrainJob>(unwrap<PieceCounter>(env, args[0]), std::vector<std::string>(initial.begin(), initial.end()), options, toControl(env, args[5])), {args[5]});
}

}  // namespace

void registerTokenizer(napi_env env, napi_value exports) {
  napi_value functions;
  check(env, napi_create_object(env, &functions));
  define<createEncoder>(env, functions, "createEncoder");
  define<encode>(env, functions, "encode");
  define<encodeDocuments>(env, functions, "encodeDocuments");
  define<resolveMerges>(env, functions, "resolveMerges");
  define<createCounter>(env, functions, "createCounter");
  define<feed>(env, functions, "feed");
  define<train>(env, functions, "train");
  check(env, napi_set_named_property(env, exports, "tokenizer", functions));
}

}  // namespace hornbook::napi
