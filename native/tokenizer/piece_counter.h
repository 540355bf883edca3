// How often each piece occurs in a corpus: all that BPE training needs of the text. Documents are fed as they come and not kept.
#pragma once

#include <string_view>
#include <vector>

#include "bytes.h"
#include "encoder.h"

namespace hornbook::tokenizer {

// Byte strings and their counts: open addressing over entries whose bytes lie in one arena.
class PieceCounts {
 public:
  struct Entry {
    uint64_t hash;
    uint64_t count = 0;
    size_t offset;
    uint32_t length;
  };

  PieceCounts() : slots_(1 << 12, empty) {}

  // `limit` is the end of memory that may be read.
  void add(const uint8_t* piece, size_t length, const uint8_t* limit, uint64_t times = 1);
  size_t size() const { return entries_.size(); }
  const std::vector<Entry>& entries() const { return entries_; }
  std::string_view piece(const Entry& entry) const { return {reinterpret_cast<const char*>(arena_.data()) + entry.offset, entry.length}; }

 private:
  static constexpr uint32_t empty = 0xffffffff;
  void grow();

  std::vector<uint32_t> slots_;
  std::vector<Entry> entries_;
  std::vector<uint8_t> arena_;
};

class PieceCounter {
 public:
  explicit PieceCounter(Pattern pattern) : pattern_(pattern) {}

  // No two calls at once.
  void feed(const std::vector<Document>& documents, int threads, const JobControl& control);

  // All that was fed, in one table.
  const PieceCounts& total();

 private:
  const Pattern pattern_;
  std::vector<PieceCounts> lanes_{1};
};

}  // namespace hornbook::tokenizer
