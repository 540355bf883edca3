// Vectors of packed words: how they are read from memory, multiplied and transposed, for each kind of word.
#pragma once

#include <utility>

#include "matmul.h"

namespace hornbook::gemm {

using simd::FloatLanes;
using simd::HalfLanes;
using simd::WordLanes;

// Word s of a line, 0 where k has ended.
template <Words words>
HORNBOOK_INLINE uint32_t wordAt(const Element<words>* p, int64_t kStride, int64_t left) {
  if (left <= 0) return 0;
  if constexpr (words == Words::floats) {
    uint32_t r;
    std::memcpy(&r, p, sizeof r);
    return r;
  } else if constexpr (words == Words::widened) {
    return static_cast<uint32_t>(p->bits) << 16;
  } else {
    const uint32_t second = left > 1 ? p[kStride].bits : 0;
    return p->bits | second << 16;
  }
}

// W words that follow each other along a line whose k is contiguous.
template <Words words>
HORNBOOK_INLINE WordLanes wordsAlong(const Element<words>* p) {
  WordLanes r;
  if constexpr (words == Words::widened) {
    r = (WordLanes)simd::load<bf16>(p).v;
  } else {
    std::memcpy(&r, p, sizeof r);
  }
  return r;
}
// The same where only `left` < W * perWord elements are left.
template <Words words>
HORNBOOK_INLINE WordLanes wordsAlong(const Element<words>* p, int64_t left) {
#if defined(HORNBOOK_AVX512)
  if constexpr (words == Words::pairs) return (WordLanes)_mm512_maskz_loadu_epi16((1u << left) - 1, p);
#endif
  if constexpr (words == Words::pairs) {
    WordLanes r = {};
    std::memcpy(&r, p, static_cast<size_t>(left) * 2);
    return r;
  } else {
    return (WordLanes)simd::loadPartial<Element<words>>(p, static_cast<int>(left)).v;
  }
}

// The words at one step of W neighbouring lines (or as many as `lanes` says), where lines are contiguous.
template <Words words, class Lanes>
HORNBOOK_INLINE WordLanes wordsAcross(const Element<words>* p, int64_t kStride, int64_t left, Lanes lanes) {
  const WordLanes first = (WordLanes)simd::load<Element<words>>(p, lanes).v;
  if constexpr (words != Words::pairs) {
    (void)kStride, (void)left;
    return first;
  } else {
    // A widened bf16 already stands in the upper half of its word, where the second of a pair belongs.
    return left > 1 ? first >> 16 | (WordLanes)simd::load<bf16>(p + kStride, lanes).v : first >> 16;
  }
}

// acc + a b, lane by lane; a pair of products counts as one.
template <Words words>
HORNBOOK_INLINE Vec multiplyAdd(WordLanes a, WordLanes b, Vec acc) {
  if constexpr (words != Words::pairs) {
    return simd::fma({(FloatLanes)a}, {(FloatLanes)b}, acc);
  } else {
#if defined(HORNBOOK_BF16_PAIRS)
    return simd::multiplyAddPairs(a, b, acc);
#else
    const Vec low = simd::fma({(FloatLanes)(a << 16)}, {(FloatLanes)(b << 16)}, acc);
    return simd::fma({(FloatLanes)(a & 0xffff0000u)}, {(FloatLanes)(b & 0xffff0000u)}, low);
#endif
  }
}

template <int... i>
HORNBOOK_INLINE WordLanes interleave(WordLanes a, WordLanes b, std::integer_sequence<int, i...>, int half) {
#if defined(__clang__) || __GNUC__ >= 12
  return half == 0 ? __builtin_shufflevector(a, b, (i / 2 + (i % 2) * W)...) : __builtin_shufflevector(a, b, (W / 2 + i / 2 + (i % 2) * W)...);
#else
  return half == 0 ? __builtin_shuffle(a, b, WordLanes{(i / 2 + (i % 2) * W)...}) : __builtin_shuffle(a, b, WordLanes{(W / 2 + i / 2 + (i % 2) * W)...});
#endif
}

// Transposes W x W words. Read the row and column of a word as one number in binary: interleaving row i with row i + W/2 rotates that number
// by one bit, so that after log2 W rounds row and column have changed places.
HORNBOOK_INLINE void transpose(WordLanes (&m)[W]) {
  constexpr auto lanes = std::make_integer_sequence<int, W>();
#pragma GCC unroll 4
  for (int round = 1; round < W; round *= 2) {
    WordLanes t[W];
#pragma GCC unroll 8
    for (int i = 0; i < W / 2; i++) {
      t[2 * i] = interleave(m[i], m[i + W / 2], lanes, 0);
      t[2 * i + 1] = interleave(m[i], m[i + W / 2], lanes, 1);
    }
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) m[i] = t[i];
  }
}

HORNBOOK_INLINE void storeWords(uint32_t* p, WordLanes v) { std::memcpy(p, &v, sizeof v); }
HORNBOOK_INLINE WordLanes loadWords(const uint32_t* p) {
  WordLanes r;
  std::memcpy(&r, p, sizeof r);
  return r;
}

}  // namespace hornbook::gemm
