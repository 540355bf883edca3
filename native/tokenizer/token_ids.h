// The ids of tokens by their bytes, in an open-addressing hash table: one allocation, where a map would make one for each token. A slot has part of the hash,
// so that a text which is no token costs one look, at the slot.
#pragma once

#include <string_view>
#include <vector>

#include "bytes.h"

namespace hornbook::tokenizer {

using TokenId = uint32_t;
constexpr TokenId noToken = 0xffffffff;

class TokenIds {
 public:
  TokenIds() = default;
  // By place; an empty token has no id, and of equal ones the last counts. Whoever holds the bytes keeps them where they are.
  explicit TokenIds(std::vector<std::string_view> tokens) : tokens_(std::move(tokens)) {
    size_t slots = 2;
    while (slots < 2 * tokens_.size()) slots *= 2;
    slots_.assign(slots, {0, noToken});
    for (TokenId id = 0; id < tokens_.size(); id++) {
      if (tokens_[id].empty()) continue;
      const uint64_t hash = hashOf(tokens_[id]);
      slots_[slotOf(tokens_[id], hash)] = {static_cast<uint32_t>(hash >> 32), id};
    }
  }

  bool empty() const { return tokens_.empty(); }
  TokenId operator[](std::string_view text) const { return slots_[slotOf(text, hashOf(text))].id; }

 private:
  struct Slot {
    uint32_t hash;  // its upper half; the lower one says where to begin
    TokenId id;
  };

  static uint64_t hashOf(std::string_view text) { return hashBytes(reinterpret_cast<const uint8_t*>(text.data()), text.size()); }

  // Where the text stands, or where it would.
  size_t slotOf(std::string_view text, uint64_t hash) const {
    const size_t mask = slots_.size() - 1;
    size_t slot = hash & mask;
    while (slots_[slot].id != noToken && (slots_[slot].hash != hash >> 32 || tokens_[slots_[slot].id] != text)) slot = (slot + 1) & mask;
    return slot;
  }

  std::vector<std::string_view> tokens_;
  std::vector<Slot> slots_;
};

}  // namespace hornbook::tokenizer
