// Products of bytes on ARM, three ways: as an instruction for unsigned by signed bytes (I8MM), as one for signed bytes only (DotProd), or from
// products of 16 bits, which every processor has. All are exact.
#pragma once

#include "simd.h"

#if defined(HORNBOOK_NEON)
namespace hornbook::blocks {

// In each of the four lanes, acc + the product of four codes (unsigned, at most `largest`) and four numbers of a (signed, not -128).
template <int largest>
HORNBOOK_INLINE int32x4_t dotNeon(int32x4_t acc, uint8x16_t codes, int8x16_t a) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
  return vusdotq_s32(acc, codes, a);
#else
  // A code above 127 is taken as that much above 128, and 128 a is added by itself.
  constexpr bool isLarge = largest > INT8_MAX;
  const int8x16_t centred = vreinterpretq_s8_u8(isLarge ? veorq_u8(codes, vdupq_n_u8(128)) : codes);
#if defined(__ARM_FEATURE_DOTPROD)
  const int32x4_t sum = vdotq_s32(acc, centred, a);
  if constexpr (!isLarge) return sum;
  const int8x16_t half = vdupq_n_s8(64);
  return vdotq_s32(vdotq_s32(sum, half, a), half, a);
#else
  // No sum of two products leaves 16 bits: 127 * 128 * 2 is below 2^15.
  const int16x8_t low = vmull_s8(vget_low_s8(centred), vget_low_s8(a)), high = vmull_high_s8(centred, a);
  const int32x4_t sum = vpadalq_s16(acc, vpaddq_s16(low, high));
  if constexpr (!isLarge) return sum;
  return vaddq_s32(sum, vshlq_n_s32(vpaddlq_s16(vpaddlq_s8(a)), 7));
#endif
#endif
}

}  // namespace hornbook::blocks
#endif
