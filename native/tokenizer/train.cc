// Pair counts are kept up to date as merges are applied: a merge visits only the words that hold its pair and changes only the counts of its
// neighbours there. The best pair comes from a heap whose entries may be out of date and are corrected when they surface.
//
// Ties go to the smaller (left, right). An entry of the heap owns the words in which its pair arose, and a pair is never forgotten when it is
// merged; both matter only when one byte string is reached by two different merges, and there they decide whether the result equals that of
// BpeTrainer, which works so. `src/tokenizer/train.ts` is the same algorithm to read first.
#include "train.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <unordered_map>

namespace hornbook::tokenizer {

namespace {

uint64_t pairOf(TokenId left, TokenId right) { return static_cast<uint64_t>(left) << 32 | right; }

// Pairs numbered in the order in which they were first seen.
class PairIndex {
 public:
  PairIndex() : slots_(1 << 16, Slot{0, empty}) {}

  uint32_t operator()(uint64_t pair) {
    const size_t mask = slots_.size() - 1;
    size_t i = mix(pair, pair >> 32) & mask;
    for (; slots_[i].index != empty; i = (i + 1) & mask) {
      if (slots_[i].pair == pair) return slots_[i].index;
    }
    const uint32_t index = size_++;
    slots_[i] = {pair, index};
    if (size_ * 2 > slots_.size()) grow();
    return index;
  }
  uint32_t size() const { return size_; }

 private:
  static constexpr uint32_t empty = 0xffffffff;
  struct Slot {
    uint64_t pair;
    uint32_t index;
  };

  void grow() {
    std::vector<Slot> old(slots_.size() * 4, Slot{0, empty});
    old.swap(slots_);
    const size_t mask = slots_.size() - 1;
    for (const Slot& slot : old) {
      if (slot.index == empty) continue;
      size_t i = mix(slot.pair, slot.pair >> 32) & mask;
      while (slots_[i].index != empty) i = (i + 1) & mask;
      slots_[i] = slot;
    }
  }

  std::vector<Slot> slots_;
  uint32_t size_ = 0;
};

struct Word {
  size_t offset;
  uint32_t length;
  int64_t count;
};

struct Candidate {
  int64_t count;
  uint64_t pair;
  uint32_t index;  // of the pair
  std::vector<uint32_t> words;
};

struct Worse {
  bool operator()(const Candidate& a, const Candidate& b) const { return a.count != b.count ? a.count < b.count : a.pair > b.pair; }
};

class Heap {
 public:
  void push(Candidate candidate) {
    candidates_.push_back(std::move(candidate));
    std::push_heap(candidates_.begin(), candidates_.end(), Worse());
  }
  Candidate pop() {
    std::pop_heap(candidates_.begin(), candidates_.end(), Worse());
    Candidate best = std::move(candidates_.back());
    candidates_.pop_back();
    return best;
  }
  bool empty() const { return candidates_.empty(); }

 private:
  std::vector<Candidate> candidates_;
};

class Trainer {
 public:
  Trainer(const PieceCounts& pieces, const std::vector<std::string>& initialTokens) : tokens_(initialTokens) {
    TokenId byteTokens[256];
    std::fill(std::begin(byteTokens), std::end(byteTokens), noToken);
    for (TokenId id = 0; id < tokens_.size(); id++) {
      if (tokens_[id].empty()) continue;
      ids_.emplace(tokens_[id], id);
      if (tokens_[id].size() == 1) byteTokens[static_cast<uint8_t>(tokens_[id][0])] = id;
    }
    for (const TokenId id : byteTokens) {
      if (id == noToken) throw std::runtime_error("training needs a token for each of the 256 bytes");
    }
    for (const PieceCounts::Entry& entry : pieces.entries()) {
      words_.push_back({symbols_.size(), entry.length, static_cast<int64_t>(entry.count)});
      for (const char byte : pieces.piece(entry)) symbols_.push_back(byteTokens[static_cast<uint8_t>(byte)]);
    }
    for (uint32_t w = 0; w < words_.size(); w++) {
      const TokenId* symbols = symbols_.data() + words_[w].offset;
      for (uint32_t i = 0; i + 1 < words_[w].length; i++) change(symbols[i], symbols[i + 1], words_[w].count, w);
    }
    offerTouched();
  }

