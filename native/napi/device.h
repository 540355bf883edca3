#pragma once

#include <node_api.h>

namespace inkling::napi {

void registerDevice(napi_env env, napi_value exports);

}  // namespace inkling::napi
