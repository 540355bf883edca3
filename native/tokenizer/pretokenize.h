// Cuts text into the pieces that merges never cross, as the published regular expressions do, but by hand: one pass, no backtracking, no
// allocation. `src/tokenizer/pretokenize.ts` runs the expressions themselves; a property test holds the two together.
//
// GPT-2 (Radford et al. 2019, the released encoder.py):
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// cl100k (tiktoken; Llama 3 has the same, Qwen2 takes one digit at a time):
//   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// SmolLM: GPT-2's, with every digit a piece of its own before anything else is cut.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "unicode.h"

namespace hornbook::tokenizer {

// Which expression; the numbers are known to src/tokenizer/native.ts.
enum class Pattern : int32_t { gpt2 = 0, cl100k = 1, qwen2 = 2, smollm = 3 };
constexpr int patternCount = 4;

namespace detail {

// The end of the longest run of one class from p on.
inline const uint8_t* endOfRun(CharClass cls, const uint8_t* p, const uint8_t* end) {
  while (p < end) {
    if (*p < 0x80) {
      if (asciiClasses.of[*p] != cls) return p;
      p++;
    } else {
      const Char c = charAt(p, end);
      if (c.cls != cls) return p;
      p += c.length;
    }
  }
  return p;
}

// The same for letters, eight bytes at a time: where a word ends is what a processor guesses worst, and most are shorter than a load.
inline const uint8_t* endOfLetters(const uint8_t* p, const uint8_t* end) {
  constexpr uint64_t ones = 0x0101010101010101, high = 0x80 * ones;
  while (end - p >= 8) {
    uint64_t bytes;
    std::memcpy(&bytes, p, 8);
    // Per byte: the upper bit of x + (0x80 - c) says x >= c, for x below 0x80.
    const uint64_t folded = (bytes | 0x20 * ones) & ~high;
    const uint64_t letters = (folded + (0x80 - 'a') * ones) & ~(folded + (0x80 - 'z' - 1) * ones) & ~bytes & high;
    if (letters != high) {
      p += std::countr_zero(~letters & high) >> 3;
      // After a letter of another script there may be more.
      return *p < 0x80 ? p : endOfRun(CharClass::letter, p, end);
    }
    p += 8;
  }
  return endOfRun(CharClass::letter, p, end);
}

// The length of 's 't 'm 'd 're 've 'll at an apostrophe, or 0. Case folding is Unicode's, where U+017F (long s) folds to s.
template <bool foldCase>
inline size_t contraction(const uint8_t* apostrophe, const uint8_t* end) {
  const auto at = [&](int i) -> uint8_t {
    if (end - apostrophe <= i) return 0;
    const uint8_t c = apostrophe[i];
    return foldCase && c >= 'A' && c <= 'Z' ? c | 0x20 : c;
  };
  const uint8_t a = at(1);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  const uint8_t b = at(2);
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
  if (foldCase && a == 0xc5 && b == 0xbf) return 3;
  return 0;
}

// \s+(?!\S)|\s+ on a run [p, runEnd) of spaces whose last one starts at `last`: all of it at the end of the text or where it is a single
// one, else all but the last, which belongs to what follows.
inline const uint8_t* endOfSpaces(const uint8_t* p, const uint8_t* last, const uint8_t* runEnd, const uint8_t* end) {
  return runEnd < end && last > p ? last : runEnd;
}

// What 64 bytes are, one bit a byte, from the first up. Words of eight bytes rather than vectors: a few operations a byte on any processor.
struct AsciiBlock {
  static constexpr size_t bytes = 64;
  uint64_t letters = 0, numbers = 0, spaces = 0, blanks = 0, apostrophes = 0, foreign = 0;  // a blank is 0x20, foreign what is not ASCII