  std::vector<Merge> run(const TrainingOptions& options, const JobControl& control) {
    std::vector<Merge> merges;
    while (tokens_.size() < options.vocabSize && !heap_.empty()) {
      if (control.cancelled()) throw Cancelled();
      Candidate best = heap_.pop();
      if (best.count != counts_[best.index]) {
        best.count = counts_[best.index];
        heap_.push(std::move(best));
        continue;
      }
      if (best.count < 1 || static_cast<uint64_t>(best.count) < options.minFrequency) break;
      const auto left = static_cast<TokenId>(best.pair >> 32);
      const auto right = static_cast<TokenId>(best.pair);
      const TokenId result = tokenOf(tokens_[left] + tokens_[right]);
      merges.push_back({left, right, result});
      for (const uint32_t w : best.words) mergeIn(w, left, right, result);
      offerTouched();
      control.progress(static_cast<int32_t>(merges.size()));
    }
    return merges;
  }

 private:
  TokenId tokenOf(std::string bytes) {
    const auto [place, fresh] = ids_.try_emplace(bytes, static_cast<TokenId>(tokens_.size()));
    if (fresh) tokens_.push_back(std::move(bytes));
    return place->second;
  }

  // A pair occurs `by` times more, or less, in the text; where more, word w is one to visit when it is merged.
  void change(TokenId left, TokenId right, int64_t by, uint32_t w) {
    const uint64_t pair = pairOf(left, right);
    const uint32_t index = pairs_(pair);
    if (index == counts_.size()) {
      counts_.push_back(0);
      wordsOf_.emplace_back();
    }
    counts_[index] += by;
    if (by <= 0) return;
    std::vector<uint32_t>& words = wordsOf_[index];
    if (words.empty()) touched_.push_back({0, pair, index, {}});
    if (words.empty() || words.back() != w) words.push_back(w);
  }

  void offerTouched() {
    for (Candidate& candidate : touched_) {
      std::vector<uint32_t> words = std::move(wordsOf_[candidate.index]);
      wordsOf_[candidate.index].clear();
      candidate.count = counts_[candidate.index];
      if (candidate.count <= 0) continue;
      words.shrink_to_fit();
      candidate.words = std::move(words);
      heap_.push(std::move(candidate));
    }
    touched_.clear();
  }

  // Replaces every (left, right) in a word, leftmost first, and counts what that does to the pairs around it.
  void mergeIn(uint32_t w, TokenId left, TokenId right, TokenId result) {
    Word& word = words_[w];
    TokenId* symbols = symbols_.data() + word.offset;
    uint32_t out = 0;
    for (uint32_t i = 0; i < word.length; out++) {
      if (symbols[i] != left || i + 1 >= word.length || symbols[i + 1] != right) {
        symbols[out] = symbols[i++];
        continue;
      }
      if (out > 0) {
        change(symbols[out - 1], left, -word.count, w);
        change(symbols[out - 1], result, word.count, w);
      }
      if (i + 2 < word.length) {
        change(right, symbols[i + 2], -word.count, w);
        change(result, symbols[i + 2], word.count, w);
      }
      symbols[out] = result;
      i += 2;
    }
    word.length = out;
  }

  std::vector<std::string> tokens_;
  std::unordered_map<std::string, TokenId> ids_;
  std::vector<TokenId> symbols_;  // of all words, one after another
  std::vector<Word> words_;
  PairIndex pairs_;
  std::vector<int64_t> counts_;  // by pair index, as is wordsOf_
  std::vector<std::vector<uint32_t>> wordsOf_;
  std::vector<Candidate> touched_;
  Heap heap_;
};

}  // namespace

std::vector<Merge> train(const PieceCounts& pieces, const std::vector<std::string>& initialTokens, const TrainingOptions& options, const JobControl& control) {
  return Trainer(pieces, initialTokens).run(options, control);
}

}  // namespace hornbook::tokenizer
