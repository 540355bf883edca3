// Unfolds the generated ranges into the two-stage table, once for the process.
#include "unicode.h"

#include <cstring>

#include "unicode_ranges.h"

namespace hornbook::tokenizer {

namespace {

// The class of one block's code points; `cursor` walks the ranges, which come in order, as blocks do.
template <int N>
void paint(const CodePointRange (&ranges)[N], int& cursor, uint32_t base, CharClass cls, CharClass* block) {
  while (cursor < N && ranges[cursor].last < base) cursor++;
  for (int i = cursor; i < N && ranges[i].first < base + 128; i++) {
    const uint32_t first = ranges[i].first > base ? ranges[i].first - base : 0;
    const uint32_t last = ranges[i].last < base + 127 ? ranges[i].last - base : 127;
    for (uint32_t c = first; c <= last; c++) block[c] = cls;
  }
}

}  // namespace

CodePointClasses::CodePointClasses() {
  int uniform[] = {-1, -1, -1, -1};  // the block that is all of a class
  int blocks = 0, letterCursor = 0, numberCursor = 0, spaceCursor = 0;
  for (uint32_t index = 0; index < (0x110000 >> 7); index++) {
    CharClass block[128] = {};
    paint(letters, letterCursor, index << 7, CharClass::letter, block);
    paint(numbers, numberCursor, index << 7, CharClass::number, block);
    paint(spaces, spaceCursor, index << 7, CharClass::space, block);
    // Nearly all are of one class throughout; to look for the twin of each would take milliseconds. Unicode 16.0 has 208 kinds of block (a test goes
    // through every code point).
    const bool isUniform = std::memcmp(block, block + 1, sizeof block - 1) == 0;
    int same = isUniform ? uniform[static_cast<int>(block[0])] : blocks - 1;
    while (!isUniform && same >= 0 && std::memcmp(blocks_[same], block, sizeof block) != 0) same--;
    if (same < 0 && blocks < maxBlocks) {
      same = blocks++;
      std::memcpy(blocks_[same], block, sizeof block);
      if (isUniform) uniform[static_cast<int>(block[0])] = same;
    }
    blockOf_[index] = static_cast<uint8_t>(same);
  }
}

const CodePointClasses& CodePointClasses::instance() {
  static const CodePointClasses classes;
  return classes;
}

}  // namespace hornbook::tokenizer
