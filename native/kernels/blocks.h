// The block formats of quantised weights as vectors see them: panels of 16 rows in the interleaved layout (src/tensor/reference/interleave.ts), unpacked a
// run of 32 numbers of W rows at a time to small whole numbers (codes), scales and minimums: x = scale * (code - offset) + min. What the bits mean
// is said in src/tensor/reference/blocks.ts.
//
// A format is a struct with
//   size, bytes       numbers and bytes of a block
//   fields            the units of which a block is made, in order (see Field)
//   offset            taken from every code, which is then at most largestCode
//   groups            scales in a run of 32: 1 or 2
//   hasMin            whether there are minimums
//   unpack<...>       the run `part` of a panel's block, for the rows from `first` on.
#pragma once

#include <type_traits>
#include <utility>

#include "../generated/contract.h"
#include "simd.h"

namespace hornbook::blocks {

using simd::HalfLanes;
using simd::IntLanes;
using simd::Ints;
using simd::Vec;
using simd::W;
using simd::WordLanes;

constexpr int panelRows = 16;
constexpr int run = 32;

struct Field {
  int unit;  // bytes
  int count;
  bool fifths = false;  // a word of fifth bits: bit 4 i + j stands at 8 j + i
};

// Word i holds codes 4 i to 4 i + 3 of each row.
struct Run {
  WordLanes codes[8];
  Vec scale[2];
  Vec min[2];
};

// ---- reading a panel: `at` counts bytes of the block before interleaving ---------------------------------------------------------------

HORNBOOK_INLINE WordLanes words(const uint8_t* block, int at, int first) {
  WordLanes r;
  std::memcpy(&r, block + at * panelRows + first * 4, sizeof r);
  return r;
}
HORNBOOK_INLINE HalfLanes halfLanes(const uint8_t* block, int at, int first) {
  HalfLanes r;
  std::memcpy(&r, block + at * panelRows + first * 2, sizeof r);
  return r;
}
HORNBOOK_INLINE Vec halves(const uint8_t* block, int at, int first) { return simd::widenF16(halfLanes(block, at, first)); }
HORNBOOK_INLINE Ints byteLanes(const uint8_t* block, int at, int first) {
  typedef uint8_t Bytes __attribute__((vector_size(W)));
  Bytes r;
  std::memcpy(&r, block + at * panelRows + first, sizeof r);
#if defined(HORNBOOK_AVX512)
  return {(IntLanes)_mm512_cvtepu8_epi32((__m128i)r)};
#else
  return {__builtin_convertvector(r, IntLanes)};
#endif
}

constexpr uint32_t nibbles = 0x0f0f0f0f;
constexpr uint32_t fifthBits = 0x10101010;

// Four words of bytes that hold code j in their lower four bits and j + 16 in their upper.
HORNBOOK_INLINE void unpackNibbles(const uint8_t* block, int at, int first, WordLanes (&codes)[8]) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const WordLanes both = words(block, at + 4 * i, first);
    codes[i] = both & nibbles;
    codes[4 + i] = both >> 4 & nibbles;
  }
}
HORNBOOK_INLINE void addFifths(const uint8_t* block, int at, int first, WordLanes (&codes)[8]) {
  const WordLanes bits = words(block, at, first);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) codes[i] |= (i < 4 ? bits << (4 - i) : bits >> (i - 4)) & fifthBits;
}

// Each byte of codes (below 16) becomes that entry of the table.
HORNBOOK_INLINE WordLanes lookUp(const uint8_t (&table)[16], WordLanes codes) {
#if defined(HORNBOOK_AVX512)
  const __m512i entries = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  return (WordLanes)_mm512_shuffle_epi8(entries, (__m512i)codes);
#elif defined(HORNBOOK_AVX2)
  const __m256i entries = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  return (WordLanes)_mm256_shuffle_epi8(entries, (__m256i)codes);
#elif defined(HORNBOOK_NEON)
  return (WordLanes)vqtbl1q_u8(vld1q_u8(table), (uint8x16_t)codes);
#else
  uint8_t bytes[4 * W];
  std::memcpy(bytes, &codes, sizeof bytes);
  for (uint8_t& b : bytes) b = table[b];
  std::memcpy(&codes, bytes, sizeof bytes);
  return codes;
#endif
}

