// Quantised weights back to floats, by panels of 16 rows or by single rows (embeddings).
#include "blocks.h"
#include "convert.h"
#include "walk.h"

namespace hornbook::kernels {
namespace {

using namespace blocks;

// Calls use(j, x) with the numbers x of W rows of a panel, from `first` on, for each column j.
template <class Format, class Use>
void forColumns(const Panel& panel, int64_t n, int first, Use use) {
  constexpr int parts = Format::size / run;
  for (int64_t block = 0; block * Format::size < n; block++) {
    for (int part = 0; part < parts; part++) {
      Run r;
      unpackRun<Format>(panel, block, part, first, r);
      for (int i = 0; i < 8; i++) {
        const int g = i * Format::groups / 8;
        for (int t = 0; t < 4; t++) {
          const Ints code = {(IntLanes)(r.codes[i] >> (8 * t) & 255u)};
          Vec x = simd::toFloat(code - simd::set1(Format::offset)) * r.scale[g];
          if constexpr (Format::hasMin) x += r.min[g];
          use(block * Format::size + part * run + 4 * i + t, x);
        }
      }
    }
  }
}

template <class T>
void dequantizePlain(const uint8_t* from, BlockFormat format, T* to, int64_t n) {
  simd::forLanes(n, [&](int64_t i, auto part) {
    const bf16* halves = reinterpret_cast<const bf16*>(from) + i;
    if (format == BlockFormat::bf16) return simd::storeExact(to + i, simd::load(halves, part), part);
    HalfLanes lanes = {};
    if constexpr (std::is_same_v<decltype(part), simd::First>) {
      std::memcpy(&lanes, halves, static_cast<size_t>(part.n) * 2);
    } else {
      std::memcpy(&lanes, halves, sizeof lanes);
    }
    simd::storeExact(to + i, simd::widenF16(lanes), part);
  });
}

}  // namespace

void dequantize(const DequantizeParams& p, Context& context) {
  const int64_t rows = p.y.shape[0], n = p.y.shape[1], stride = p.y.strides[0], rowBytes = p.w.shape[1];
  if (rows == 0 || n == 0) return;
  withFloatType(p.y.dtype, [&](auto t) {
    using T = decltype(t);
    if (isPlain(p.format)) {
      parallelRanges(context, rows, rowsPerTask(n), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) dequantizePlain(p.w.as<uint8_t>() + i * rowBytes, p.format, p.y.as<T>() + i * stride, n);
      });
      return;
    }
    withFormat(p.format, p.layout, [&](auto f) {
      uint8_t* const panels = context.scratch<uint8_t>(context.lanes() * panelRows * rowBytes);
      context.parallel(ceilDivide(rows, panelRows), [&](int64_t task, int lane) {
        const int64_t row = task * panelRows;
        const Panel panel = panelAt<decltype(f)>(p.format, p.w, p.layout, row, panels + lane * panelRows * rowBytes);
        for (int first = 0; first < panelRows && row + first < rows; first += W) {
          const int64_t count = rows - row - first < W ? rows - row - first : W;
          T* const y = p.y.as<T>() + (row + first) * stride;
          forColumns<decltype(f)>(panel, n, first, [&](int64_t j, Vec x) {
            float lanes[W];
            simd::store<float>(lanes, x);
            for (int64_t r = 0; r < count; r++) y[r * stride + j] = simd::fromFloat<T>(lanes[r]);
          });
        }
      });
    });
  });
}

void quantizedEmbedding(const QuantizedEmbeddingParams& p, Context& context) {
  const int64_t m = p.ids.elements(), n = p.y.shape[1], rows = p.table.shape[0], rowBytes = p.table.shape[1];
  const int32_t* ids = p.ids.as<int32_t>();
  if (m == 0 || n == 0) return;
  uint8_t* const panels = context.scratch<uint8_t>(context.lanes() * panelRows * rowBytes);
  withFloatType(p.y.dtype, [&](auto t) {
    using T = decltype(t);
    context.parallel(m, [&](int64_t i, int lane) {
      const int64_t id = ids[i];
      if (id < 0 || id >= rows) {
        return context.fail(i, "quantizedEmbedding: id %d at position %lld is outside the table of %lld rows", ids[i], static_cast<long long>(i),
                            static_cast<long long>(rows));
      }
      const uint8_t* const row = p.table.as<uint8_t>() + id * rowBytes;
      T* const y = p.y.as<T>() + i * n;
      if (isPlain(p.format)) return dequantizePlain(row, p.format, y, n);
      // A row that lies by itself becomes the first of a panel.
      const bool inPanel = p.layout != BlockLayout::rows && id / panelRows < rows / panelRows;
      uint8_t* const scratch = panels + lane * panelRows * rowBytes;
      const int at = inPanel ? static_cast<int>(id % panelRows) : 0;
      withFormat(p.format, p.layout, [&](auto f) {
        using Format = decltype(f);
        const Panel panel = inPanel ? panelAt<Format>(p.format, p.table, p.layout, id - at, scratch) : gatherPanel<Format>(p.format, row, rowBytes, 1, scratch);
        forColumns<Format>(panel, n, at / W * W, [&](int64_t j, Vec x) { y[j] = simd::fromFloat<T>(x.v[at % W]); });
      });
    });
  });
}

}  // namespace hornbook::kernels
