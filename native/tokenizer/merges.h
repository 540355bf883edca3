// Merges given as texts, as ids: how a file's vocabulary is read. The readable twin is src/tokenizer/packed-texts.ts.
#pragma once

#include <string_view>
#include <vector>

#include "bpe.h"

namespace hornbook::tokenizer {

// Each merge `left right`, up to the first that is not two tokens that make a third; a space may only begin the left one. Where a token
// stands twice its last id counts. The empty token has no id.
std::vector<Merge> resolveMerges(const std::vector<std::string_view>& merges, const std::vector<std::string_view>& tokens);

}  // namespace hornbook::tokenizer