// ---- blocks of 32 ----------------------------------------------------------------------------------------------------------------------

template <bool hasFifths, bool affine>
struct Nibbles32 {
  static constexpr int size = 32, scaleBytes = affine ? 4 : 2, codesAt = scaleBytes + (hasFifths ? 4 : 0), bytes = codesAt + 16;
  static constexpr int largestCode = hasFifths ? 31 : 15, offset = affine ? 0 : (largestCode + 1) / 2, groups = 1;
  static constexpr bool hasMin = affine;
  static constexpr Field fields[] = {{2, scaleBytes / 2}, {4, hasFifths ? 1 : 0, true}, {4, 4}};

  static HORNBOOK_INLINE void unpack(const uint8_t* block, int, int first, Run& r) {
    r.scale[0] = halves(block, 0, first);
    if constexpr (affine) r.min[0] = halves(block, 2, first);
    unpackNibbles(block, codesAt, first, r.codes);
    if constexpr (hasFifths) addFifths(block, scaleBytes, first, r.codes);
  }
};
using Q4_0 = Nibbles32<false, false>;
using Q4_1 = Nibbles32<false, true>;
using Q5_0 = Nibbles32<true, false>;
using Q5_1 = Nibbles32<true, true>;

struct Q8_0 {
  static constexpr int size = 32, bytes = 34, largestCode = 255, offset = 128, groups = 1;
  static constexpr bool hasMin = false;
  static constexpr Field fields[] = {{2, 1}, {4, 8}};

  static HORNBOOK_INLINE void unpack(const uint8_t* block, int, int first, Run& r) {
    r.scale[0] = halves(block, 0, first);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) r.codes[i] = words(block, 2 + 4 * i, first) ^ 0x80808080u;
  }
};

// Q8_0 in two planes. A code, 8 u + l, is taken apart: the scales and u are a block of Q5_0, and the three bits of l lie elsewhere, in three words of which
// each byte has those of two codes and two bits of a third.
struct SplitQ8_0 {
  static constexpr int size = 32, bytes = 34, largestCode = 255, offset = 128, groups = 1;
  static constexpr bool hasMin = false;
  static constexpr int upperBytes = Q5_0::bytes, lowerBytes = bytes - upperBytes;

  // As Q5_0::unpack, with the upper bits moved to their places at once: what stands beside them is replaced.
  static HORNBOOK_INLINE void unpack(const uint8_t* upper, const uint8_t* lower, int first, Run& r) {
    r.scale[0] = halves(upper, 0, first);
    const WordLanes fifths = words(upper, 2, first);
    const WordLanes a = words(lower, 0, first), b = words(lower, 4, first), c = words(lower, 8, first);
    const WordLanes lows[8] = {a, a >> 3, b, b >> 3, c, c >> 3, replaced(a >> 6, c >> 4, 0x04040404), replaced(b >> 6, c >> 5, 0x04040404)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const WordLanes both = words(upper, 6 + 4 * i, first);
      r.codes[i] = replaced(replaced(both << 3, fifths << (7 - i), 0x80808080), lows[i], 0x07070707);
      r.codes[4 + i] = replaced(replaced(both >> 1, fifths << (3 - i), 0x80808080), lows[4 + i], 0x07070707);
    }
  }
  // a, with those bits of b.
  static HORNBOOK_INLINE WordLanes replaced(WordLanes a, WordLanes b, uint32_t bits) {
#if defined(HORNBOOK_AVX512)
    return (WordLanes)_mm512_ternarylogic_epi32(_mm512_set1_epi32(static_cast<int>(bits)), (__m512i)b, (__m512i)a, 0xca);
#else
    return (a & ~bits) | (b & bits);
#endif
  }
};

