#include "merges.h"

#include <string>

#include "token_ids.h"

namespace hornbook::tokenizer {

std::vector<Merge> resolveMerges(const std::vector<std::string_view>& merges, const std::vector<std::string_view>& tokens) {
  const TokenIds ids(tokens);
  std::vector<Merge> result;
  result.reserve(merges.size());
  std::string whole;
  for (const std::string_view merge : merges) {
    const size_t cut = merge.find(' ', 1);
    if (cut == std::string_view::npos) break;
    whole.assign(merge.substr(0, cut)).append(merge.substr(cut + 1));
    const Merge ofIds = {ids[merge.substr(0, cut)], ids[merge.substr(cut + 1)], ids[whole]};
    if (ofIds.left == noToken || ofIds.right == noToken || ofIds.result == noToken) break;
    result.push_back(ofIds);
  }
  return result;
}

}  // namespace hornbook::tokenizer
