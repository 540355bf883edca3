// Short byte strings as machine words: how caches and counters hash, compare and hold pieces without touching each byte.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace hornbook::tokenizer {

static_assert(std::endian::native == std::endian::little, "words of text are compared as loaded, and the masks assume little-endian");

inline uint64_t mix(uint64_t a, uint64_t b) {
  a ^= b * 0x9e3779b97f4a7c15ull;
  a ^= a >> 32;
  a *= 0xd6e8feb86659fd93ull;
  return a ^ (a >> 29);
}

// Up to 8 * Words - 1 bytes and their number in the last byte: equal if and only if the strings are; all zeros is no string.
template <int Words>
struct ShortKey {
  static constexpr size_t capacity = 8 * Words - 1;
  uint64_t words[Words];

  ShortKey() = default;
  // `limit` is the end of readable memory, which lets most keys be loaded whole and masked. Word by word, so that the key lives in registers.
  ShortKey(const uint8_t* bytes, size_t length, const uint8_t* limit) {
    uint8_t copy[8 * Words];
    if (limit - bytes < 8 * Words) {
      std::memset(copy, 0, sizeof copy);
      std::memcpy(copy, bytes, length);
      bytes = copy;
    }
    const size_t full = length / 8;
    const uint64_t rest = (uint64_t{1} << (8 * (length % 8))) - 1;
    for (size_t i = 0; i < Words; i++) {
      uint64_t word;
      std::memcpy(&word, bytes + 8 * i, 8);
      words[i] = word & (i < full ? ~uint64_t{0} : i == full ? rest : 0);
    }
    words[Words - 1] |= static_cast<uint64_t>(length) << 56;
  }

  // Good in its upper and its lower bits.
  uint64_t hash() const {
    uint64_t h = words[0];
    for (int i = 1; i < Words; i++) h = mix(h, words[i]);
    return h * 0x9e3779b97f4a7c15ull ^ h >> 32;
  }
};

inline uint64_t hashBytes(const uint8_t* bytes, size_t length) {
  uint64_t h = length;
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    std::memcpy(&word, bytes, 8);
    h = mix(h, word);
  }
  uint64_t rest = 0;
  std::memcpy(&rest, bytes, length);
  return mix(h, rest);
}

}  // namespace hornbook::tokenizer
