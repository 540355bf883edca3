// The loss of a language model and its gradient. A row of logits is read once for its log-sum-exp, block by block with a running maximum, and
// once more for the gradient, when it is likely still in cache; each element of the gradient depends on the same element of the logits, so
// the gradient may overwrite them. Partial sums of a block are floats, of the row doubles: rows of hundreds of thousands stay exact to float.
//
// With p = softmax(logits): d loss / d logits_j = p_j (1 + 2 zLoss lse) - s / n - (1 - s) [j = target].
#include <cmath>

#include "../generated/contract.h"
#include "simd.h"

namespace hornbook::kernels {

using namespace simd;

namespace {

constexpr int64_t block = 2048;

struct Statistics {
  float logSumExp;
  double sum;  // of the logits, where asked for
};

template <class T>
Statistics statistics(const T* x, int64_t n, bool wantSum) {
  const float infinity = __builtin_inff();
  float largest = -infinity;
  double exponentials = 0, total = 0;
  for (int64_t first = 0; first < n; first += block) {
    const int64_t count = n - first < block ? n - first : block;
    Vec top = set1(-infinity), sum = zero();
    forLanes(count, [&](int64_t i, auto part) { top = max(top, inside(part, load(x + first + i, part), set1(-infinity))); });
    const float blockLargest = maxOf(top);
    if (blockLargest > largest) {
      exponentials *= std::exp(static_cast<double>(largest) - blockLargest);
      largest = blockLargest;
    }
    const Vec shift = set1(largest == -infinity ? 0.0f : largest);
    forLanes(count, [&](int64_t i, auto part) { sum += inside(part, exp(load(x + first + i, part) - shift), zero()); });
    exponentials += simd::sum(sum);
    if (wantSum) {
      Vec plain = zero();
      forLanes(count, [&](int64_t i, auto part) { plain += load(x + first + i, part); });
      total += simd::sum(plain);
    }
  }
  // Rounded once at the end; of a row without any finite or infinite logit it is -infinity, with a NaN in it NaN.
  return {static_cast<float>(largest + std::log(exponentials)), total};
}

template <class T, class G>
void row(const CrossEntropyParams& a, int64_t i, const T* x, G* gradient, Context& context) {
  const int64_t n = a.logits.last();
  const int32_t target = a.targets.as<int32_t>()[i];
  float& loss = a.loss.as<float>()[i];
  const bool outside = target < 0 || target >= n;
  if (target == a.ignoreIndex || outside) {
    if (target != a.ignoreIndex)
      context.fail(i, "target %d at position %lld is outside [0, %lld) and is not ignoreIndex (%d).", target, static_cast<long long>(i), static_cast<long long>(n),
                   a.ignoreIndex);
    loss = 0;
    if (gradient) forLanes(n, [&](int64_t j, auto part) { store(gradient + j, zero(), part); });
    return;
  }
  const float smoothing = a.labelSmoothing, wanted = toFloat(x[target]);
  const Statistics s = statistics(x, n, smoothing > 0);
  const float lse = s.logSumExp;
  double value = (1.0 - smoothing) * (static_cast<double>(lse) - wanted) + static_cast<double>(a.zLoss) * lse * lse;
  if (smoothing > 0) value += smoothing * (lse - s.sum / static_cast<double>(n));
  loss = static_cast<float>(value);
  if (!gradient) return;
  const float factor = 1.0f + 2.0f * a.zLoss * lse, spread = smoothing / static_cast<float>(n);
  const auto derivative = [&](Vec logit) { return fma(exp(logit - set1(lse)), set1(factor), set1(-spread)); };
  forLanes(n, [&](int64_t j, auto part) { store(gradient + j, derivative(load(x + j, part)), part); });
  gradient[target] = fromFloat<G>((derivative(set1(wanted)) - set1(1.0f - smoothing)).v[0]);
}

template <class T, class G>
void rows(const CrossEntropyParams& a, Context& context) {
  const int64_t count = a.logits.rows(), n = a.logits.last();
  const int64_t share = n >= 16384 ? 1 : 16384 / (n > 0 ? n : 1);
  context.parallel((count + share - 1) / share, [&](int64_t task, int) {
    for (int64_t i = task * share; i < count && i < (task + 1) * share; i++)
      row(a, i, a.logits.as<T>() + i * a.logits.strides[0], a.dlogits ? a.dlogits.as<G>() + i * a.dlogits.strides[0] : nullptr, context);
  });
}

}  // namespace

void crossEntropy(const CrossEntropyParams& a, Context& context) {
  const bool half = a.logits.dtype == DType::bf16, halfGradient = a.dlogits ? a.dlogits.dtype == DType::bf16 : half;
  if (half) return halfGradient ? rows<bf16, bf16>(a, context) : rows<bf16, float>(a, context);
  return halfGradient ? rows<float, bf16>(a, context) : rows<float, float>(a, context);
}

}  // namespace hornbook::kernels
