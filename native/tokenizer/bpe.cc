#include "bpe.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>

namespace hornbook::tokenizer {

// Bits of an index of slots, at most half of which `merges` fill.
static int slotBits(size_t merges) { return std::max<int>(4, std::bit_width(merges * 2)); }

BpeModel::BpeModel(const TokenId (&byteTokens)[256], const std::vector<Merge>& merges, const std::vector<std::string_view>& wholePieces)
    : slots_(size_t{1} << slotBits(merges.size())), filter_((size_t{8} << slotBits(merges.size())) / 64) {
  std::copy(std::begin(byteTokens), std::end(byteTokens), byteTokens_);
  hasAllBytes_ = std::find(std::begin(byteTokens), std::end(byteTokens), noToken) == std::end(byteTokens);
  slots_.preferLargePages();
  shift_ = 64 - slotBits(merges.size());
  filterShift_ = shift_ - 3;
  mask_ = (size_t{1} << slotBits(merges.size())) - 1;
  for (uint32_t rank = 0; rank < merges.size(); rank++) {
    const Merge& merge = merges[rank];
    if (std::max({merge.left, merge.right, merge.result}) > maxTokenId) throw std::runtime_error("a merge names a token id above 2^24 - 1");
    const uint64_t pair = static_cast<uint64_t>(merge.left) << 32 | merge.right, hash = hashOf(pair);
    size_t i = hash >> shift_;
    while (slots_[i].rankAfter != 0 && slots_[i].pair != pair) i = (i + 1) & mask_;
    slots_[i] = {pair, rank + 1, merge.result};
    filter_[hash >> filterShift_ >> 6] |= uint64_t{1} << (hash >> filterShift_) % 64;
  }
  asciiMerges_.reserve(128 * 128);
  for (int first = 0; first < 128; first++) {
    for (int second = 0; second < 128; second++) asciiMerges_.push_back(mergeOf(byteTokens_[first], byteTokens_[second]));
  }
  for (const std::string_view piece : wholePieces) wholeBytes_.insert(wholeBytes_.end(), piece.begin(), piece.end());
  std::vector<std::string_view> own;
  own.reserve(wholePieces.size());
  for (const char* at = wholeBytes_.data(); const std::string_view piece : wholePieces) {
    own.emplace_back(at, piece.size());
    at += piece.size();
  }
  if (!own.empty()) wholePieces_ = TokenIds(std::move(own));
}

void BpeModel::encodePiece(const uint8_t* piece, size_t length, MergeScratch& scratch, TokenBuffer& out) const {
  if (!wholePieces_.empty()) {
    if (const TokenId whole = wholePieces_[{reinterpret_cast<const char*>(piece), length}]; whole != noToken) {
      *out.room(1) = whole;
      out.advance(1);
      return;
    }
  }
  if (!hasAllBytes_) {
    scratch.bytes.clear();
    std::copy_if(piece, piece + length, std::back_inserter(scratch.bytes), [&](uint8_t byte) { return byteTokens_[byte] != noToken; });
    piece = scratch.bytes.data();
    length = scratch.bytes.size();
  }
  if (length <= shortPiece) encodeShort(piece, length, out);
  else encodeLong(piece, length, scratch, out);
}

// A scan for the best merge costs less than any bookkeeping while everything fits a few cache lines.
void BpeModel::encodeShort(const uint8_t* piece, size_t length, TokenBuffer& out) const {
  TokenId* ids = out.room(length);
  Result merges[shortPiece];  // of each with its right neighbour
  for (size_t i = 0; i < length; i++) ids[i] = byteTokens_[piece[i]];
  size_t count = length;
  for (size_t i = 0; i + 1 < count; i++) {
    const bool ascii = (piece[i] | piece[i + 1]) < 0x80;
    merges[i] = ascii ? asciiMerges_[static_cast<size_t>(piece[i] * 128 + piece[i + 1])] : mergeOf(ids[i], ids[i + 1]);
  }
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; i++) best = merges[i].rank < merges[best].rank ? i : best;
    if (merges[best].rank == noRank) break;
    ids[best] = merges[best].token;
    count--;
    for (size_t i = best + 1; i < count; i++) {
      ids[i] = ids[i + 1];
      merges[i - 1] = merges[i];
    }
    if (best > 0) merges[best - 1] = mergeOf(ids[best - 1], ids[best]);
    if (best + 1 < count) merges[best] = mergeOf(ids[best], ids[best + 1]);
  }
  out.advance(count);
}

// A heap of candidate merges over a linked list of symbols. A candidate whose pair has changed since is stale and skipped.
void BpeModel::encodeLong(const uint8_t* piece, size_t length, MergeScratch& scratch, TokenBuffer& out) const {
  constexpr uint32_t none = 0xffffffff;
  if (length >= none) throw std::runtime_error("a single piece of 4 GB or more");
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  const auto later = [](const MergeScratch::Candidate& a, const MergeScratch::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto count = static_cast<uint32_t>(length);
  symbols.resize(count);
  heap.clear();
  for (uint32_t i = 0; i < count; i++) symbols[i] = {byteTokens_[piece[i]], i - 1, i + 1 < count ? i + 1 : none};
  for (uint32_t i = 0; i + 1 < count; i++) {
    if (const uint32_t rank = mergeOf(symbols[i].id, symbols[i + 1].id).rank; rank != noRank) heap.push_back({rank, i});
  }
  std::make_heap(heap.begin(), heap.end(), later);
  const auto offer = [&](uint32_t i) {
    if (i == none || symbols[i].next == none) return;
    const uint32_t rank = mergeOf(symbols[i].id, symbols[symbols[i].next].id).rank;
    if (rank == noRank) return;
    heap.push_back({rank, i});
    std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    const MergeScratch::Candidate candidate = heap.front();
    std::pop_heap(heap.begin(), heap.end(), later);
    heap.pop_back();
    const uint32_t i = candidate.position;
    const uint32_t j = symbols[i].next;
    // A symbol that was merged into its left neighbour is marked by noToken, which no merge has.
    if (symbols[i].id == noToken || j == none) continue;
    const Result merge = mergeOf(symbols[i].id, symbols[j].id);
    if (merge.rank != candidate.rank) continue;
    symbols[i].id = merge.token;
    symbols[i].next = symbols[j].next;
    if (symbols[j].next != none) symbols[symbols[j].next].previous = i;
    symbols[j].id = noToken;
    offer(symbols[i].previous);
    offer(i);
  }
  for (uint32_t i = 0; i != none; i = symbols[i].next) {
    *out.room(1) = symbols[i].id;
    out.advance(1);
  }
}

}  // namespace hornbook::tokenizer