// Values between -127 and 113, with 127 added.
constexpr uint8_t nonLinear4[16] = {0, 23, 44, 62, 78, 92, 105, 117, 128, 140, 152, 165, 180, 196, 216, 240};
// Twice the numbers of E2M1, with 12 added.
constexpr uint8_t floats4[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

struct Iq4Nl {
  static constexpr int size = 32, bytes = 18, largestCode = 240, offset = 127, groups = 1;
  static constexpr bool hasMin = false;
  static constexpr Field fields[] = {{2, 1}, {4, 4}};

  static HORNBOOK_INLINE void unpack(const uint8_t* block, int, int first, Run& r) {
    r.scale[0] = halves(block, 0, first);
    unpackNibbles(block, 2, first, r.codes);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) r.codes[i] = lookUp(nonLinear4, r.codes[i]);
  }
};

struct Mxfp4 {
  static constexpr int size = 32, bytes = 17, largestCode = 24, offset = 12, groups = 1;
  static constexpr bool hasMin = false;
  static constexpr Field fields[] = {{1, 1}, {4, 4}};

  static HORNBOOK_INLINE void unpack(const uint8_t* block, int, int first, Run& r) {
    // 2^(e - 128), of which the two smallest are denormal.
    const Ints e = byteLanes(block, 0, first);
    const Vec small = simd::toFloat(e + simd::set1(1)) * simd::set1(0x1p-128f);
    r.scale[0] = simd::select(simd::toFloat(e) < simd::set1(2.0f), small, simd::fromBits((e - simd::set1(1)) << 23));
    unpackNibbles(block, 1, first, r.codes);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) r.codes[i] = lookUp(floats4, r.codes[i]);
  }
};

// ---- blocks of 256 ---------------------------------------------------------------------------------------------------------------------

// Scales and mins of six bits (Q4_K, Q5_K): the last four groups have their upper two bits in those of the first eight bytes.
HORNBOOK_INLINE void sixBits(const uint8_t* block, int at, int group, int first, Vec& scale, Vec& min) {
  const auto byte = [&](int i) __attribute__((always_inline)) { return byteLanes(block, at + i, first); };
  Ints s, m;
  if (group < 4) {
    s = byte(group) & simd::set1(63);
    m = byte(group + 4) & simd::set1(63);
  } else {
    const Ints both = byte(group + 4);
    s = (both & simd::set1(15)) | ((byte(group - 4) & simd::set1(0xc0)) >> 2);
    m = (both >> 4) | ((byte(group) & simd::set1(0xc0)) >> 2);
  }
  scale = halves(block, 0, first) * simd::toFloat(s);
  min = -(halves(block, 2, first) * simd::toFloat(m));
}

template <bool hasFifths>
struct Affine256 {
  static constexpr int size = 256, fifthsAt = 16, codesAt = hasFifths ? 48 : 16, bytes = codesAt + 128;
  static constexpr int largestCode = hasFifths ? 31 : 15, offset = 0, groups = 1;
  static constexpr bool hasMin = true;
  static constexpr Field fields[] = {{2, 2}, {1, 12}, {4, hasFifths ? 40 : 32}};

  static HORNBOOK_INLINE void unpack(const uint8_t* block, int part, int first, Run& r) {
    sixBits(block, 4, part, first, r.scale[0], r.min[0]);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      const WordLanes both = words(block, codesAt + 32 * (part >> 1) + 4 * i, first);
      r.codes[i] = (part & 1 ? both >> 4 : both) & nibbles;
      if constexpr (hasFifths) r.codes[i] |= (words(block, fifthsAt + 4 * i, first) >> part & 0x01010101u) << 4;
    }
  }
};
using Q4_K = Affine256<false>;
using Q5_K = Affine256<true>;

struct Q6_K {
  static constexpr int size = 256, bytes = 210, largestCode = 63, offset = 32, groups = 2;
  static constexpr bool hasMin = false;
  static constexpr Field fields[] = {{4, 48}, {1, 16}, {2, 1}};

  static HORNBOOK_INLINE void unpack(const uint8_t* block, int part, int first, Run& r) {
    const int half = part >> 2, quarter = part & 3;
    const Vec unit = halves(block, 208, first);
#pragma GCC unroll 2
    for (int g = 0; g < 2; g++) r.scale[g] = unit * simd::toFloat(byteLanes(block, 192 + 2 * part + g, first) << 24 >> 24);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      const WordLanes lower = words(block, 64 * half + 32 * (quarter & 1) + 4 * i, first);
      const WordLanes upper = words(block, 128 + 32 * half + 4 * i, first) >> (2 * quarter) & 0x03030303u;
      r.codes[i] = ((quarter & 2 ? lower >> 4 : lower) & nibbles) | upper << 4;
    }
  }
};

