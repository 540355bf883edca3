// Remembers the tokens of pieces met before: a few ten thousand pieces make up nearly all text, so that most are one look-up. Bounded and
// set-associative: a bucket is a cache line or two, and what does not fit goes to the bucket beside it. What came early, and so is frequent, stays; nothing is
// ever rehashed. `share` and `find` may be called by any number of threads at once, without a lock: a slot is written once.
#pragma once

#include <atomic>

#include "bpe.h"
#include "large_pages.h"

namespace hornbook::tokenizer {

// Pieces of up to 8 * Words - 1 bytes and up to (8 * Words - 1) / 3 tokens: a slot is the key and as many bytes of tokens, 24 bits each,
// with their number in the last.
template <int Words>
class PieceCache {
 public:
  using Key = ShortKey<Words>;
  static constexpr size_t maxTokens = (8 * Words - 1) / 3;

  // 2^bits buckets.
  explicit PieceCache(int bits) : buckets_(size_t{1} << bits), shift_(64 - bits) {}

  // For much text: all of the table will be used.
  void preferLargePages() { buckets_.preferLargePages(); }

  // The bucket of a key.
  using Place = uint32_t;
  Place placeOf(const Key& key) const { return static_cast<Place>(key.hash() >> shift_); }

  void prefetch(Place place) const {
#if defined(__GNUC__)
    __builtin_prefetch(&buckets_[place]);
#endif
  }

  // Appends the tokens of the piece and says true, or says false.
  bool find(const Key& key, Place place, TokenBuffer& out) const {
    const Slot* slot = findSlot(key, place);
    if (!slot) return false;
    TokenId* tokens = out.room(maxTokens);
    for (size_t i = 0; i < maxTokens; i++) {
      uint32_t token;
      std::memcpy(&token, slot->tokens + 3 * i, 4);
      tokens[i] = token & maxTokenId;
    }
    out.advance(slot->tokens[8 * Words - 1]);
    return true;
  }

  // Of a piece that is not there: says false where there is no room for it.
  bool share(const Key& key, Place place, const TokenId* tokens, size_t count) {
    if (key.words[0] == 0) return false;  // a text of zeros would look like a slot that is free
    for (Bucket* bucket : {&buckets_[place], &buckets_[place ^ 1]}) {
      for (Slot& slot : bucket->slots) {
        // The first word takes the slot, the last one, which no two threads then write, makes it known. Two slots for one piece do no harm.
        uint64_t free = 0;
        if (!word(slot, 0).compare_exchange_strong(free, key.words[0], std::memory_order_relaxed)) continue;
        for (int i = 1; i < Words - 1; i++) word(slot, i).store(key.words[i], std::memory_order_relaxed);
        writeTokens(slot, tokens, count);
        word(slot, Words - 1).store(key.words[Words - 1], std::memory_order_release);
        return true;
      }
    }
    return false;
  }

  // The same for a cache of one thread: where there is no room, the last piece of the bucket goes.
  void insert(const Key& key, Place place, const TokenId* tokens, size_t count) {
    if (share(key, place, tokens, count)) return;
    Slot& last = buckets_[place].slots[1];
    std::memcpy(last.key, key.words, sizeof last.key);
    writeTokens(last, tokens, count);
  }

 private:
  struct Slot {
    uint64_t key[Words];
    uint8_t tokens[8 * Words];
  };
  struct Bucket {
    Slot slots[2];
  };

  static std::atomic_ref<uint64_t> word(const Slot& slot, int i) { return std::atomic_ref<uint64_t>(const_cast<uint64_t&>(slot.key[i])); }

  static void writeTokens(Slot& slot, const TokenId* tokens, size_t count) {
    for (size_t i = 0; i < count; i++) std::memcpy(slot.tokens + 3 * i, &tokens[i], 3);
    slot.tokens[8 * Words - 1] = static_cast<uint8_t>(count);
  }

  const Slot* findSlot(const Key& key, Place place) const {
    for (const Bucket* bucket : {&buckets_[place], &buckets_[place ^ 1]}) {
      for (const Slot& slot : bucket->slots) {
        // The last word first: it holds the length, so that it is 0 until the slot is whole.
        uint64_t difference = word(slot, Words - 1).load(std::memory_order_acquire) ^ key.words[Words - 1];
        for (int i = 0; i < Words - 1; i++) difference |= word(slot, i).load(std::memory_order_relaxed) ^ key.words[i];
        if (difference == 0) return &slot;
      }
    }
    return nullptr;
  }

  ZeroedArray<Bucket> buckets_;
  int shift_;
};

}  // namespace hornbook::tokenizer
