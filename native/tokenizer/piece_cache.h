// Remembers the tokens of pieces met before: a few ten thousand pieces make up nearly all text, so that most are one look-up. Bounded and
// set-associative: a bucket is a cache line or two, what does not fit goes to the bucket beside it, and where that is full too a new piece displaces the
// last of its own bucket. What came early, and so is frequent, stays; nothing is ever rehashed.
#pragma once

#include <cstdlib>
#include <memory>
#include <new>

#include "bpe.h"

namespace inkling::tokenizer {

// Pieces of up to 8 * Words - 1 bytes and up to (8 * Words - 1) / 3 tokens: a slot is the key and as many bytes of tokens, 24 bits each,
// with their number in the last.
template <int Words>
class PieceCache {
 public:
  using Key = ShortKey<Words>;
  static constexpr size_t maxTokens = (8 * Words - 1) / 3;

  // 2^bits buckets. Pages of the table that are never touched cost nothing.
  explicit PieceCache(int bits)
      : memory_(static_cast<std::byte*>(std::calloc((size_t{1} << bits) + 1, sizeof(Bucket)))), shift_(64 - bits) {
    if (!memory_) throw std::bad_alloc();
    void* start = memory_.get();
    size_t space = ((size_t{1} << bits) + 1) * sizeof(Bucket);
    buckets_ = static_cast<Bucket*>(std::align(64, sizeof(Bucket) << bits, start, space));
  }

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

  // Of a piece that is not there.
  void insert(const Key& key, Place place, const TokenId* tokens, size_t count) {
    const Slot* free = findSlot(Key::none(), place);
    Slot& slot = free ? const_cast<Slot&>(*free) : buckets_[place].slots[1];
    std::memcpy(slot.key, key.words, sizeof slot.key);
    for (size_t i = 0; i < count; i++) std::memcpy(slot.tokens + 3 * i, &tokens[i], 3);
    slot.tokens[8 * Words - 1] = static_cast<uint8_t>(count);
  }

 private:
  struct Slot {
    uint64_t key[Words];
    uint8_t tokens[8 * Words];
  };
  struct Bucket {
    Slot slots[2];
  };
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  const Slot* findSlot(const Key& key, Place place) const {
    for (const Bucket* bucket : {&buckets_[place], &buckets_[place ^ 1]}) {
      for (const Slot& slot : bucket->slots) {
        if (std::memcmp(slot.key, key.words, sizeof slot.key) == 0) return &slot;
      }
    }
    return nullptr;
  }

  std::unique_ptr<std::byte, Free> memory_;
  Bucket* buckets_;
  int shift_;
};

}  // namespace inkling::tokenizer
