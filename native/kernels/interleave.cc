// The interleaved layout of quantised weights and back; src/tensor/reference/interleave.ts says what it is.
#include "blocks.h"

namespace inkling::blocks {
namespace {

// Bit 4 i + j to bit 8 j + i, and back.
uint32_t fifthsToColumns(uint32_t word) {
  uint32_t r = 0;
  for (int e = 0; e < 32; e++) r |= (word >> e & 1) << (8 * (e & 3) + (e >> 2));
  return r;
}
uint32_t fifthsToRow(uint32_t word) {
  uint32_t r = 0;
  for (int e = 0; e < 32; e++) r |= (word >> (8 * (e & 3) + (e >> 2)) & 1) << e;
  return r;
}

// Calls move(offset in a row, offset in the panel, unit, fifths) for every unit of the panel's first row.
template <class Format, class Move>
void forUnits(int64_t rowBytes, Move move) {
  for (int64_t block = 0; block < rowBytes; block += Format::bytes) {
    int64_t at = block;
    for (const Field& field : Format::fields)
      for (int u = 0; u < field.count; u++, at += field.unit) move(at, at * panelRows, field.unit, field.fifths);
  }
}

}  // namespace

void interleavePanel(BlockFormat format, const uint8_t* from, int64_t rowBytes, int64_t rows, uint8_t* panel) {
  withFormat(format, [&](auto f) {
    forUnits<decltype(f)>(rowBytes, [&](int64_t at, int64_t to, int unit, bool fifths) {
      for (int64_t r = 0; r < panelRows; r++) {
        uint32_t word = 0;
        if (r < rows) std::memcpy(&word, from + r * rowBytes + at, static_cast<size_t>(unit));
        if (fifths) word = fifthsToColumns(word);
        std::memcpy(panel + to + r * unit, &word, static_cast<size_t>(unit));
      }
    });
  });
}

void separatePanel(BlockFormat format, const uint8_t* panel, int64_t rowBytes, uint8_t* to) {
  withFormat(format, [&](auto f) {
    forUnits<decltype(f)>(rowBytes, [&](int64_t at, int64_t from, int unit, bool fifths) {
      for (int64_t r = 0; r < panelRows; r++) {
        uint32_t word = 0;
        std::memcpy(&word, panel + from + r * unit, static_cast<size_t>(unit));
        if (fifths) word = fifthsToRow(word);
        std::memcpy(to + r * rowBytes + at, &word, static_cast<size_t>(unit));
      }
    });
  });
}

}  // namespace inkling::blocks

void inkling::kernels::interleave(const InterleaveParams& p, Context& context) {
  using namespace inkling::blocks;
  const int64_t rowBytes = p.w.shape[1], panelBytes = panelRows * rowBytes;
  if (isPlain(p.format) || rowBytes == 0) return;
  uint8_t* const copies = context.scratch<uint8_t>(context.lanes() * panelBytes);
  context.parallel(p.w.shape[0] / panelRows, [&](int64_t task, int lane) {
    uint8_t* const panel = p.w.as<uint8_t>() + task * panelBytes;
    uint8_t* const copy = copies + lane * panelBytes;
    std::memcpy(copy, panel, static_cast<size_t>(panelBytes));
    if (p.inverse != 0) {
      separatePanel(p.format, copy, rowBytes, panel);
    } else {
      interleavePanel(p.format, copy, rowBytes, panelRows, panel);
    }
  });
}
