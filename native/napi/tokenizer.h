#pragma once

#include <node_api.h>

namespace hornbook::napi {

void registerTokenizer(napi_env env, napi_value exports);

}  // namespace hornbook::napi
