// Reductions over the last axes of x, which may be strided, so that any axes reduce after a permute.
//
// Two loops do the work: along rows, when a reduced axis runs contiguously in x, and down columns, a block of neighbouring outputs at once,
// when a kept axis does. Long reductions are cut into chunks by their length alone: partial results in float within a chunk, combined
// in order in double. So a sum is precise, and the same for any number of threads.
#include <cmath>

#include "../generated/contract.h"
#include "convert.h"
#include "simd.h"
#include "walk.h"

namespace hornbook::kernels {
namespace {

using namespace simd;

constexpr int64_t rowBlock = 4096;     // elements summed in float before a double takes over
constexpr int64_t columnBlock = 256;   // neighbouring outputs at once
constexpr int64_t chunkLength = 65536; // of a reduction that is cut among tasks

// step takes an element (less `shift`, for squared deviations) into an accumulator; combine joins two of them.
struct Sum {
  static constexpr double neutral = 0;
  static HORNBOOK_INLINE Vec step(Vec a, Vec x, Vec) { return a + x; }
  static HORNBOOK_INLINE Vec combine(Vec a, Vec b) { return a + b; }
  static double combine(double a, double b) { return a + b; }
};
struct SquaredDeviations {
  static constexpr double neutral = 0;
  static HORNBOOK_INLINE Vec step(Vec a, Vec x, Vec shift) { return fma(x - shift, x - shift, a); }
  static HORNBOOK_INLINE Vec combine(Vec a, Vec b) { return a + b; }
  static double combine(double a, double b) { return a + b; }
};
struct Product {
  static constexpr double neutral = 1;
  static HORNBOOK_INLINE Vec step(Vec a, Vec x, Vec) { return a * x; }
  static HORNBOOK_INLINE Vec combine(Vec a, Vec b) { return a * b; }
  static double combine(double a, double b) { return a * b; }
};
struct Max {
  static constexpr double neutral = -__builtin_inf();
  static HORNBOOK_INLINE Vec step(Vec a, Vec x, Vec) { return maxNaN(x, a); }
  static HORNBOOK_INLINE Vec combine(Vec a, Vec b) { return maxNaN(a, b); }
  static double combine(double a, double b) { return a != a || a > b ? a : b; }
};
struct Min {
  static constexpr double neutral = __builtin_inf();
  static HORNBOOK_INLINE Vec step(Vec a, Vec x, Vec) { return minNaN(x, a); }
  static HORNBOOK_INLINE Vec combine(Vec a, Vec b) { return minNaN(a, b); }
  static double combine(double a, double b) { return a != a || a < b ? a : b; }
};

// Contiguous elements, n <= rowBlock.
template <class Op, class T>
double reduceRow(const T* x, int64_t n, float shift) {
  const Vec neutral = set1(static_cast<float>(Op::neutral)), by = set1(shift);
  Vec a[4] = {neutral, neutral, neutral, neutral};
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W)
    for (int j = 0; j < 4; j++) a[j] = Op::step(a[j], load(x + i + j * W), by);
  forLanes(n - i, [&](int64_t k, auto part) { a[0] = inside(part, Op::step(a[0], load(x + i + k, part), by), a[0]); });
  float lanes[W];
  store(lanes, Op::combine(Op::combine(a[0], a[1]), Op::combine(a[2], a[3])));
  for (int half = W / 2; half > 0; half /= 2)
    for (int j = 0; j < half; j++) lanes[j] = static_cast<float>(Op::combine(static_cast<double>(lanes[j]), static_cast<double>(lanes[j + half])));
  return static_cast<double>(lanes[0]);
}

// Sums of squares for a norm are made in double, which neither overflows nor loses what is small.
template <class T>
double squaresOfRow(const T* x, int64_t n, float) {
  constexpr int ways = 16;
  double a[ways] = {};
  int64_t i = 0;
  for (; i + ways <= n; i += ways)
    for (int j = 0; j < ways; j++) a[j] += static_cast<double>(toFloat(x[i + j])) * static_cast<double>(toFloat(x[i + j]));
  for (int j = 0; i < n; i++, j++) a[j] += static_cast<double>(toFloat(x[i])) * static_cast<double>(toFloat(x[i]));
  for (int half = ways / 2; half > 0; half /= 2)
    for (int j = 0; j < half; j++) a[j] += a[j + half];
  return a[0];
}
template <class T>
void takeSquares(double* totals, const T* x, int64_t n) {
  for (int64_t i = 0; i < n; i++) totals[i] += static_cast<double>(toFloat(x[i])) * static_cast<double>(toFloat(x[i]));
}

// One row of x into the accumulators of n columns.
template <class Op, class T>
void takeRow(float* totals, const T* x, const float* shift, int64_t n) {
  forLanes(n, [&](int64_t i, auto part) { store(totals + i, Op::step(load(totals + i, part), load(x + i, part), load(shift + i, part)), part); });
}

// The loops of one operation, so that all around them is compiled once a dtype.
template <class T>
struct Loops {
  double neutral;
  double (*combine)(double, double);
  double (*row)(const T* x, int64_t n, float shift);
  void (*columns)(float* totals, const T* x, const float* shift, int64_t n);
  void (*wideColumns)(double* totals, const T* x, int64_t n);  // in place of columns, where given
};
template <class Op, class T>
constexpr Loops<T> loopsOf{Op::neutral, Op::combine, reduceRow<Op, T>, takeRow<Op, T>, nullptr};
template <class T>
constexpr Loops<T> squareLoops{0, Sum::combine, squaresOfRow<T>, nullptr, takeSquares<T>};

// Kept axes: x and the index of the output. Reduced axes: x alone.
struct Axes {
  Nest<2> kept;
  Nest<1> reduced;
  int64_t outputs, length, chunks;
};

// The reduction of elements [begin, end) at x, along the reduced axes.
template <class T>
double reduceAlong(const Loops<T>& loops, const T* x, const Nest<1>& reduced, int64_t begin, int64_t end, float shift, Source<T>& source) {
  const int64_t stride = reduced.innerStride(0);
  double total = loops.neutral;
  reduced.walk(begin, end, [&](const int64_t(&offset)[1], int64_t length, int64_t) {
    const int64_t block = stride == 1 ? rowBlock : chunkElements;
    for (int64_t start = 0; start < length; start += block) {
      const int64_t n = length - start < block ? length - start : block;
      total = loops.combine(total, loops.row(source.read(x + offset[0] + start * stride, stride, n), n, shift));
    }
  });
  return total;
}

// The same for n <= columnBlock outputs whose elements are neighbours in x, into totals[0 .. n).
template <class T>
void reduceColumns(const Loops<T>& loops, const T* x, const Nest<1>& reduced, int64_t begin, int64_t end, const double* shifts, double* totals, int64_t n) {
  float partial[columnBlock], shift[columnBlock];
  for (int64_t i = 0; i < n; i++) {
    totals[i] = loops.neutral;
    partial[i] = static_cast<float>(loops.neutral);
    shift[i] = shifts ? static_cast<float>(shifts[i]) : 0;
  }
  int64_t pending = 0;
  const auto flush = [&] {
    for (int64_t i = 0; i < n; i++) {
      totals[i] = loops.combine(totals[i], static_cast<double>(partial[i]));
      partial[i] = static_cast<float>(loops.neutral);
    }
    pending = 0;
  };
  const int64_t stride = reduced.innerStride(0);
  reduced.walk(begin, end, [&](const int64_t(&offset)[1], int64_t length, int64_t) {
    const T* row = x + offset[0];
    for (int64_t r = 0; r < length; r++, row += stride) {
      if (loops.wideColumns) {
        loops.wideColumns(totals, row, n);
        continue;
      }
      loops.columns(partial, row, shift, n);
      if (++pending == 128) flush();
    }
  });
  if (pending > 0) flush();
}

// Into results[output]: the reduction in double. Chunks of one output are combined in order.
template <class T>
void reduceAll(const Loops<T>& loops, const T* x, const Axes& axes, const double* shifts, double* results, Context& context) {
  const auto range = [&](int64_t chunk, int64_t& begin, int64_t& end) {
    begin = chunk * chunkLength;
    end = chunk + 1 == axes.chunks ? axes.length : begin + chunkLength;
  };
  double* partials = axes.chunks == 1 ? results : context.scratch<double>(axes.outputs * axes.chunks);
  const int64_t perOutput = axes.length < chunkLength ? axes.length : chunkLength;
  const int64_t width = axes.kept.inner();
  if (axes.kept.innerStride(0) == 1 && width >= 8 && (axes.reduced.innerStride(0) != 1 || axes.length == 1)) {
    // A unit is a chunk of a block of columns. Blocks are narrower where there would be too few to share out.
    const int64_t block = axes.outputs * axes.chunks >= 8 * columnBlock ? columnBlock : 64;
    const int64_t blocks = ceilDivide(width, block), units = axes.outputs / width * blocks * axes.chunks;
    parallelRanges(context, units, ceilDivide(taskElements, block * (perOutput > 0 ? perOutput : 1)), [&](int64_t first, int64_t last) {
      for (int64_t unit = first; unit < last; unit++) {
        const int64_t chunk = unit % axes.chunks, column = unit / axes.chunks % blocks * block;
        int64_t offset[2], begin, end;
        axes.kept.offsetsOf(unit / axes.chunks / blocks * width, offset);
        range(chunk, begin, end);
        const int64_t n = width - column < block ? width - column : block, output = offset[1] + column;
        double totals[columnBlock];
        reduceColumns(loops, x + offset[0] + column, axes.reduced, begin, end, shifts ? shifts + output : nullptr, totals, n);
        for (int64_t i = 0; i < n; i++) partials[(output + i) * axes.chunks + chunk] = totals[i];
      }
    });
  } else {
    parallelRanges(context, axes.outputs * axes.chunks, rowsPerTask(perOutput), [&](int64_t first, int64_t last) {
      Source<T> source;
      for (int64_t unit = first; unit < last; unit++) {
        const int64_t output = unit / axes.chunks;
        int64_t offset[2], begin, end;
        axes.kept.offsetsOf(output, offset);
        range(unit % axes.chunks, begin, end);
        partials[unit] = reduceAlong(loops, x + offset[0], axes.reduced, begin, end, shifts ? static_cast<float>(shifts[output]) : 0, source);
      }
    });
  }
  if (axes.chunks == 1) return;
  for (int64_t output = 0; output < axes.outputs; output++) {
    double total = loops.neutral;
    for (int64_t chunk = 0; chunk < axes.chunks; chunk++) total = loops.combine(total, partials[output * axes.chunks + chunk]);
    results[output] = total;
  }
}

template <class T>
void reduceFloats(const ReduceParams& p, const Axes& axes, Context& context) {
  const T* x = p.x.as<T>();
  double* results = context.scratch<double>(axes.outputs);
  const double n = static_cast<double>(axes.length);
  const auto finish = [&](auto f) {
    withFloatType(p.y.dtype, [&](auto t) {
      using Y = decltype(t);
      Y* y = p.y.as<Y>();
      parallelRanges(context, axes.outputs, 4 * taskElements, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) y[i] = fromFloat<Y>(static_cast<float>(f(results[i])));
      });
    });
  };
  switch (p.op) {
    case ReduceOp::sum:
      reduceAll(loopsOf<Sum, T>, x, axes, nullptr, results, context);
      return finish([](double s) { return s; });
    case ReduceOp::mean:
      reduceAll(loopsOf<Sum, T>, x, axes, nullptr, results, context);
      return finish([=](double s) { return s / n; });
    case ReduceOp::max:
      reduceAll(loopsOf<Max, T>, x, axes, nullptr, results, context);
      return finish([](double s) { return s; });
    case ReduceOp::min:
      reduceAll(loopsOf<Min, T>, x, axes, nullptr, results, context);
      return finish([](double s) { return s; });
    case ReduceOp::prod:
      reduceAll(loopsOf<Product, T>, x, axes, nullptr, results, context);
      return finish([](double s) { return s; });
    case ReduceOp::variance: {
      double* means = context.scratch<double>(axes.outputs);
      reduceAll(loopsOf<Sum, T>, x, axes, nullptr, means, context);
      for (int64_t i = 0; i < axes.outputs; i++) means[i] /= n;
      reduceAll(loopsOf<SquaredDeviations, T>, x, axes, means, results, context);
      return finish([=](double s) { return s / (n - p.correction); });
    }
    case ReduceOp::norm2:
      reduceAll(squareLoops<T>, x, axes, nullptr, results, context);
      return finish([](double s) { return std::sqrt(s); });
  }
}

