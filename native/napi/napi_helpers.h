// The little that every N-API function here needs: arguments out, values in, and C++ errors as JavaScript ones.
#pragma once

#include <node_api.h>

#include <stdexcept>
#include <string>

namespace hornbook::napi {

inline void check(napi_env env, napi_status status) {
  if (status == napi_ok) return;
  const napi_extended_error_info* info = nullptr;
  napi_get_last_error_info(env, &info);
  throw std::runtime_error(info && info->error_message ? info->error_message : "a Node-API call failed");
}

template <size_t N>
struct Arguments {
  napi_value values[N];
  Arguments(napi_env env, napi_callback_info info) {
    size_t count = N;
    check(env, napi_get_cb_info(env, info, &count, values, nullptr, nullptr));
    if (count < N) throw std::runtime_error("too few arguments");
  }
  napi_value operator[](size_t i) const { return values[i]; }
};

inline int32_t toInt32(napi_env env, napi_value value) {
  int32_t result;
  check(env, napi_get_value_int32(env, value, &result));
  return result;
}

inline int64_t toInt64(napi_env env, napi_value value) {
  int64_t result;
  check(env, napi_get_value_int64(env, value, &result));
  return result;
}

inline bool toBool(napi_env env, napi_value value) {
  bool result;
  check(env, napi_get_value_bool(env, value, &result));
  return result;
}

inline std::string toString(napi_env env, napi_value value) {
  size_t length = 0;
  check(env, napi_get_value_string_utf8(env, value, nullptr, 0, &length));
  std::string result(length, '\0');
  check(env, napi_get_value_string_utf8(env, value, result.data(), length + 1, &length));
  return result;
}

inline napi_value fromString(napi_env env, const std::string& text) {
  napi_value result;
  check(env, napi_create_string_utf8(env, text.data(), text.size(), &result));
  return result;
}

inline napi_value undefined(napi_env env) {
  napi_value result;
  check(env, napi_get_undefined(env, &result));
  return result;
}

// A JavaScript error value with this message.
inline napi_value makeError(napi_env env, const std::string& message) {
  napi_value error;
  check(env, napi_create_error(env, nullptr, fromString(env, message), &error));
  return error;
}

// The bytes of a typed array.
struct Bytes {
  const uint8_t* data;
  size_t length;
};
inline Bytes toBytes(napi_env env, napi_value value) {
  napi_typedarray_type type;
  size_t length, offset;
  void* data;
  napi_value buffer;
  check(env, napi_get_typedarray_info(env, value, &type, &length, &data, &buffer, &offset));
  const size_t width = type == napi_uint8_array || type == napi_int8_array || type == napi_uint8_clamped_array ? 1
                       : type == napi_uint16_array || type == napi_int16_array                                ? 2
                       : type == napi_float64_array || type == napi_bigint64_array || type == napi_biguint64_array ? 8
                                                                                                                  : 4;
  return {static_cast<const uint8_t*>(data), length * width};
}

// Wraps a function so that a C++ exception becomes a JavaScript one.
template <napi_value (*function)(napi_env, napi_callback_info)>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    return function(env, info);
  } catch (const std::exception& error) {
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    if (!pending) napi_throw_error(env, nullptr, error.what());
    return nullptr;
  }
}

template <napi_value (*function)(napi_env, napi_callback_info)>
void define(napi_env env, napi_value exports, const char* name) {
  napi_value value;
  check(env, napi_create_function(env, name, NAPI_AUTO_LENGTH, guarded<function>, nullptr, &value));
  check(env, napi_set_named_property(env, exports, name, value));
}

}  // namespace hornbook::napi
