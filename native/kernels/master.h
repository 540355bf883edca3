// Where a master weight lies: whole, as float32; or in halves that take no more room, its bf16 shadow and what rounding took from that:
//
//   bits of w = (bits of the shadow << 16) + remainder, a 16-bit whole number with a sign.
//
// Rounding to nearest leaves at most 2^15 either way. The one case that does not fit, a weight exactly between two shadows that was rounded down,
// keeps 2^15 - 1: its last bit goes.
#pragma once

#include "simd.h"

namespace hornbook::kernels {

struct WholeMaster {
  float* w;
  simd::Vec get(int64_t i, auto part) const { return simd::load(w + i, part); }
  void put(int64_t i, simd::Vec updated, auto part) const { simd::store(w + i, updated, part); }
};

struct HalvedMaster {
  bf16* shadow;
  bf16* remainder;  // the bits are those of an int16_t
  simd::Vec get(int64_t i, auto part) const {
    return simd::fromBits(simd::bitsOf(simd::load(shadow + i, part)) + (simd::bitsOf(simd::load(remainder + i, part)) >> 16));
  }
  void put(int64_t i, simd::Vec updated, auto part) const {
    const simd::HalfLanes rounded = simd::roundToBf16Exact(updated);
    const simd::Ints rest = simd::bitsOf(updated) - simd::bitsOf(simd::widenBf16(rounded));
    const simd::Ints fitting = simd::select(rest < simd::set1(0x8000), rest, simd::set1(0x7fff));
    store(shadow + i, rounded, part);
    store(remainder + i, __builtin_convertvector((simd::WordLanes)fitting.v, simd::HalfLanes), part);
  }

 private:
  static void store(bf16* p, simd::HalfLanes half, simd::All) { simd::storeHalves(p, half); }
  static void store(bf16* p, simd::HalfLanes half, simd::First first) { simd::storeHalvesPartial(p, half, first.n); }
};

}  // namespace hornbook::kernels
