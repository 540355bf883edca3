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

HORNBOOK_INLINE void configure(const Configuration& c) { _tile_loadconfig(&c); }
HORNBOOK_INLINE void release() { _tile_release(); }
template <int t>
HORNBOOK_INLINE void zero() { _tile_zero(t); }
template <int t>
HORNBOOK_INLINE void load(const void* p, int64_t stride) { _tile_loadd(t, p, stride); }
template <int t>
HORNBOOK_INLINE void store(void* p, int64_t stride) { _tile_stored(t, p, stride); }
// c += a b for bf16 pairs
template <int c, int a, int b>
HORNBOOK_INLINE void multiplyAdd() { _tile_dpbf16ps(c, a, b); }
// c += a b for bytes in fours, those of a signed and those of b unsigned
template <int c, int a, int b>
HORNBOOK_INLINE void multiplyAddBytes() { _tile_dpbsud(c, a, b); }

}  // namespace hornbook::tiles
#endif
