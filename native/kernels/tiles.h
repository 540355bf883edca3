// The tiles of Intel's matrix unit (AMX; Intel SDM vol. 1, ch. 18): eight registers of up to 16 rows of 64 bytes. The thread that uses them must first say how
// many rows and columns each has (configure), which also zeroes them, and lets go when done (release), so that the system need not keep them. The permission
// to use the unit at all is a matter of the process, and has been asked for before.
//
// With HORNBOOK_EMULATE_AMX the same calls are done in plain C++ (native/test/emulated_tiles.h), which is how this code is tested on processors without
// the unit.
#pragma once

#include "simd.h"

#if defined(__AMX_BF16__) || defined(HORNBOOK_EMULATE_AMX)
#define HORNBOOK_AMX 1
#endif

namespace hornbook::tiles {

// The memory layout that ldtilecfg reads.
struct alignas(64) Configuration {
  uint8_t palette;
  uint8_t startRow;
  uint8_t reserved[14];
  uint16_t columnBytes[16];
  uint8_t rows[16];
};

}  // namespace hornbook::tiles

#if defined(HORNBOOK_EMULATE_AMX)
#include "../test/emulated_tiles.h"
#elif defined(HORNBOOK_AMX)
namespace hornbook::tiles {

// Inline assembly, because GCC's intrinsics are macros that paste the register's number from the source text, where a template parameter is only a name.
// Each instruction stands in both syntaxes, {AT&T|Intel}, whose operands have opposite orders; %c prints a constant without decoration. All are volatile,
// so they keep their order; those that touch memory say so.
HORNBOOK_INLINE void configure(const Configuration& c) { __asm__ volatile("ldtilecfg %0" : : "m"(c)); }
HORNBOOK_INLINE void release() { __asm__ volatile("tilerelease"); }
template <int t>
HORNBOOK_INLINE void zero() {
  static_assert(0 <= t && t < 8);
  __asm__ volatile("tilezero {%%|}tmm%c0" : : "i"(t));
}
template <int t>
HORNBOOK_INLINE void load(const void* p, int64_t stride) {
  static_assert(0 <= t && t < 8);
  __asm__ volatile("tileloadd {(%1,%2,1), %%tmm%c0|tmm%c0, [%1+%2*1]}" : : "i"(t), "r"(p), "r"(stride) : "memory");
}
template <int t>
HORNBOOK_INLINE void store(void* p, int64_t stride) {
  static_assert(0 <= t && t < 8);
  __asm__ volatile("tilestored {%%tmm%c0, (%1,%2,1)|[%1+%2*1], tmm%c0}" : : "i"(t), "r"(p), "r"(stride) : "memory");
}
// c += a b for bf16 pairs
template <int c, int a, int b>
HORNBOOK_INLINE void multiplyAdd() {
  static_assert(0 <= c && c < 8 && 0 <= a && a < 8 && 0 <= b && b < 8 && c != a && c != b && a != b);
  __asm__ volatile("tdpbf16ps {%%tmm%c2, %%tmm%c1, %%tmm%c0|tmm%c0, tmm%c1, tmm%c2}" : : "i"(c), "i"(a), "i"(b));
}
// c += a b for bytes in fours, those of a signed and those of b unsigned
template <int c, int a, int b>
HORNBOOK_INLINE void multiplyAddBytes() {
  static_assert(0 <= c && c < 8 && 0 <= a && a < 8 && 0 <= b && b < 8 && c != a && c != b && a != b);
  __asm__ volatile("tdpbsud {%%tmm%c2, %%tmm%c1, %%tmm%c0|tmm%c0, tmm%c1, tmm%c2}" : : "i"(c), "i"(a), "i"(b));
}

}  // namespace hornbook::tiles
#endif
