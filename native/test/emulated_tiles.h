// The tile instructions of AMX in plain C++, for testing the path that uses them on a processor without: same registers, same configuration,
// same shape rules. What the processor would refuse aborts. Included by tiles.h, which has the configuration.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../kernels/simd.h"

namespace hornbook::tiles {

struct Unit {
  bool configured;
  Configuration configuration;
  uint8_t tile[8][16][64];
};
inline thread_local Unit unit = {};

inline void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "emulated tiles: %s\n", what);
  std::abort();
}

inline void configure(const Configuration& c) {
  require(c.palette == 1 && c.startRow == 0, "palette 1 from row 0");
  for (const uint8_t r : c.reserved) require(r == 0, "reserved bytes are 0");
  for (int t = 0; t < 16; t++) {
    require(t < 8 ? c.rows[t] <= 16 && c.columnBytes[t] <= 64 : c.rows[t] == 0 && c.columnBytes[t] == 0, "eight tiles of 16 x 64 bytes");
    require((c.rows[t] == 0) == (c.columnBytes[t] == 0), "a tile has both rows and columns or neither");
  }
  unit.configured = true;
  unit.configuration = c;
  std::memset(unit.tile, 0, sizeof unit.tile);
}
inline void release() {
  unit.configured = false;
  std::memset(unit.tile, 0xff, sizeof unit.tile);  // NaN: nothing may be left to rely on
}
inline int rowsOf(int t) {
  require(unit.configured && unit.configuration.rows[t] > 0, "a tile is used that is not configured");
  return unit.configuration.rows[t];
}
template <int t>
void zero() {
  rowsOf(t);
  std::memset(unit.tile[t], 0, sizeof unit.tile[t]);
}
template <int t>
void load(const void* p, int64_t stride) {
  std::memset(unit.tile[t], 0, sizeof unit.tile[t]);
  for (int r = 0; r < rowsOf(t); r++) std::memcpy(unit.tile[t][r], static_cast<const char*>(p) + r * stride, unit.configuration.columnBytes[t]);
}
template <int t>
void store(void* p, int64_t stride) {
  for (int r = 0; r < rowsOf(t); r++) std::memcpy(static_cast<char*>(p) + r * stride, unit.tile[t][r], unit.configuration.columnBytes[t]);
}
template <int c, int a, int b>
void multiplyAdd() {
  const Configuration& now = unit.configuration;
  require(rowsOf(c) == rowsOf(a) && now.columnBytes[c] == now.columnBytes[b] && now.columnBytes[a] == 4 * rowsOf(b), "the shapes of c, a and b fit");
  const auto at = [](int t, int row, int half) {
    bf16 x;
    std::memcpy(&x, &unit.tile[t][row][half * 2], sizeof x);
    return simd::toFloat(x);
  };
  for (int i = 0; i < rowsOf(c); i++) {
    for (int j = 0; j < now.columnBytes[c] / 4; j++) {
      float sum;
      std::memcpy(&sum, &unit.tile[c][i][j * 4], sizeof sum);
      for (int s = 0; s < rowsOf(b); s++) {
        sum += at(a, i, 2 * s) * at(b, s, 2 * j);
        sum += at(a, i, 2 * s + 1) * at(b, s, 2 * j + 1);
      }
      std::memcpy(&unit.tile[c][i][j * 4], &sum, sizeof sum);
    }
  }
}

template <int c, int a, int b>
void multiplyAddBytes() {
  const Configuration& now = unit.configuration;
  require(rowsOf(c) == rowsOf(a) && now.columnBytes[c] == now.columnBytes[b] && now.columnBytes[a] == 4 * rowsOf(b), "the shapes of c, a and b fit");
  for (int i = 0; i < rowsOf(c); i++) {
    for (int j = 0; j < now.columnBytes[c] / 4; j++) {
      int32_t sum;
      std::memcpy(&sum, &unit.tile[c][i][j * 4], sizeof sum);
      for (int s = 0; s < rowsOf(b); s++)
        for (int t = 0; t < 4; t++) sum += static_cast<int8_t>(unit.tile[a][i][4 * s + t]) * unit.tile[b][s][4 * j + t];
      std::memcpy(&unit.tile[c][i][j * 4], &sum, sizeof sum);
    }
  }
}

}  // namespace hornbook::tiles