  explicit AsciiBlock(const uint8_t* p) {
    constexpr uint64_t ones = 0x0101010101010101, high = 0x80 * ones;
    for (size_t i = 0; i < bytes; i += 8) {
      uint64_t word;
      std::memcpy(&word, p + i, 8);
      const uint64_t low = word & ~high, folded = low | 0x20 * ones;
      // Per byte below 0x80: the upper bit of x + (0x80 - c) says x >= c, and that of (x ^ c) + 0x7f says x != c.
      const auto between = [&](uint64_t x, uint64_t first, uint64_t last) { return (x + (0x80 - first) * ones) & ~(x + (0x7f - last) * ones) & ~word & high; };
      const auto equal = [&](uint64_t c) { return ~((low ^ c * ones) + 0x7f * ones) & ~word & high; };
      const auto put = [&](uint64_t& bits, uint64_t found) { bits |= ((found >> 7) * 0x0102040810204080ull >> 56) << i; };
      const uint64_t blank = equal(' ');
      put(letters, between(folded, 'a', 'z'));
      put(numbers, between(low, '0', '9'));
      put(spaces, blank | between(low, '\t', '\r'));
      put(blanks, blank);
      put(apostrophes, equal('\''));
      put(foreign, word & high);
    }
  }
};

// The bits at which pieces begin in a block at whose first byte one does. Of the last byte before what is not ASCII, or before the end of the block,
// it depends on what follows: such bits, and all after, are 0.
template <bool digitsApart>
inline uint64_t pieceStartsGpt2(const AsciiBlock& block, const uint8_t* p, const uint8_t* end) {
  const auto& [letters, numbers, spaces, blanks, apostrophes, foreign] = block;
  const int known = std::countr_zero(foreign) - 1;
  if (known <= 0) return 0;
  const uint64_t change = (letters ^ letters << 1) | (numbers ^ numbers << 1) | (spaces ^ spaces << 1);
  // A digit apart neither joins what is beside it nor is it anything that follows.
  const uint64_t apart = digitsApart ? numbers : 0;
  // A run of spaces begins a piece, and so does its last one where something follows, which a blank then belongs to.
  uint64_t starts = (spaces & (~(spaces << 1) | ~((spaces | apart) >> 1))) | (~spaces & change & ~(blanks << 1)) | apart | 1;
  for (uint64_t rest = starts & apostrophes & ((uint64_t{1} << known) - 1); rest != 0; rest &= rest - 1) {
    const int at = std::countr_zero(rest);
    const size_t length = contraction<false>(p + at, end);
    if (length == 0) continue;
    starts &= ~(((uint64_t{1} << length) - 2) << at);
    if (at + length < 64) starts |= uint64_t{1} << (at + length);
  }
  return starts & ((uint64_t{1} << known) - 1);
}

template <bool digitsApart, class Emit>
void pretokenizeGpt2(const uint8_t* p, const uint8_t* end, Emit&& emit) {
  while (p < end) {
    if (static_cast<size_t>(end - p) >= AsciiBlock::bytes) {
      const uint8_t* begin = p;
      for (uint64_t starts = pieceStartsGpt2<digitsApart>(AsciiBlock(p), p, end) & ~uint64_t{1}; starts != 0; starts &= starts - 1) {
        const uint8_t* next = begin + std::countr_zero(starts);
        emit(p, next);
        p = next;
      }
      if (p != begin) continue;
    }
    // One piece by its characters: near the end, of other scripts, or longer than a block.
    const uint8_t* start = p;
    if (*p == '\'') {
      if (const size_t length = contraction<false>(p, end)) {
        p += length;
        emit(start, p);
        continue;
      }
    }
    const Char c = charAt(p, end);
    const uint8_t* next = p + c.length;
    if (digitsApart && c.cls == CharClass::number) {
      p = next;
    } else if (c.cls != CharClass::space) {
      p = c.cls == CharClass::letter ? endOfLetters(next, end) : endOfRun(c.cls, next, end);
    } else {
      const Char d = next < end ? charAt(next, end) : Char{CharClass::space, 0};
      if (*p == ' ' && d.cls != CharClass::space && !(digitsApart && d.cls == CharClass::number)) {
        p = d.cls == CharClass::letter ? endOfLetters(next, end) : endOfRun(d.cls, next + d.length, end);
      } else {
        const uint8_t* last = p;
        CharClass after = CharClass::space;
        while (next < end) {
          const Char s = charAt(next, end);
          after = s.cls;
          if (s.cls != CharClass::space) break;
          last = next;
          next += s.length;
        }
        p = digitsApart && after == CharClass::number ? next : endOfSpaces(start, last, next, end);
      }
    }
    emit(start, p);
  }
}

template <int maxDigits, class Emit>
void pretokenizeCl100k(const uint8_t* p, const uint8_t* end, Emit&& emit) {
  const auto isNewline = [](uint8_t byte) { return byte == '\r' || byte == '\n'; };
  // [^\s\p{L}\p{N}]+[\r\n]*
  const auto endOfOthers = [&](const uint8_t* q) {
    q = endOfRun(CharClass::other, q, end);
    while (q < end && isNewline(*q)) q++;
    return q;
  };
  while (p < end) {
    const uint8_t* start = p;
    if (*p == '\'') {
      if (const size_t length = contraction<true>(p, end)) {
        p += length;
        emit(start, p);
        continue;
      }
    }
    const Char c = charAt(p, end);
    const uint8_t* next = p + c.length;
    if (c.cls == CharClass::letter) {
      p = endOfLetters(next, end);
    } else if (c.cls == CharClass::number) {
      for (int digits = 1; digits < maxDigits && next < end; digits++) {
        const Char d = charAt(next, end);
        if (d.cls != CharClass::number) break;
        next += d.length;
      }
      p = next;
    } else {
      const Char d = next < end ? charAt(next, end) : Char{CharClass::space, 0};
      if (d.cls == CharClass::letter && !isNewline(*p)) {
        p = endOfLetters(next, end);
      } else if (c.cls == CharClass::other) {
        p = endOfOthers(next);
      } else if (*p == ' ' && d.cls == CharClass::other) {
        p = endOfOthers(next);
      } else {
        const uint8_t* last = p;
        const uint8_t* afterNewline = isNewline(*p) ? next : nullptr;
        while (next < end) {
          const Char s = charAt(next, end);
          if (s.cls != CharClass::space) break;
          last = next;
          next += s.length;
          if (isNewline(*last)) afterNewline = next;
        }
        p = afterNewline ? afterNewline : endOfSpaces(start, last, next, end);
      }
    }
    emit(start, p);
  }
}

}  // namespace detail

// Calls emit(begin, end) for every piece, in order; together they are the whole text.
template <class Emit>
void pretokenize(Pattern pattern, const uint8_t* text, const uint8_t* end, Emit&& emit) {
  switch (pattern) {
    case Pattern::gpt2: return detail::pretokenizeGpt2<false>(text, end, emit);
    case Pattern::cl100k: return detail::pretokenizeCl100k<3>(text, end, emit);
    case Pattern::qwen2: return detail::pretokenizeCl100k<1>(text, end, emit);
    case Pattern::smollm: return detail::pretokenizeGpt2<true>(text, end, emit);
  }
}

// The first place after `from` where the text may be cut so that its parts give the pieces of the whole: after a letter and before what is
// none. No pattern joins the two, nor looks across. (An apostrophe is left out for patterns that take the contraction with its word.) `end`
// where there is none.
inline const uint8_t* safeCut(const uint8_t* from, const uint8_t* end) {
  // Whatever is no continuation byte starts a character.
  while (from < end && (*from & 0xc0) == 0x80) from++;
  bool afterLetter = false;
  while (from < end) {
    const Char c = charAt(from, end);
    if (afterLetter && c.cls != CharClass::letter && *from != '\'') return from;
    afterLetter = c.cls == CharClass::letter;
    from += c.length;
  }
  return end;
}

}  // namespace hornbook::tokenizer
