// Products with quantised weights: c = activation(a w^T + bias).
//
// Each run of 32 activations is rounded once to whole numbers of eight bits with one scale; then a product of 32 by 32 numbers is eight
// instructions that multiply and add four pairs of bytes each, in every lane, a lane being a row of w. Weights lie in panels of 16 such rows
// (blocks.h). With a few rows of a (decoding) a run of a panel is unpacked to registers and used at once: memory is the limit. With many, a
// panel is unpacked to the cache, and all rows of a pass.
//
// Both paths add the same numbers in the same order, so a row of c does not depend on how many others there are.
#include <type_traits>

#include "matmul_finish.h"
#include "quantized_product.h"

namespace hornbook::kernels {
namespace {

using gemm::ceilDiv;
using gemm::least;
using gemm::most;

// An unpacked run of W rows in memory: as Run, without what the format does not have.
template <class Format>
constexpr int64_t unpackedBytes = 32 * W + Format::groups * (Format::hasMin ? 2 : 1) * 4 * W;

template <class Format>
void unpackPanel(const Panel& panel, int64_t blocks, uint8_t* to) {
  constexpr int parts = Format::size / run;
  for (int first = 0; first < panelRows; first += W) {
    for (int64_t block = 0; block < blocks; block++) {
#pragma GCC unroll 8
      for (int part = 0; part < parts; part++, to += unpackedBytes<Format>) {
        Run w;
        unpackRun<Format>(panel, block, part, first, w);
        std::memcpy(to, w.codes, sizeof w.codes);
        std::memcpy(to + sizeof w.codes, w.scale, Format::groups * sizeof(Vec));
        if constexpr (Format::hasMin) std::memcpy(to + sizeof w.codes + Format::groups * sizeof(Vec), w.min, Format::groups * sizeof(Vec));
      }
    }
  }
}

// multiplyPanel on an unpacked panel.
template <class Format, int rows>
void multiplyUnpacked(const Panel& unpacked, const Activations* a, int64_t blocks, float* tile) {
  const uint8_t* panel = unpacked.blocks;
  const int64_t runs = blocks * (Format::size / run);
  for (int first = 0; first < panelRows; first += W) {
    Vec acc[rows];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) acc[i] = simd::zero();
    const Activations* at = a;
    for (int64_t r = 0; r < runs; r++, at += rows, panel += unpackedBytes<Format>) {
      Run w;
      std::memcpy(w.codes, panel, sizeof w.codes);
      std::memcpy(w.scale, panel + sizeof w.codes, Format::groups * sizeof(Vec));
      if constexpr (Format::hasMin) std::memcpy(w.min, panel + sizeof w.codes + Format::groups * sizeof(Vec), Format::groups * sizeof(Vec));
      addRun<Format, rows>(w, at, acc);
    }
    storeTile<rows>(tile, first, acc);
  }
}

#if defined(HORNBOOK_AMX)
constexpr int tileRows = 16;

// multiplyUnpacked with the products of whole numbers on tiles: a group of a run is one tile of a, one of w and one of products, all read where
// they lie. The scaling is the vector unit's as ever, so the bits are those of the other paths. Tested on emulated tiles only.
template <class Format>
void multiplyTiles(const Panel& unpacked, const Activations* a, int64_t blocks, float* tile) {
  const uint8_t* panel = unpacked.blocks;
  static_assert(W == tileRows && panelRows == tileRows && Format::groups <= 2);
  constexpr int groups = Format::groups, words = 8 / groups;
  tiles::Configuration shapes = {};
  shapes.palette = 1;
  for (int t = 0; t < 6; t++) {
    const bool ofA = t == 2 || t == 3, ofW = t >= 4;
    shapes.rows[t] = ofW ? words : tileRows;
    shapes.columnBytes[t] = ofA ? 4 * words : 64;
  }
  tiles::configure(shapes);
  Vec acc[tileRows];
#pragma GCC unroll 16
  for (int i = 0; i < tileRows; i++) acc[i] = simd::zero();
  const int64_t runs = blocks * (Format::size / run);
  for (int64_t r = 0; r < runs; r++, a += tileRows, panel += unpackedBytes<Format>) {
    alignas(64) int32_t products[groups][tileRows][W];
    const auto multiplyGroup = [&](auto group) __attribute__((always_inline)) {
      constexpr int g = decltype(group)::value;
      tiles::zero<g>();
      tiles::load<2 + g>(a->q + g * 4 * words, sizeof(Activations));
      tiles::load<4 + g>(panel + g * words * 64, 64);
      tiles::multiplyAddBytes<g, 2 + g, 4 + g>();
      tiles::store<g>(products[g], 64);
    };
    multiplyGroup(std::integral_constant<int, 0>());
    if constexpr (groups == 2) multiplyGroup(std::integral_constant<int, 1>());
    Run w;
    std::memcpy(w.scale, panel + sizeof w.codes, groups * sizeof(Vec));
    if constexpr (Format::hasMin) std::memcpy(w.min, panel + sizeof w.codes + groups * sizeof(Vec), groups * sizeof(Vec));
    addScaled<Format, tileRows>(w, a, acc, [&](int i, int g) __attribute__((always_inline)) {
      Ints sums;
      std::memcpy(&sums, products[g][i], sizeof sums);
      return sums + simd::set1(a[i].start[g]);
    });
  }
  tiles::release();
  storeTile<tileRows>(tile, 0, acc);
}
#elif defined(HORNBOOK_AVX512)
constexpr int tileRows = 12;
#else
constexpr int tileRows = 4;
#endif

constexpr int64_t chunkRows = 512;        // of a, rounded at a time
constexpr int64_t fewRowsTaskBytes = 32 << 10;
constexpr int64_t mostTasks = 512;
constexpr int64_t manyRowsTaskPanels = 2;

constexpr int64_t largestTile(bool few) { return few || tileRows < 8 ? 8 : tileRows; }

using Multiply = void (*)(const Panel& panel, const Activations* a, int64_t blocks, float* tile);

template <class Format>
Multiply multiplyFor(bool unpacked, int64_t rows) {
  switch (rows) {
    case 1: return unpacked ? multiplyUnpacked<Format, 1> : multiplyPanel<Format, 1>;
    case 2: return unpacked ? multiplyUnpacked<Format, 2> : multiplyPanel<Format, 2>;
    case 4: return unpacked ? multiplyUnpacked<Format, 4> : multiplyPanel<Format, 4>;
    case 8: return unpacked ? multiplyUnpacked<Format, 8> : multiplyPanel<Format, 8>;
#if defined(HORNBOOK_AMX)
    default: return multiplyTiles<Format>;
#else
    default: return multiplyUnpacked<Format, tileRows>;
#endif
  }
}

// Run r of row i of a tile of h rows from row t on lies at t * runs + r * h + i.
template <class Format, class T>
void roundRows(const TensorView& a, int64_t row0, int64_t rows, int64_t runs, Activations* to, Context& context) {
  const bool few = rows <= fewRows;
  const int64_t largest = largestTile(few), perTask = few ? rows : tileRows * 4;
  context.parallel(ceilDiv(rows, perTask), [&](int64_t task, int) {
    for (int64_t tile = task * perTask, end = least(tile + perTask, rows); tile < end;) {
      const int64_t height = tileHeight(end - tile, largest);
      for (int64_t i = 0; i < height; i++) {
        const T* x = a.as<T>() + (row0 + tile + i) * a.strides[0];
        for (int64_t r = 0; r < runs; r++) quantizeRun(x + r * run, Format::offset, Format::groups, to[tile * runs + r * height + i]);
      }
      tile += height;
    }
  });
}

template <class Format>
void multiply(const TensorView& a, const TensorView& w, BlockFormat format, BlockLayout layout, int64_t n, UseTile use, Context& context) {
  const int64_t m = a.shape[0], rowBytes = w.shape[1], blocks = rowBytes / Format::bytes, runs = blocks * (Format::size / run);
  Activations* const rounded = context.scratch<Activations>(least(m, chunkRows) * runs);
  const int64_t laneBytes = gemm::roundUp(panelRows * rowBytes + (m > fewRows ? runs * unpackedBytes<Format> * (panelRows / W) : 0), 64);
  uint8_t* const memory = context.scratch<uint8_t>(context.lanes() * laneBytes);
  for (int64_t row0 = 0; row0 < m; row0 += chunkRows) {
    const int64_t rows = least(chunkRows, m - row0);
    if (a.dtype == DType::f32) roundRows<Format, float>(a, row0, rows, runs, rounded, context);
    else roundRows<Format, bf16>(a, row0, rows, runs, rounded, context);

    const bool few = rows <= fewRows;
    const int64_t panels = ceilDiv(n, panelRows);
    const int64_t perTask = few ? most(ceilDiv(panels, mostTasks), fewRowsTaskBytes / (panelRows * rowBytes)) : manyRowsTaskPanels;
    context.parallel(ceilDiv(panels, perTask), [&](int64_t task, int lane) {
      uint8_t* const copy = memory + lane * laneBytes;
      uint8_t* const unpacked = copy + panelRows * rowBytes;
      for (int64_t i = task * perTask; i < least((task + 1) * perTask, panels); i++) {
        Panel panel = panelAt<Format>(format, w, layout, i * panelRows, copy);
        if (!few) {
          unpackPanel<Format>(panel, blocks, unpacked);
          panel = {unpacked};
        }
        for (int64_t tile = 0; tile < rows;) {
          const int64_t height = tileHeight(rows - tile, largestTile(few));
          alignas(64) float sums[largestTile(false) * panelRows];
          multiplyFor<Format>(!few, height)(panel, rounded + tile * runs, blocks, sums);
          use(sums, row0 + tile, height, i * panelRows, lane);
          tile += height;
        }
      }
    });
  }
}

// Weights in 16 bits: a stretch of rows at a time becomes floats that stay in the cache, and the plain product does the rest.
void multiplyHalves(const QuantizedMatmulParams& p, Context& context) {
  constexpr int64_t stretch = 256 << 10;
  const int64_t n = p.w.shape[0], k = p.a.shape[1];
  MatmulParams product = {p.a, {}, p.bias, p.c, {}, p.activation, 0};
  TensorView& b = product.b;
  b.rank = 2;
  b.strides[0] = 1;
  b.strides[1] = k;
  b.shape[0] = k;
  b.shape[1] = n;
  b.dtype = DType::bf16;
  b.data = p.w.data;
  if (p.format == BlockFormat::bf16 && p.a.dtype == DType::bf16) return matmul(product, context);

  if (p.a.dtype == DType::bf16) {
    product.a.dtype = DType::f32;
    product.a.data = context.scratch<float>(p.a.elements());
    product.a.strides[0] = k;
    product.a.strides[1] = 1;
    copy({p.a, product.a}, context);
  }
  const int64_t columns = least(n, gemm::roundUp(most(1, stretch / most(k, 1)), 64));
  b.dtype = DType::f32;
  b.data = context.scratch<float>(columns * k);
  TensorView floats = b;
  floats.strides[0] = k;
  floats.strides[1] = 1;
  for (int64_t j = 0; j < n; j += columns) {
    const int64_t count = least(columns, n - j);
    TensorView w = p.w;
    w.data = p.w.as<uint8_t>() + j * p.w.shape[1];
    w.shape[0] = floats.shape[0] = b.shape[1] = product.c.shape[1] = count;
    floats.shape[1] = k;
    dequantize({w, floats, p.format, BlockLayout::rows}, context);
    product.c.data = p.c.as<char>() + j * bytesPerElement(p.c.dtype);
    if (p.bias) product.bias.data = p.bias.as<float>() + j;
    product.bias.shape[0] = count;
    matmul(product, context);
  }
}

}  // namespace

void forTiles(const TensorView& a, const TensorView& w, BlockFormat format, BlockLayout layout, int64_t n, UseTile use, Context& context) {
  withFormat(format, layout, [&](auto f) { multiply<decltype(f)>(a, w, format, layout, n, use, context); });
}

void quantizedMatmul(const QuantizedMatmulParams& p, Context& context) {
  if (p.c.elements() == 0) return;
  if (isPlain(p.format)) return multiplyHalves(p, context);
  gemm::Output out = {};
  out.c = p.c.data;
  out.dtype = p.c.dtype;
  out.rowStride = p.c.strides[0];
  out.bias = p.bias.as<float>();
  out.activation = p.activation;
  const gemm::Part whole = {true, true, nullptr, 0};
  const gemm::Finish finish = gemm::finishFor(out, whole);
  const int64_t n = p.w.shape[0];
  const auto store = [&](const float* sums, int64_t row, int64_t rows, int64_t column, int) {
    finish(out, whole, sums, panelRows, row, column, rows, least(panelRows, n - column));
  };
  forTiles(p.a, p.w, p.format, p.layout, n, store, context);
}

}  // namespace hornbook::kernels
