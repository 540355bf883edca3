// Products of bf16 on tiles (tiles.h). Four hold a 32 x 32 block of c, two a strip of a (16 rows of 32 bf16 each), two a panel of b (16 steps of 16 pairs
// each). A Session configures the unit when it first computes, again when the height of the block changes, and lets go at its end.
#pragma once

#include "matmul_ahead.h"
#include "matmul_pack.h"
#include "tiles.h"

#if defined(HORNBOOK_AMX)
namespace hornbook::gemm {

struct AmxEngine {
  static constexpr Words words = Words::pairs;
  static constexpr int tile = 16;
  static constexpr int rows = 2 * tile, vectors = 2 * tile / W, columns = 2 * tile;
  static constexpr int group = rows;
  static constexpr int stepMultiple = tile;

  // A packed group consists of blocks of 32 rows by 16 words; the product goes through k by such blocks.
  static constexpr int64_t packedRowStride = tile * 4;
  static constexpr int64_t packedStepStride = group * 4;
  static constexpr int64_t directStepStride = 4;

  static bool readsDirectly(const Lines& a) { return a.kStride == 1; }

  static void packGroup(const Lines& a, int64_t first, int64_t firstK, int64_t steps, uint32_t* out) {
    for (int64_t s = 0; s < steps; s += tile, out += group * tile) {
      uint32_t across[tile * group];
      packLines<words>(a, first, firstK + 2 * s, group, tile, across);
      for (int i = 0; i < group; i += W) {
        for (int j = 0; j < tile; j += W) {
          WordLanes m[W];
          for (int r = 0; r < W; r++) m[r] = loadWords(across + (j + r) * group + i);
          transpose(m);
          for (int r = 0; r < W; r++) storeWords(out + (i + r) * tile + j, m[r]);
        }
      }
    }
  }

  class Session {
   public:
    Session() = default;
    Session(const Session&) = delete;
    ~Session() {
      if (rows_ != 0) tiles::release();
    }

    void configure(int64_t rowCount) {
      if (rowCount == rows_) return;
      rows_ = rowCount;
      const auto upper = static_cast<uint8_t>(least(rowCount, tile));
      const auto lower = static_cast<uint8_t>(most(rowCount - tile, 1));
      tiles::Configuration c = {};
      c.palette = 1;
      const uint8_t heights[8] = {upper, upper, lower, lower, upper, lower, tile, tile};
      for (int t = 0; t < 8; t++) {
        c.rows[t] = heights[t];
        c.columnBytes[t] = 64;
      }
      tiles::configure(c);
    }

   private:
    int64_t rows_ = 0;
  };

  template <bool lower, bool right>
  static void computeBlock(const char* a, int64_t rowStride, int64_t stepStride, const uint32_t* b, int64_t steps, float* out) {
    constexpr int64_t panelStride = (right ? 2 : 1) * tile * 4;
    const char* panel = reinterpret_cast<const char*>(b);
    const char* below = a + tile * rowStride;
    tiles::zero<0>();
    if constexpr (right) tiles::zero<1>();
    if constexpr (lower) tiles::zero<2>();
    if constexpr (lower && right) tiles::zero<3>();
    for (int64_t s = 0; s < steps; s += tile) {
      tiles::load<4>(a + s * stepStride, rowStride);
      tiles::load<6>(panel, panelStride);
      tiles::multiplyAdd<0, 4, 6>();
      if constexpr (right) {
        tiles::load<7>(panel + tile * 4, panelStride);
        tiles::multiplyAdd<1, 4, 7>();
      }
      if constexpr (lower) {
        tiles::load<5>(below + s * stepStride, rowStride);
        tiles::multiplyAdd<2, 5, 6>();
        if constexpr (right) tiles::multiplyAdd<3, 5, 7>();
      }
      panel += tile * panelStride;
    }
    tiles::store<0>(out, columns * 4);
    if constexpr (right) tiles::store<1>(out + tile, columns * 4);
    if constexpr (lower) tiles::store<2>(out + tile * columns, columns * 4);
    if constexpr (lower && right) tiles::store<3>(out + tile * columns + tile, columns * 4);
  }

  static void compute(Session& session, int64_t rowCount, int64_t vectorCount, const char* a, int64_t rowStride, int64_t stepStride, const uint32_t* b,
                      int64_t steps, float* out, const Destination&, Coming&) {
    session.configure(rowCount);
    const bool lower = rowCount > tile, right = vectorCount * W > tile;
    if (lower && right) return computeBlock<true, true>(a, rowStride, stepStride, b, steps, out);
    if (lower) return computeBlock<true, false>(a, rowStride, stepStride, b, steps, out);
    if (right) return computeBlock<false, true>(a, rowStride, stepStride, b, steps, out);
    return computeBlock<false, false>(a, rowStride, stepStride, b, steps, out);
  }
};

}  // namespace hornbook::gemm
#endif
