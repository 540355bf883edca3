// A trained byte-level BPE vocabulary and how one piece of text becomes tokens (Sennrich et al. 2016; on bytes: Radford et al. 2019):
// start from single bytes and, as long as some neighbours are a known merge, apply the earliest learned one, leftmost first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include "bytes.h"
#include "large_pages.h"
#include "token_ids.h"

namespace hornbook::tokenizer {

// Ids fit 24 bits, so that the piece cache packs five into two words.
constexpr TokenId maxTokenId = (1u << 24) - 1;

struct Merge {
  TokenId left;
  TokenId right;
  TokenId result;
};

// Tokens as they are produced. What is written past size() stays unseen, so that fixed-size stores may overshoot.
class TokenBuffer {
 public:
  static constexpr size_t slack = 16;

  TokenBuffer() = default;
  TokenBuffer(TokenBuffer&& other) noexcept { *this = std::move(other); }
  TokenBuffer& operator=(TokenBuffer&& other) noexcept {
    std::swap(tokens_, other.tokens_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }

  size_t size() const { return size_; }
  const TokenId* data() const { return tokens_.get(); }
  // At least `count` places, and the slack after them.
  TokenId* room(size_t count) {
    if (capacity_ < size_ + count + slack) grow(size_ + count + slack);
    return tokens_.get() + size_;
  }
  void advance(size_t count) { size_ += count; }
  void clear() { size_ = 0; }

 private:
  void grow(size_t least) {
    const size_t capacity = std::max<size_t>(least * 3 / 2, 1024);
    void* const larger = std::realloc(tokens_.get(), capacity * sizeof(TokenId));
    if (!larger) throw std::bad_alloc();
    (void)tokens_.release();
    tokens_.reset(static_cast<TokenId*>(larger));
    capacity_ = capacity;
  }

  std::unique_ptr<TokenId[], Free> tokens_;
  size_t size_ = 0, capacity_ = 0;
};

struct MergeScratch {
  struct Symbol {
    TokenId id;
    uint32_t previous;
    uint32_t next;
  };
  struct Candidate {
    uint32_t rank;
    uint32_t position;
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  std::vector<uint8_t> bytes;  // of a piece, without those that have no token
};

class BpeModel {
 public:
  // `byteTokens[b]` is the token of byte b, or noToken. `merges` stand in the order in which they were learned; every id is at most maxTokenId.
  // A piece that is itself one of `wholePieces` (by id; empty where an id has none) is taken without merging, as Llama 3 does.
  BpeModel(const TokenId (&byteTokens)[256], const std::vector<Merge>& merges, const std::vector<std::string_view>& wholePieces);

  // Appends the tokens of one piece. Linear in time for short pieces in practice, O(n log n) for any. A byte that has no token is left out, as Hugging Face
  // does: SmolLM's vocabulary lacks 21.
  void encodePiece(const uint8_t* piece, size_t length, MergeScratch& scratch, TokenBuffer& out) const;

 private:
  static constexpr uint32_t noRank = 0xffffffff;
  static constexpr size_t shortPiece = 32;
  struct Result {
    uint32_t rank;  // noRank where a pair is no merge
    TokenId token;
  };
  struct Slot {
    uint64_t pair;
    uint32_t rankAfter;  // the rank and one; 0 in a free slot
    TokenId token;
  };

  Result mergeOf(TokenId left, TokenId right) const {
    const uint64_t pair = static_cast<uint64_t>(left) << 32 | right, hash = hashOf(pair);
    const size_t bit = hash >> filterShift_;
    if ((filter_[bit / 64] >> bit % 64 & 1) == 0) return {noRank, noToken};
    for (size_t i = hash >> shift_;; i = (i + 1) & mask_) {
      if (slots_[i].rankAfter == 0 || slots_[i].pair == pair) return {slots_[i].rankAfter - 1, slots_[i].token};
    }
  }
  static uint64_t hashOf(uint64_t pair) { return pair * 0x9e3779b97f4a7c15ull; }
  void encodeShort(const uint8_t* piece, size_t length, TokenBuffer& out) const;
  void encodeLong(const uint8_t* piece, size_t length, MergeScratch& scratch, TokenBuffer& out) const;

  TokenId byteTokens_[256];
  bool hasAllBytes_;
  ZeroedArray<Slot> slots_;  // open addressing, at most half full
  // One bit for eight times as many places as `slots_` has: most neighbours are no merge, and this says so from a nearer cache.
  ZeroedArray<uint64_t> filter_;
  // Of two ASCII bytes, [first * 128 + second]: what every piece is asked first, in the few lines of the cache that letters take.
  std::vector<Result> asciiMerges_;
  int shift_, filterShift_;
  size_t mask_;
  std::vector<char> wholeBytes_;
  TokenIds wholePieces_;
};

}  // namespace hornbook::tokenizer