struct Q2_K {
  static constexpr int size = 256, bytes = 84, largestCode = 3, offset = 0, groups = 2;
  static constexpr bool hasMin = true;
  static constexpr Field fields[] = {{1, 16}, {4, 16}, {2, 2}};

  static HORNBOOK_INLINE void unpack(const uint8_t* block, int part, int first, Run& r) {
#pragma GCC unroll 2
    for (int g = 0; g < 2; g++) {
      const Ints both = byteLanes(block, 2 * part + g, first);
      r.scale[g] = halves(block, 80, first) * simd::toFloat(both & simd::set1(15));
      r.min[g] = -(halves(block, 82, first) * simd::toFloat(both >> 4));
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) r.codes[i] = words(block, 16 + 32 * (part >> 2) + 4 * i, first) >> (2 * (part & 3)) & 0x03030303u;
  }
};

struct Q3_K {
  static constexpr int size = 256, bytes = 110, largestCode = 7, offset = 4, groups = 2;
  static constexpr bool hasMin = false;
  static constexpr Field fields[] = {{4, 24}, {1, 12}, {2, 1}};

  static HORNBOOK_INLINE void unpack(const uint8_t* block, int part, int first, Run& r) {
#pragma GCC unroll 2
    for (int g = 0; g < 2; g++) {
      const int i = 2 * part + g;
      const Ints low = byteLanes(block, 96 + (i & 7), first), high = byteLanes(block, 104 + (i & 3), first);
      const Ints scale = ((i < 8 ? low : low >> 4) & simd::set1(15)) | ((high >> (2 * (i >> 2)) & simd::set1(3)) << 4);
      r.scale[g] = halves(block, 108, first) * simd::toFloat(scale - simd::set1(32));
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      const WordLanes lower = words(block, 32 + 32 * (part >> 2) + 4 * i, first) >> (2 * (part & 3)) & 0x03030303u;
      r.codes[i] = lower | (words(block, 4 * i, first) >> part & 0x01010101u) << 2;
    }
  }
};

struct Iq4Xs {
  static constexpr int size = 256, bytes = 136, largestCode = 240, offset = 127, groups = 1;
  static constexpr bool hasMin = false;
  static constexpr Field fields[] = {{2, 2}, {1, 4}, {4, 32}};

  static HORNBOOK_INLINE void unpack(const uint8_t* block, int part, int first, Run& r) {
    const Ints low = byteLanes(block, 4 + (part >> 1), first) >> (4 * (part & 1)) & simd::set1(15);
    const Ints high = {(IntLanes)(__builtin_convertvector(halfLanes(block, 2, first), WordLanes) >> (2 * part) & 3u)};
    r.scale[0] = halves(block, 0, first) * simd::toFloat((low | high << 4) - simd::set1(32));
    unpackNibbles(block, 8 + 16 * part, first, r.codes);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) r.codes[i] = lookUp(nonLinear4, r.codes[i]);
  }
};

// ---- choosing --------------------------------------------------------------------------------------------------------------------------

// Calls body with an object of the format's struct; not for f16 and bf16, which have blocks of one.
template <class Body>
void withFormat(BlockFormat format, Body body) {
  switch (format) {
    case BlockFormat::q4_0: return body(Q4_0{});
    case BlockFormat::q4_1: return body(Q4_1{});
    case BlockFormat::q5_0: return body(Q5_0{});
    case BlockFormat::q5_1: return body(Q5_1{});
    case BlockFormat::q8_0: return body(Q8_0{});
    case BlockFormat::q2_k: return body(Q2_K{});
    case BlockFormat::q3_k: return body(Q3_K{});
    case BlockFormat::q4_k: return body(Q4_K{});
    case BlockFormat::q5_k: return body(Q5_K{});
    case BlockFormat::q6_k: return body(Q6_K{});
    case BlockFormat::iq4_nl: return body(Iq4Nl{});
    case BlockFormat::iq4_xs: return body(Iq4Xs{});
    case BlockFormat::mxfp4: return body(Mxfp4{});
    case BlockFormat::f16:
    case BlockFormat::bf16: return;
  }
}
// The same for how the rows lie: in the split layout, which only q8_0 has, it is another struct.
template <class Body>
void withFormat(BlockFormat format, BlockLayout layout, Body body) {
  if (layout == BlockLayout::split) return body(SplitQ8_0{});
  withFormat(format, body);
}
constexpr bool isPlain(BlockFormat format) { return format == BlockFormat::f16 || format == BlockFormat::bf16; }

