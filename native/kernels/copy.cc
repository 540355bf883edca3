// Moving and making: copy between any layouts and dtypes, append, fill, arange.
//
// A copy orders its axes by the strides of y, largest first, and merges what can be merged: most copies then are rows contiguous in both
// tensors (a permute of [batch, time, heads, d] keeps d). Where x runs along another axis than y, tiles keep both sides in the cache.
#include "../generated/contract.h"
#include "convert.h"
#include "place.h"
#include "walk.h"

namespace hornbook::kernels {
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

// Moves n elements with any strides.
template <class S, class D>
void moveRun(const void* source, int64_t xs, void* target, int64_t ys, int64_t n) {
  const S* x = static_cast<const S*>(source);
  D* y = static_cast<D*>(target);
  if (xs == 1 && ys == 1) {
    convertRun(x, y, n);
  } else if (xs == 0) {
    const D value = convert<D>(*x);
    for (int64_t i = 0; i < n; i++) y[i * ys] = value;
  } else {
    for (int64_t i = 0; i < n; i++) y[i * ys] = convert<D>(x[i * xs]);
  }
}

constexpr int64_t tile = 32;

// y[i * yRow + j] = x[i + j * xColumn]
template <class S, class D>
void moveTile(const void* source, int64_t xColumn, void* target, int64_t yRow, int64_t height, int64_t width) {
  const S* x = static_cast<const S*>(source);
  D* y = static_cast<D*>(target);
  for (int64_t i = 0; i < height; i++) {
    if (width == tile) {
      for (int64_t j = 0; j < tile; j++) y[i * yRow + j] = convert<D>(x[i + j * xColumn]);
    } else {
      for (int64_t j = 0; j < width; j++) y[i * yRow + j] = convert<D>(x[i + j * xColumn]);
    }
  }
}

// The loops for a pair of dtypes; all around them knows only the sizes of elements.
struct Mover {
  void (*run)(const void* x, int64_t xs, void* y, int64_t ys, int64_t n);
  void (*tile)(const void* x, int64_t xColumn, void* y, int64_t yRow, int64_t height, int64_t width);
};

Mover moverFor(DType from, DType to) {
  Mover mover{};
  if (from == to) {
    withBits(from, [&](auto t) { mover = {moveRun<decltype(t), decltype(t)>, moveTile<decltype(t), decltype(t)>}; });
    return mover;
  }
  withType(from, [&](auto s) {
    withType(to, [&](auto d) {
      using S = decltype(s);
      using D = decltype(d);
      if constexpr (!std::is_same_v<S, D>) mover.run = moveRun<S, D>;
      if constexpr (!std::is_same_v<S, D> && isFloat<S> && isFloat<D>) mover.tile = moveTile<S, D>;
    });
  });
  return mover;
}

}  // namespace

void copy(const CopyParams& p, Context& context) {
  const Mover mover = moverFor(p.x.dtype, p.y.dtype);
  const Nest<2> nest = inOrderOfOutput(p.x, p.y);
  const int64_t xSize = bytesPerElement(p.x.dtype), ySize = bytesPerElement(p.y.dtype);
  const char* x = p.x.as<char>();
  char* y = p.y.as<char>();
  const int64_t xs = nest.innerStride(0), ys = nest.innerStride(1), columns = nest.inner();
  int across = -1;  // the axis that x is contiguous along
  for (int axis = 0; axis + 1 < nest.rank; axis++)
    if (nest.strides[axis][0] == 1 && nest.shape[axis] >= 8) across = axis;
  if (mover.tile == nullptr || across < 0 || ys != 1 || xs <= 1 || columns < 8) {
    return parallelRanges(context, nest.elements(), taskElements, [&](int64_t begin, int64_t end) {
      nest.walk(begin, end, [&](const int64_t(&offset)[2], int64_t n, int64_t) { mover.run(x + offset[0] * xSize, xs, y + offset[1] * ySize, ys, n); });
    });
  }
  const int64_t rows = nest.shape[across], yRow = nest.strides[across][1];
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
      const int64_t height = rows - row < tile ? rows - row : tile, width = columns - column < tile ? columns - column : tile;
      mover.tile(x + (offset[0] + row + column * xs) * xSize, xs, y + (offset[1] + row * yRow + column) * ySize, yRow, height, width);
    }
  });
}

void append(const AppendParams& p, Context& context) {
  const int64_t batch = p.x.shape[0];
  const RowPlaces places(p.at, p.slots);
  if (p.x.elements() == 0 || !places.fit(batch, p.x.shape[1], p.y, context)) return;
  // One row of each.
  TensorView from = p.x, to = p.y;
  from.shape[0] = to.shape[0] = 1;
  to.shape[1] = p.x.shape[1];
  const Mover mover = moverFor(p.x.dtype, p.y.dtype);
  const Nest<2> nest = inOrderOfOutput(from, to);
  const int64_t xSize = bytesPerElement(p.x.dtype), ySize = bytesPerElement(p.y.dtype), inRow = nest.elements();
  const int64_t xs = nest.innerStride(0), ys = nest.innerStride(1);
  parallelRanges(context, batch * inRow, taskElements, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin / inRow; row * inRow < end; row++) {
      const char* x = p.x.as<char>() + row * p.x.strides[0] * xSize;
      char* y = p.y.as<char>() + places.offset(row, p.y) * ySize;
      const int64_t first = begin - row * inRow, last = end - row * inRow;
      nest.walk(first > 0 ? first : 0, last < inRow ? last : inRow,
                [&](const int64_t(&offset)[2], int64_t n, int64_t) { mover.run(x + offset[0] * xSize, xs, y + offset[1] * ySize, ys, n); });
    }
  });
}

void fill(const FillParams& p, Context& context) {
  TensorView zero = p.y;  // strides of 0: only y's order matters
  for (int i = 0; i < zero.rank; i++) zero.strides[i] = 0;
  const Nest<2> nest = inOrderOfOutput(zero, p.y);
  // The value in y's dtype, as raw bits.
  uint32_t bits = 0;
  withType(p.y.dtype, [&](auto t) {
    const auto value = convert<decltype(t)>(p.value);
    std::memcpy(&bits, &value, sizeof value);
  });
  const int64_t stride = nest.innerStride(1);
  withBits(p.y.dtype, [&](auto t) {
    using T = decltype(t);
    const T value = static_cast<T>(bits);  // its low bytes, on the little-endian machines that there are
    parallelRanges(context, nest.elements(), 4 * taskElements, [&](int64_t begin, int64_t end) {
      nest.walk(begin, end, [&](const int64_t(&offset)[2], int64_t n, int64_t) {
        T* y = p.y.as<T>() + offset[1];
        if (stride == 1) {
          for (int64_t i = 0; i < n; i++) y[i] = value;
        } else {
          for (int64_t i = 0; i < n; i++) y[i * stride] = value;
        }
      });
    });
  });
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

}  // namespace hornbook::kernels
