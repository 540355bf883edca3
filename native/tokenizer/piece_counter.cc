#include "piece_counter.h"

#include <stdexcept>

namespace hornbook::tokenizer {

void PieceCounts::add(const uint8_t* piece, size_t length, const uint8_t* limit, uint64_t times) {
  const uint64_t hash = length <= ShortKey<2>::capacity ? ShortKey<2>(piece, length, limit).hash() : hashBytes(piece, length);
  const size_t mask = slots_.size() - 1;
  size_t i = hash & mask;
  for (; slots_[i] != empty; i = (i + 1) & mask) {
    Entry& entry = entries_[slots_[i]];
    if (entry.hash == hash && entry.length == length && std::memcmp(arena_.data() + entry.offset, piece, length) == 0) {
      entry.count += times;
      return;
    }
  }
  if (length > 0xffffffff || entries_.size() >= empty) throw std::runtime_error("more pieces than training can count, or one of 4 GB");
  slots_[i] = static_cast<uint32_t>(entries_.size());
  entries_.push_back({hash, times, arena_.size(), static_cast<uint32_t>(length)});
  arena_.insert(arena_.end(), piece, piece + length);
  if (entries_.size() * 2 > slots_.size()) grow();
}

void PieceCounts::grow() {
  slots_.assign(slots_.size() * 4, empty);
  const size_t mask = slots_.size() - 1;
  for (uint32_t e = 0; e < entries_.size(); e++) {
    size_t i = entries_[e].hash & mask;
    while (slots_[i] != empty) i = (i + 1) & mask;
    slots_[i] = e;
  }
}

void PieceCounter::feed(const std::vector<Document>& documents, int threads, const JobControl& control) {
  constexpr size_t chunkBytes = 1 << 18;
  struct Chunk {
    const uint8_t* begin;
    const uint8_t* end;
    const uint8_t* limit;
  };
  std::vector<Chunk> chunks;
  for (const Document& document : documents) {
    const uint8_t* const end = document.data + document.length;
    for (const uint8_t* begin = document.data; begin < end;) {
      const bool last = static_cast<size_t>(end - begin) <= chunkBytes;
      const uint8_t* cut = last ? end : safeCut(begin + chunkBytes, end);
      chunks.push_back({begin, cut, end});
      begin = cut;
    }
  }
  lanes_.resize(std::max(lanes_.size(), static_cast<size_t>(std::max(threads, 1))));
  parallelFor(chunks.size(), threads, [&](size_t task, int lane) {
    if (control.cancelled()) throw Cancelled();
    const Chunk& chunk = chunks[task];
    PieceCounts& counts = lanes_[static_cast<size_t>(lane)];
    pretokenize(pattern_, chunk.begin, chunk.end, [&](const uint8_t* piece, const uint8_t* end) { counts.add(piece, static_cast<size_t>(end - piece), chunk.limit); });
  });
}

const PieceCounts& PieceCounter::total() {
  for (; lanes_.size() > 1; lanes_.pop_back()) {
    const PieceCounts& from = lanes_.back();
    for (const PieceCounts::Entry& entry : from.entries()) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(from.piece(entry).data());
      lanes_[0].add(bytes, entry.length, bytes + entry.length, entry.count);
    }
  }
  return lanes_[0];
}

}  // namespace hornbook::tokenizer
