// The addon's entry: each room registers its own functions.
#include <node_api.h>

#include <exception>

#include "device.h"
#include "tokenizer.h"

NAPI_MODULE_INIT() {
  try {
    hornbook::napi::registerDevice(env, exports);
    hornbook::napi::registerTokenizer(env, exports);
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
  }
  return exports;
}