// Integers wrap around.
template <class T>
void reduceIntegers(const ReduceParams& p, const Axes& axes, Context& context) {
  if (p.op == ReduceOp::mean || p.op == ReduceOp::variance || p.op == ReduceOp::norm2) {
    return context.fail(0, "reduce: mean, variance and norm2 take floats, not integers");
  }
  withType(p.y.dtype, [&](auto t) {
    using Y = decltype(t);
    parallelRanges(context, axes.outputs, rowsPerTask(axes.length), [&](int64_t first, int64_t last) {
      for (int64_t output = first; output < last; output++) {
        int64_t offset[2];
        axes.kept.offsetsOf(output, offset);
        uint32_t wrapped = p.op == ReduceOp::prod ? 1 : 0;
        T extreme = 0;
        axes.reduced.walk(0, axes.length, [&](const int64_t(&at)[1], int64_t n, int64_t index) {
          const T* from = p.x.as<T>() + offset[0] + at[0];
          const int64_t stride = axes.reduced.innerStride(0);
          if (index == 0) extreme = *from;
          for (int64_t i = 0; i < n; i++) {
            const T v = from[i * stride];
            switch (p.op) {
              case ReduceOp::sum: wrapped += static_cast<uint32_t>(v); break;
              case ReduceOp::prod: wrapped *= static_cast<uint32_t>(v); break;
              case ReduceOp::max: extreme = v > extreme ? v : extreme; break;
              default: extreme = v < extreme ? v : extreme;
            }
          }
        });
        const bool folds = p.op == ReduceOp::sum || p.op == ReduceOp::prod;
        const int32_t value = folds ? static_cast<int32_t>(wrapped) : static_cast<int32_t>(extreme);
        p.y.as<Y>()[output] = isFloat<Y> ? convert<Y>(value) : static_cast<Y>(value);
      }
    });
  });
}

}  // namespace

void reduce(const ReduceParams& p, Context& context) {
  const int keptRank = p.x.rank - p.reducedAxes;
  TensorView output = p.x;  // the index of the output, as a tensor that runs along the kept axes
  int64_t outputs = 1;
  for (int i = keptRank - 1; i >= 0; i--) {
    output.strides[i] = outputs;
    outputs *= output.shape[i];
  }
  if (outputs == 0) return;
  Axes axes{Nest<2>({&p.x, &output}, 0, keptRank), Nest<1>({&p.x}, keptRank, p.x.rank), outputs, 0, 1};
  axes.length = axes.reduced.elements();
  axes.chunks = axes.length > 2 * chunkLength ? ceilDivide(axes.length, chunkLength) : 1;
  switch (p.x.dtype) {
    case DType::f32: return reduceFloats<float>(p, axes, context);
    case DType::bf16: return reduceFloats<bf16>(p, axes, context);
    case DType::i32: return reduceIntegers<int32_t>(p, axes, context);
    case DType::u8: return reduceIntegers<uint8_t>(p, axes, context);
  }
}

}  // namespace hornbook::kernels
