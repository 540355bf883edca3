#include "merges.h"

#include <functional>
#include <string>

namespace inkling::tokenizer {

namespace {

// The ids of texts, in an open-addressing hash table: one allocation, where a map would make one for each text.
class Ids {
 public:
  explicit Ids(const std::vector<std::string_view>& texts) : texts_(texts) {
    size_t slots = 2;
    while (slots < 2 * texts.size()) slots *= 2;
    slots_.assign(slots, noToken);
    for (TokenId id = 0; id < texts.size(); id++) slots_[slotOf(texts[id])] = id;
  }
  TokenId operator[](std::string_view text) const { return text.empty() ? noToken : slots_[slotOf(text)]; }

 private:
  // Where the text stands, or where it would.
  size_t slotOf(std::string_view text) const {
    const size_t mask = slots_.size() - 1;
    size_t slot = std::hash<std::string_view>()(text) & mask;
    while (slots_[slot] != noToken && texts_[slots_[slot]] != text) slot = (slot + 1) & mask;
    return slot;
  }

  const std::vector<std::string_view>& texts_;
  std::vector<TokenId> slots_;
};

}  // namespace

std::vector<Merge> resolveMerges(const std::vector<std::string_view>& merges, const std::vector<std::string_view>& tokens) {
  const Ids ids(tokens);
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

}  // namespace inkling::tokenizer
