// The executor as JavaScript sees it: create, submit commands, write, and read as a promise.
#include "device.h"

#include <cstring>
#include <memory>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "../executor/cpu_features.h"
#include "../executor/executor.h"
#include "../executor/kernel_library.h"
#include "file_source.h"
#include "napi_helpers.h"

namespace hornbook::napi {

namespace {

// A read under way. The queue's thread fills the buffer, which a reference keeps alive, then posts to the JavaScript thread, which settles the promise.
struct PendingRead {
  napi_deferred deferred;
  napi_ref buffer;
  std::string error;
};

struct Device {
  std::unique_ptr<Executor> executor;
  napi_threadsafe_function settle = nullptr;
  int pending = 0;
};

void settle(napi_env env, napi_value, void* context, void* data) {
  auto* device = static_cast<Device*>(context);
  std::unique_ptr<PendingRead> read(static_cast<PendingRead*>(data));
  if (env == nullptr) return;  // the process is going down
  // With nothing under way the process may exit.
  if (--device->pending == 0) napi_unref_threadsafe_function(env, device->settle);
  napi_value buffer;
  napi_get_reference_value(env, read->buffer, &buffer);
  napi_delete_reference(env, read->buffer);
  if (read->error.empty()) {
    napi_resolve_deferred(env, read->deferred, buffer);
  } else {
    napi_reject_deferred(env, read->deferred, makeError(env, read->error));
  }
}

Device* deviceOf(napi_env env, napi_value value) {
  void* data;
  check(env, napi_get_value_external(env, value, &data));
  return static_cast<Device*>(data);
}

napi_value supported(napi_env env, napi_callback_info) {
  napi_value list;
  check(env, napi_create_array(env, &list));
  uint32_t i = 0;
  for (const auto& isa : supportedIsas()) check(env, napi_set_element(env, list, i++, fromString(env, isa)));
  return list;
}

napi_value fingerprint(napi_env env, napi_callback_info) { return fromString(env, contractFingerprint); }

// checkKernels(libraryPath): why it cannot be used, or undefined
napi_value checkKernels(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  std::string error;
  supportedIsas();  // as in createDevice
  return openKernelLibrary(toString(env, arguments[0]), error) == nullptr ? fromString(env, error) : undefined(env);
}

// createDevice(libraryPath, threads)
napi_value createDevice(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  std::string error;
  supportedIsas();  // asks for the tile registers, where there are any, before a thread is born that uses them
  const KernelTable* kernels = openKernelLibrary(toString(env, arguments[0]), error);
  if (kernels == nullptr) throw std::runtime_error(error);
  auto* device = new Device{std::make_unique<Executor>(*kernels, toInt32(env, arguments[1]))};
  check(env, napi_create_threadsafe_function(env, nullptr, nullptr, fromString(env, "hornbook"), 0, 1, nullptr, nullptr, device, settle, &device->settle));
  check(env, napi_unref_threadsafe_function(env, device->settle));
  // Before the environment goes, the queue must have stopped, or it would post to nobody.
  check(env, napi_add_env_cleanup_hook(env, [](void* data) { static_cast<Device*>(data)->executor.reset(); }, device));
  napi_value external;
  check(env, napi_create_external(env, device, nullptr, nullptr, &external));
  return external;
}

// submit(device, words, count)
napi_value submit(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  const Bytes bytes = toBytes(env, arguments[1]);
  const size_t count = static_cast<size_t>(toInt64(env, arguments[2]));
  if (count * 4 > bytes.length) throw std::runtime_error("submit: more words than the array has");
  const auto* words = reinterpret_cast<const int32_t*>(bytes.data);
  deviceOf(env, arguments[0])->executor->submit({words, words + count});
  return undefined(env);
}

// write(device, buffer, byteOffset, bytes)
napi_value write(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  const Bytes bytes = toBytes(env, arguments[3]);
  deviceOf(env, arguments[0])->executor->write(toInt32(env, arguments[1]), toInt64(env, arguments[2]), {bytes.data, bytes.data + bytes.length});
  return undefined(env);
}

// writeFile(device, buffer, byteOffset, descriptor, position, byteLength, order: Uint32Array, rowBytes)
napi_value writeFile(napi_env env, napi_callback_info info) {
  const Arguments<8> arguments(env, info);
  const int64_t length = toInt64(env, arguments[5]);
  const Bytes bytes = toBytes(env, arguments[6]);
  std::vector<uint32_t> order(bytes.length / sizeof(uint32_t));
  if (!order.empty()) std::copy_n(reinterpret_cast<const uint32_t*>(bytes.data), order.size(), order.data());
  auto source = fileSource(toInt32(env, arguments[3]), toInt64(env, arguments[4]), length, std::move(order), toInt64(env, arguments[7]));
  deviceOf(env, arguments[0])->executor->fill(toInt32(env, arguments[1]), toInt64(env, arguments[2]), length, std::move(source));
  return undefined(env);
}

// read(device, buffer, byteOffset, byteLength): Promise<ArrayBuffer>
napi_value read(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  Device* device = deviceOf(env, arguments[0]);
  const int64_t length = toInt64(env, arguments[3]);
  auto pending = std::make_unique<PendingRead>();
  void* target;
  napi_value buffer, promise;
  check(env, napi_create_arraybuffer(env, static_cast<size_t>(length), &target, &buffer));
  check(env, napi_create_reference(env, buffer, 1, &pending->buffer));
  check(env, napi_create_promise(env, &pending->deferred, &promise));
  if (device->pending++ == 0) check(env, napi_ref_threadsafe_function(env, device->settle));
  auto* read = pending.release();
  device->executor->read(toInt32(env, arguments[1]), toInt64(env, arguments[2]), length, target, [device, read](std::string error) {
    read->error = std::move(error);
    napi_call_threadsafe_function(device->settle, read, napi_tsfn_nonblocking);
  });
  return promise;
}

// setProfiling(device, on)
napi_value setProfiling(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  deviceOf(env, arguments[0])->executor->setProfiling(toBool(env, arguments[1]));
  return undefined(env);
}

// profile(device): Float64Array of (began, ended, waited) for each launch since the last call
napi_value profile(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const auto launches = deviceOf(env, arguments[0])->executor->profile();
  static_assert(sizeof(LaunchTimes) == 3 * sizeof(double));
  void* memory;
  napi_value buffer, result;
  check(env, napi_create_arraybuffer(env, launches.size() * sizeof(LaunchTimes), &memory, &buffer));
  if (!launches.empty()) std::memcpy(memory, launches.data(), launches.size() * sizeof(LaunchTimes));
  check(env, napi_create_typedarray(env, napi_float64_array, 3 * launches.size(), buffer, 0, &result));
  return result;
}

// trim(): the C library's heap keeps what was freed between two blocks that were not; this gives its pages back.
napi_value trim(napi_env env, napi_callback_info) {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
  return undefined(env);
}

}  // namespace

void registerDevice(napi_env env, napi_value exports) {
  define<supported>(env, exports, "supportedIsas");
  define<fingerprint>(env, exports, "contractFingerprint");
  define<checkKernels>(env, exports, "checkKernels");
  define<createDevice>(env, exports, "createDevice");
  define<submit>(env, exports, "submit");
  define<write>(env, exports, "write");
  define<writeFile>(env, exports, "writeFile");
  define<read>(env, exports, "read");
  define<setProfiling>(env, exports, "setProfiling");
  define<profile>(env, exports, "profile");
  define<trim>(env, exports, "trim");
}

}  // namespace hornbook::napi
