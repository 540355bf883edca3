// Attention for a handful of queries over many keys, as in decoding with a cache.
#pragma once

#include "attention.h"

namespace inkling::kernels::attention_detail {

inline bool decodes(const AttentionParams&) { return false; }
inline void decode(const AttentionParams&, Context&) {}

}  // namespace inkling::kernels::attention_detail
