// The sum of each column, which is the gradient of a bias. A task takes a stripe of columns and runs down all rows in blocks, so that the order of the
// additions is that of the blocks, and rounding errors grow with their number rather than with the number of rows.
#include "../generated/contract.h"
#include "simd.h"

namespace hornbook {
namespace {

constexpr int64_t stripe = 8 * simd::W;
constexpr int64_t blockRows = 64;

template <class T, class Lanes>
HORNBOOK_INLINE void sumColumns(const T* x, int64_t rows, int64_t rowStride, float* y, bool accumulate, Lanes lanes) {
  simd::Vec total = accumulate ? simd::load<float>(y, lanes) : simd::zero();
  for (int64_t block = 0; block < rows; block += blockRows) {
    const int64_t end = block + blockRows < rows ? block + blockRows : rows;
    simd::Vec even = simd::zero(), odd = simd::zero();
    int64_t i = block;
    for (; i + 2 <= end; i += 2) {
      even += simd::load<T>(x + i * rowStride, lanes);
      odd += simd::load<T>(x + (i + 1) * rowStride, lanes);
    }
    if (i < end) even += simd::load<T>(x + i * rowStride, lanes);
    total += even + odd;
  }
  simd::store<float>(y, total, lanes);
}

template <class T>
void columnSumOf(const ColumnSumParams& p, Context& context) {
  const int64_t m = p.x.shape[0], n = p.x.shape[1];
  context.parallel((n + stripe - 1) / stripe, [&](int64_t task, int) {
    const int64_t first = task * stripe;
    const int64_t columns = n - first < stripe ? n - first : stripe;
    simd::forLanes(columns, [&](int64_t j, auto lanes) {
      sumColumns(p.x.as<T>() + first + j, m, p.x.strides[0], p.y.as<float>() + first + j, p.accumulate != 0, lanes);
    });
  });
}

}  // namespace

void kernels::columnSum(const ColumnSumParams& p, Context& context) {
  if (p.y.elements() == 0) return;
  if (p.x.dtype == DType::f32) {
    columnSumOf<float>(p, context);
  } else {
    columnSumOf<bf16>(p, context);
  }
}

}  // namespace hornbook
