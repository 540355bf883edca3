// What a character is to a pre-tokeniser, read straight from UTF-8. Bytes that are no well-formed UTF-8 are characters of their own, of
// class `other` and one byte long, so that any bytes whatever can be tokenized and decode to themselves.
#pragma once

#include <cstdint>

namespace hornbook::tokenizer {

// \p{L}, \p{N}, \s and all the rest; no code point is in two.
enum class CharClass : uint8_t { other, letter, number, space };

struct Char {
  CharClass cls;
  uint32_t length;  // in bytes
};

// The class of a code point by two look-ups: its block of 128, then its place there. Most blocks are alike and stored once: 35 kB in all.
class CodePointClasses {
 public:
  static const CodePointClasses& instance();
  CharClass of(uint32_t codePoint) const { return blocks_[blockOf_[codePoint >> 7]][codePoint & 127]; }

 private:
  CodePointClasses();
  static constexpr int maxBlocks = 256;
  uint8_t blockOf_[0x110000 >> 7];
  CharClass blocks_[maxBlocks][128];
};

// The well-formed sequences of The Unicode Standard, table 3-7; returns the length of the one at p and its code point, or 0.
inline uint32_t decodeUtf8(const uint8_t* p, const uint8_t* end, uint32_t& codePoint) {
  const auto continues = [&](int i, uint8_t low = 0x80, uint8_t high = 0xbf) { return end - p > i && p[i] >= low && p[i] <= high; };
  const uint8_t lead = p[0];
  if (lead < 0x80) {
    codePoint = lead;
    return 1;
  }
  if (lead >= 0xc2 && lead <= 0xdf && continues(1)) {
    codePoint = (lead & 0x1fu) << 6 | (p[1] & 0x3fu);
    return 2;
  }
  if ((lead & 0xf0) == 0xe0 && continues(1, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf) && continues(2)) {
    codePoint = (lead & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    return 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4 && continues(1, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf) && continues(2) && continues(3)) {
    codePoint = (lead & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    return 4;
  }
  return 0;
}

namespace detail {
struct AsciiClasses {
  CharClass of[128];
  constexpr AsciiClasses() : of() {
    for (int c = 0; c < 128; c++) {
      of[c] = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ? CharClass::letter
              : c >= '0' && c <= '9'                           ? CharClass::number
              : c == ' ' || (c >= '\t' && c <= '\r')           ? CharClass::space
                                                               : CharClass::other;
    }
  }
};
}  // namespace detail
inline constexpr detail::AsciiClasses asciiClasses;

// The character at p, which must lie before end.
inline Char charAt(const uint8_t* p, const uint8_t* end) {
  if (*p < 0x80) return {asciiClasses.of[*p], 1};
  uint32_t codePoint;
  const uint32_t length = decodeUtf8(p, end, codePoint);
  if (length == 0) return {CharClass::other, 1};
  return {CodePointClasses::instance().of(codePoint), length};
}

}  // namespace hornbook::tokenizer
