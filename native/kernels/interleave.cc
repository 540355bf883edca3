// The interleaved layout of quantised weights and back; src/tensor/reference/interleave.ts says what it is.
#include "blocks.h"

namespace hornbook::blocks {
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

// Calls move(offset in a row, offset in the panel, unit, count, fifths) for all units of the first `length` bytes of the panel's first row, four words at a
// time where it can.
template <class Format, class Move>
void forUnits(int64_t length, Move move) {
  for (int64_t block = 0; block < length; block += Format::bytes) {
    int64_t at = block;
    for (const Field& field : Format::fields) {
      const int count = field.unit == 4 && field.count % 4 == 0 && !field.fifths ? 4 : 1;
      for (int u = 0; u < field.count; u += count, at += count * field.unit) move(at, at * panelRows, field.unit, count, field.fifths);
    }
  }
}

// Copies 16 units of a size known when compiled, which is what makes it fast; `get` and `put` give the place of row r's.
template <int unit, class Get, class Put>
void moveUnits(Get get, Put put) {
  for (int64_t r = 0; r < panelRows; r++) std::memcpy(put(r), get(r), unit);
}

// Four words of each of four rows, or four rows of each of four words: the one becomes the other. `get` and `put` give the place of the i-th four.
template <class Get, class Put>
void transposeWords(Get get, Put put) {
  typedef uint32_t Words __attribute__((vector_size(16)));
  Words q[4];
  for (int i = 0; i < 4; i++) std::memcpy(&q[i], get(i), sizeof q[i]);
  const Words a = __builtin_shufflevector(q[0], q[1], 0, 4, 1, 5), b = __builtin_shufflevector(q[2], q[3], 0, 4, 1, 5);
  const Words c = __builtin_shufflevector(q[0], q[1], 2, 6, 3, 7), d = __builtin_shufflevector(q[2], q[3], 2, 6, 3, 7);
  q[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  q[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  q[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  q[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
  for (int i = 0; i < 4; i++) std::memcpy(put(i), &q[i], sizeof q[i]);
}

// True when it did it.
template <class Get, class Put>
bool moveWhole(int unit, Get get, Put put) {
  if (unit == 4) return moveUnits<4>(get, put), true;
  if (unit == 2) return moveUnits<2>(get, put), true;
  if (unit == 1) return moveUnits<1>(get, put), true;
  return false;
}

// The first `length` bytes of 16 rows.
template <class Format>
void interleaveRows(const uint8_t* from, int64_t rowBytes, int64_t rows, int64_t length, uint8_t* panel) {
  forUnits<Format>(length, [&](int64_t at, int64_t to, int unit, int count, bool fifths) {
    if (rows == panelRows && count == 4) {
      for (int64_t r = 0; r < panelRows; r += 4)
        transposeWords([&](int64_t i) { return from + (r + i) * rowBytes + at; }, [&](int64_t i) { return panel + to + i * 4 * panelRows + r * 4; });
      return;
    }
    if (rows == panelRows && !fifths && moveWhole(unit, [&](int64_t r) { return from + r * rowBytes + at; }, [&](int64_t r) { return panel + to + r * unit; })) return;
    for (int u = 0; u < count; u++, at += unit, to += unit * panelRows) {
      for (int64_t r = 0; r < panelRows; r++) {
        uint32_t word = 0;
        if (r < rows) std::memcpy(&word, from + r * rowBytes + at, static_cast<size_t>(unit));
        if (fifths) word = fifthsToColumns(word);
        std::memcpy(panel + to + r * unit, &word, static_cast<size_t>(unit));
      }
    }
  });
}

template <class Format>
void separateRows(const uint8_t* panel, int64_t rowBytes, int64_t length, uint8_t* to) {
  forUnits<Format>(length, [&](int64_t at, int64_t from, int unit, int count, bool fifths) {
    if (count == 4) {
      for (int64_t r = 0; r < panelRows; r += 4)
        transposeWords([&](int64_t i) { return panel + from + i * 4 * panelRows + r * 4; }, [&](int64_t i) { return to + (r + i) * rowBytes + at; });
      return;
    }
    if (!fifths && moveWhole(unit, [&](int64_t r) { return panel + from + r * unit; }, [&](int64_t r) { return to + r * rowBytes + at; })) return;
    for (int64_t r = 0; r < panelRows; r++) {
      uint32_t word = 0;
      std::memcpy(&word, panel + from + r * unit, static_cast<size_t>(unit));
      if (fifths) word = fifthsToRow(word);
      std::memcpy(to + r * rowBytes + at, &word, static_cast<size_t>(unit));
    }
  });
}

void storeWords(uint8_t* block, int at, int first, WordLanes words) { std::memcpy(block + at * panelRows + first * 4, &words, sizeof words); }

// An interleaved block of q8_0 to its two planes.
void splitBlock(const uint8_t* block, uint8_t* upper, uint8_t* lower) {
  std::memcpy(upper, block, 2 * panelRows);
  for (int first = 0; first < panelRows; first += W) {
    Run r;
    Q8_0::unpack(block, 0, first, r);
    WordLanes fifths = {}, low[8];
    for (int i = 0; i < 8; i++) {
      low[i] = r.codes[i] & 0x07070707u;
      fifths |= (r.codes[i] >> 7 & 0x01010101u) << i;
    }
    storeWords(upper, 2, first, fifths);
    for (int i = 0; i < 4; i++) storeWords(upper, 6 + 4 * i, first, (r.codes[i] >> 3 & nibbles) | (r.codes[4 + i] >> 3 & nibbles) << 4);
    storeWords(lower, 0, first, low[0] | low[1] << 3 | (low[6] & 0x03030303u) << 6);
    storeWords(lower, 4, first, low[2] | low[3] << 3 | (low[7] & 0x03030303u) << 6);
    storeWords(lower, 8, first, low[4] | low[5] << 3 | (low[6] & 0x04040404u) << 4 | (low[7] & 0x04040404u) << 5);
  }
}
void joinBlock(const uint8_t* upper, const uint8_t* lower, uint8_t* block) {
  std::memcpy(block, upper, 2 * panelRows);
  for (int first = 0; first < panelRows; first += W) {
    Run r;
    SplitQ8_0::unpack(upper, lower, first, r);
    for (int i = 0; i < 8; i++) storeWords(block, 2 + 4 * i, first, r.codes[i] ^ 0x80808080u);
  }
}

// Calls move(place in a row, in the upper and in the lower plane) for each block of a panel.
template <class Move>
void forSplitBlocks(int64_t rowBytes, Move move) {
  for (int64_t block = 0; block < rowBytes / Q8_0::bytes; block++)
    move(block * Q8_0::bytes, block * SplitQ8_0::upperBytes * panelRows, block * SplitQ8_0::lowerBytes * panelRows);
}

}  // namespace

void interleavePanel(BlockFormat format, const uint8_t* from, int64_t rowBytes, int64_t rows, uint8_t* panel) {
  withFormat(format, [&](auto f) { interleaveRows<decltype(f)>(from, rowBytes, rows, rowBytes, panel); });
}
void separatePanel(BlockFormat format, const uint8_t* panel, int64_t rowBytes, uint8_t* to) {
  withFormat(format, [&](auto f) { separateRows<decltype(f)>(panel, rowBytes, rowBytes, to); });
}
void splitPanel(const uint8_t* from, int64_t rowBytes, int64_t rows, uint8_t* upper, uint8_t* lower) {
  alignas(64) uint8_t block[Q8_0::bytes * panelRows];
  forSplitBlocks(rowBytes, [&](int64_t at, int64_t inUpper, int64_t inLower) {
    interleaveRows<Q8_0>(from + at, rowBytes, rows, Q8_0::bytes, block);
    splitBlock(block, upper + inUpper, lower + inLower);
  });
}
void joinPanel(const uint8_t* upper, const uint8_t* lower, int64_t rowBytes, uint8_t* to) {
  alignas(64) uint8_t block[Q8_0::bytes * panelRows];
  forSplitBlocks(rowBytes, [&](int64_t at, int64_t inUpper, int64_t inLower) {
    joinBlock(upper + inUpper, lower + inLower, block);
    separateRows<Q8_0>(block, rowBytes, Q8_0::bytes, to + at);
  });
}

}  // namespace hornbook::blocks

void hornbook::kernels::interleave(const InterleaveParams& p, Context& context) {
  using namespace hornbook::blocks;
  const int64_t rowBytes = p.w.shape[1], panelBytes = panelRows * rowBytes, panels = p.w.shape[0] / panelRows;
  if (isPlain(p.format) || p.layout == BlockLayout::rows || rowBytes == 0) return;
  const int64_t upperBytes = rowBytes / SplitQ8_0::bytes * SplitQ8_0::upperBytes * panelRows, lowerBytes = panelBytes - upperBytes;
  const int64_t perTask = p.layout == BlockLayout::split ? groupPanels : 1, laneBytes = panelBytes + perTask * lowerBytes;
  uint8_t* const memory = context.scratch<uint8_t>(context.lanes() * laneBytes);
  context.parallel((panels + perTask - 1) / perTask, [&](int64_t task, int lane) {
    const int64_t count = panels - task * perTask < perTask ? panels - task * perTask : perTask;
    uint8_t* const group = p.w.as<uint8_t>() + task * perTask * panelBytes;
    uint8_t* const copy = memory + lane * laneBytes;
    uint8_t* const lower = copy + panelBytes;
    const auto move = [](void* to, const void* from, int64_t bytes) { std::memcpy(to, from, static_cast<size_t>(bytes)); };
    if (p.layout != BlockLayout::split) {
      move(copy, group, panelBytes);
      if (p.inverse != 0) separatePanel(p.format, copy, rowBytes, group);
      else interleavePanel(p.format, copy, rowBytes, panelRows, group);
    } else if (p.inverse == 0) {
      // Upper planes take the places of panels that were read before; only the lower ones must wait.
      for (int64_t i = 0; i < count; i++) {
        move(copy, group + i * panelBytes, panelBytes);
        splitPanel(copy, rowBytes, panelRows, group + i * upperBytes, lower + i * lowerBytes);
      }
      move(group + count * upperBytes, lower, count * lowerBytes);
    } else {
      move(lower, group + count * upperBytes, count * lowerBytes);
      for (int64_t i = count - 1; i >= 0; i--) {
        move(copy, group + i * upperBytes, upperBytes);
        joinPanel(copy, lower + i * lowerBytes, rowBytes, group + i * panelBytes);
      }
    }
  });
}
