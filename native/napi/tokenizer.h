#pragma once

#include <node_api.h>

namespace inkling::napi {

void registerTokenizer(napi_env env, napi_value exports);

}  // namespace inkling::napi
