// Along the last axis: the place of the extreme, running sums, the first k in sorted order.
#include <algorithm>

#include "../generated/contract.h"
#include "sort_key.h"
#include "walk.h"

namespace hornbook::kernels {
namespace {

template <class T>
HORNBOOK_INLINE auto number(T x) {
  if constexpr (isFloat<T>) return simd::toFloat(x);
  else return x;
}

// The index of the first NaN, else of the first extreme.
template <class T>
int64_t extremeOf(const T* x, int64_t n, bool min) {
  auto best = number(x[0]);
  for (int64_t i = 0; i < n; i++) {
    const auto v = number(x[i]);
    if constexpr (isFloat<T>) {
      if (v != v) return i;
    }
    best = (min ? v < best : v > best) ? v : best;
  }
  for (int64_t i = 0; i < n; i++)
    if (number(x[i]) == best) return i;
  return 0;
}

template <class T>
int64_t extremeOfFloats(const T* x, int64_t n, bool min) {
  using namespace simd;
  // Negation turns the smallest into the largest.
  const Vec sign = fromBits(set1(min ? INT32_MIN : 0)), lowest = set1(-__builtin_inff());
  const auto read = [&](int64_t i, auto part) { return inside(part, fromBits(bitsOf(load(x + i, part)) ^ bitsOf(sign)), lowest); };
  Vec most = lowest;
  Mask nan = zero() != zero();
  forLanes(n, [&](int64_t i, auto part) {
    const Vec v = read(i, part);
    nan = nan | isNaN(v);
    most = max(most, v);
  });
  if (any(nan)) return extremeOf(x, n, min);
  const Vec wanted = set1(maxOf(most));
  int64_t found = n;
  for (int64_t i = 0; i < n && found == n; i += W) {
    const Mask hit = (n - i >= W ? read(i, All{}) : read(i, First{static_cast<int>(n - i)})) == wanted;
    if (!any(hit)) continue;
    for (int j = 0; found == n; j++)
      if (lane(hit, j)) found = i + j;
  }
  return found;
}

}  // namespace

void argReduce(const ArgReduceParams& p, Context& context) {
  const int64_t n = p.x.last();
  if (n == 0) return;
  withType(p.x.dtype, [&](auto t) {
    using T = decltype(t);
    parallelRanges(context, p.y.elements(), rowsPerTask(n), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const T* x = p.x.as<T>() + row * n;
        if constexpr (isFloat<T>) p.y.as<int32_t>()[row] = static_cast<int32_t>(extremeOfFloats(x, n, p.min != 0));
        else p.y.as<int32_t>()[row] = static_cast<int32_t>(extremeOf(x, n, p.min != 0));
      }
    });
  });
}

void cumsum(const CumsumParams& p, Context& context) {
  const int64_t n = p.x.last();
  if (n == 0) return;
  withType(p.x.dtype, [&](auto t) {
    using T = decltype(t);
    parallelRanges(context, p.x.rows(), rowsPerTask(n), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const int64_t step = p.reverse ? -1 : 1;
        const T* x = p.x.as<T>() + row * n + (p.reverse ? n - 1 : 0);
        T* y = p.y.as<T>() + row * n + (p.reverse ? n - 1 : 0);
        if constexpr (isFloat<T>) {
          double sum = 0;
          for (int64_t i = 0; i < n; i++, x += step, y += step) *y = simd::fromFloat<T>(static_cast<float>(sum += static_cast<double>(simd::toFloat(*x))));
        } else {
          uint32_t sum = 0;
          for (int64_t i = 0; i < n; i++, x += step, y += step) *y = static_cast<T>(sum += static_cast<uint32_t>(*x));
        }
      }
    });
  });
}

// Key and index in one word make the order total, so that any sorting algorithm is a stable one.
void topK(const TopKParams& p, Context& context) {
  const int64_t n = p.x.last(), k = p.values.last(), rows = p.x.rows();
  if (n == 0 || k == 0 || rows == 0) return;
  uint64_t* scratch = context.scratch<uint64_t>(context.lanes() * n);
  const int64_t perTask = ceilDivide(rowsPerTask(n), 8);
  withType(p.x.dtype, [&](auto t) {
    using T = decltype(t);
    context.parallel(ceilDivide(rows, perTask), [&](int64_t task, int lane) {
      uint64_t* words = scratch + lane * n;
      for (int64_t row = task * perTask; row < std::min(rows, (task + 1) * perTask); row++) {
        const T* x = p.x.as<T>() + row * n;
        const uint32_t flip = p.descending ? UINT32_MAX : 0;
        for (int64_t i = 0; i < n; i++) words[i] = static_cast<uint64_t>(sortKey(x[i]) ^ flip) << 32 | static_cast<uint64_t>(i);
        if (k < n) std::nth_element(words, words + k - 1, words + n);
        std::sort(words, words + std::min(k, n));
        for (int64_t j = 0; j < std::min(k, n); j++) {
          const auto index = static_cast<uint32_t>(words[j]);
          p.indices.as<int32_t>()[row * k + j] = static_cast<int32_t>(index);
          p.values.as<T>()[row * k + j] = x[index];
        }
      }
    });
  });
}

}  // namespace hornbook::kernels