// ---- panels ----------------------------------------------------------------------------------------------------------------------------

// The panels whose planes lie together in the split layout.
constexpr int64_t groupPanels = 64;

// Where a panel lies: its blocks, or the planes of its upper and its lower bits.
struct Panel {
  const uint8_t* blocks;
  const uint8_t* lower = nullptr;
};

// The run `part` of a block of the panel, for the rows from `first` on.
template <class Format>
HORNBOOK_INLINE void unpackRun(const Panel& panel, int64_t block, int part, int first, Run& r) {
  if constexpr (std::is_same_v<Format, SplitQ8_0>) {
    Format::unpack(panel.blocks + block * Format::upperBytes * panelRows, panel.lower + block * Format::lowerBytes * panelRows, first, r);
  } else {
    Format::unpack(panel.blocks + block * Format::bytes * panelRows, part, first, r);
  }
}

// Copies a panel from rows of blocks (`rows` of the 16; what is missing counts as zeros) into the interleaved layout, or back.
void interleavePanel(BlockFormat format, const uint8_t* from, int64_t rowBytes, int64_t rows, uint8_t* panel);
void separatePanel(BlockFormat format, const uint8_t* panel, int64_t rowBytes, uint8_t* to);
// The same into the two planes of q8_0, and back.
void splitPanel(const uint8_t* from, int64_t rowBytes, int64_t rows, uint8_t* upper, uint8_t* lower);
void joinPanel(const uint8_t* upper, const uint8_t* lower, int64_t rowBytes, uint8_t* to);

// Plain rows (at most 16) as a panel in `scratch` (16 rowBytes).
template <class Format>
inline Panel gatherPanel(BlockFormat format, const uint8_t* from, int64_t rowBytes, int64_t rows, uint8_t* scratch) {
  if constexpr (std::is_same_v<Format, SplitQ8_0>) {
    uint8_t* const lower = scratch + rowBytes / Format::bytes * Format::upperBytes * panelRows;
    splitPanel(from, rowBytes, rows, scratch, lower);
    return {scratch, lower};
  } else {
    interleavePanel(format, from, rowBytes, rows, scratch);
    return {scratch};
  }
}

// The panel that begins at row `row` (a multiple of 16): where it lies, or, where its rows are plain, a copy in `scratch`.
template <class Format>
inline Panel panelAt(BlockFormat format, const TensorView& w, BlockLayout layout, int64_t row, uint8_t* scratch) {
  const int64_t rowBytes = w.shape[1], left = w.shape[0] - row;
  const uint8_t* rows = w.as<uint8_t>() + row * rowBytes;
  if (layout == BlockLayout::rows || left < panelRows) return gatherPanel<Format>(format, rows, rowBytes, left < panelRows ? left : panelRows, scratch);
  if constexpr (std::is_same_v<Format, SplitQ8_0>) {
    const int64_t inGroup = row / panelRows % groupPanels, after = inGroup + left / panelRows, panels = after < groupPanels ? after : groupPanels;
    const int64_t upperBytes = rowBytes / Format::bytes * Format::upperBytes * panelRows, lowerBytes = panelRows * rowBytes - upperBytes;
    const uint8_t* const group = rows - inGroup * panelRows * rowBytes;
    return {group + inGroup * upperBytes, group + panels * upperBytes + inGroup * lowerBytes};
  }
  return {rows};
}

}  // namespace hornbook::blocks
