// Moving and making: copy between any layouts and dtypes, fill, arange.
//
// A copy orders its axes by the strides of y, largest first, and merges what can be merged: most copies then are rows contiguous in both
// tensors (a permute of [batch, time, heads, d] keeps d). Where x runs along another axis than y, tiles keep both sides in the cache.
#include "../generated/contract.h"
#include "convert.h"
#include "walk.h"

namespace inkling::kernels {
namespace {

int64_t magnitude(int64_t stride) { return stride < 0 ? -stride : stride; }

// Operand 0 is x, 1 is y.
Nest<2> inOrderOfOutput(const TensorView& x, const TensorView& y) {
  int order[maxRank];
  for (int i = 0; i < y.rank; i++) {
    int at = i;
    for (; at > 0; at--) {
      const int64_t before = magnitude(y.strides[order[at - 1]]), here = magnitude(y.strides[i]);
      if (before > here || (before == here && magnitude(x.strides[order[at - 1]]) >= magnitude(x.strides[i]))) break;
      order[at] = order[at - 1];
    }
    order[at] = i;
  }
  Nest<2> nest;
  for (int i = 0; i < y.rank; i++) nest.append(y.shape[order[i]], {x.strides[order[i]], y.strides[order[i]]});
  nest.finish();
  return nest;
}

template <class S, class D>
void copyRows(const S* x, D* y, const Nest<2>& nest, Context& context) {
  const int64_t xs = nest.innerStride(0), ys = nest.innerStride(1);
  parallelRanges(context, nest.elements(), taskElements, [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](const int64_t(&offset)[2], int64_t n, int64_t) {
      const S* from = x + offset[0];
      D* to = y + offset[1];
      if (xs == 1 && ys == 1) {
        convertRun(from, to, n);
      } else if (xs == 0) {
        const D value = convert<D>(*from);
        for (int64_t i = 0; i < n; i++) to[i * ys] = value;
      } else {
        for (int64_t i = 0; i < n; i++) to[i * ys] = convert<D>(from[i * xs]);
      }
    });
  });
}

// x is contiguous along axis `across`, y along the innermost.
template <class S, class D>
void copyTransposed(const S* x, D* y, const Nest<2>& nest, int across, Context& context) {
  constexpr int64_t tile = 32;
  const int64_t columns = nest.inner(), rows = nest.shape[across];
  const int64_t xColumn = nest.innerStride(0), yRow = nest.strides[across][1];
  Nest<2> outer;
  for (int i = 0; i + 1 < nest.rank; i++)
    if (i != across) outer.append(nest.shape[i], {nest.strides[i][0], nest.strides[i][1]});
  outer.finish();
  const int64_t tilesDown = ceilDivide(rows, tile), tilesAcross = ceilDivide(columns, tile);
  parallelRanges(context, outer.elements() * tilesDown * tilesAcross, taskElements / (tile * tile), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      int64_t offset[2];
      outer.offsetsOf(t / (tilesDown * tilesAcross), offset);
      const int64_t row = t / tilesAcross % tilesDown * tile, column = t % tilesAcross * tile;
      const S* from = x + offset[0] + row + column * xColumn;
      D* to = y + offset[1] + row * yRow + column;
      const int64_t height = rows - row < tile ? rows - row : tile, width = columns - column < tile ? columns - column : tile;
      if (width == tile) {
        for (int64_t i = 0; i < height; i++)
          for (int64_t j = 0; j < tile; j++) to[i * yRow + j] = convert<D>(from[i + j * xColumn]);
      } else {
        for (int64_t i = 0; i < height; i++)
          for (int64_t j = 0; j < width; j++) to[i * yRow + j] = convert<D>(from[i + j * xColumn]);
      }
    }
  });
}

template <class S, class D>
void copyAs(const CopyParams& p, Context& context) {
  const Nest<2> nest = inOrderOfOutput(p.x, p.y);
  if (nest.elements() == 0) return;
  const S* x = p.x.as<S>();
  D* y = p.y.as<D>();
  constexpr bool common = std::is_same_v<S, D> || (isFloat<S> && isFloat<D>);  // the rest is rare, and not worth its code
  if constexpr (common) {
    if (nest.innerStride(1) == 1 && nest.innerStride(0) > 1) {
      for (int axis = 0; axis + 1 < nest.rank; axis++)
        if (nest.strides[axis][0] == 1 && nest.shape[axis] >= 8 && nest.inner() >= 8) return copyTransposed(x, y, nest, axis, context);
    }
  }
  copyRows(x, y, nest, context);
}

}  // namespace

void copy(const CopyParams& p, Context& context) {
  if (p.x.dtype == p.y.dtype) return withBits(p.x.dtype, [&](auto t) { copyAs<decltype(t), decltype(t)>(p, context); });
  withType(p.x.dtype, [&](auto s) {
    withType(p.y.dtype, [&](auto d) {
      if constexpr (!std::is_same_v<decltype(s), decltype(d)>) copyAs<decltype(s), decltype(d)>(p, context);
    });
  });
}

void fill(const FillParams& p, Context& context) {
  TensorView zero = p.y;  // strides of 0: only y's order matters
  for (int i = 0; i < zero.rank; i++) zero.strides[i] = 0;
  const Nest<2> nest = inOrderOfOutput(zero, p.y);
  const auto fillAs = [&](auto value, auto* y) {
    const int64_t stride = nest.innerStride(1);
    parallelRanges(context, nest.elements(), 4 * taskElements, [&](int64_t begin, int64_t end) {
      nest.walk(begin, end, [&](const int64_t(&offset)[2], int64_t n, int64_t) {
        auto* to = y + offset[1];
        if (stride == 1) {
          for (int64_t i = 0; i < n; i++) to[i] = value;
        } else {
          for (int64_t i = 0; i < n; i++) to[i * stride] = value;
        }
      });
    });
  };
  switch (p.y.dtype) {
    case DType::f32: return fillAs(p.value, p.y.as<float>());
    case DType::bf16: return fillAs(convert<bf16>(p.value).bits, p.y.as<uint16_t>());
    case DType::i32: return fillAs(convert<int32_t>(p.value), p.y.as<int32_t>());
    case DType::u8: return fillAs(convert<uint8_t>(p.value), p.y.as<uint8_t>());
  }
}

void arange(const ArangeParams& p, Context& context) {
  const double start = p.start, step = p.step;  // in double: a float cannot count beyond 2^24
  withType(p.y.dtype, [&](auto t) {
    using T = decltype(t);
    T* y = p.y.as<T>();
    parallelRanges(context, p.y.elements(), taskElements, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const double value = start + static_cast<double>(i) * step;
        if constexpr (std::is_same_v<T, int32_t>) {
          y[i] = !(value > -2147483649.0) ? (value == value ? INT32_MIN : 0) : value < 2147483648.0 ? static_cast<int32_t>(value) : INT32_MAX;
        } else {
          y[i] = convert<T>(static_cast<float>(value));
        }
      }
    });
  });
}

}  // namespace inkling::kernels
