// crossEntropy against the formula in double: both float types, ignored rows, smoothing, z-loss, gradient in place or beside, bad targets.
#include "../generated/contract.h"
#include "tensors.h"
#include "thread_context.h"

using namespace hornbook;
using namespace hornbook::testing;

namespace {

void run(uint64_t seed) {
  Numbers numbers(seed);
  const DType dtype = numbers.coin() ? DType::bf16 : DType::f32;
  const int64_t rows = numbers.integer(1, 9), n = seed % 10 == 0 ? numbers.integer(5000, 60000) : numbers.integer(1, 200), gap = numbers.integer(0, 5);
  const float smoothing = numbers.coin() ? static_cast<float>(0.3 * numbers.uniform()) : 0, zLoss = numbers.coin() ? 1e-3f : 0;
  const double scale = numbers.coin(0.2) ? 60 : 2;
  Tensor logits(dtype, {rows, n}, {n + gap, 1}), targets(DType::i32, {rows}), loss(DType::f32, {rows});
  logits.normal(numbers, scale);
  for (int64_t i = 0; i < rows; i++) targets.set(i, numbers.coin(0.2) ? -100 : static_cast<double>(numbers.integer(0, n - 1)));
  if (smoothing == 0 && n > 1)
    for (int64_t i = 0; i < rows; i++) {
      const int64_t hidden = numbers.integer(0, n - 1);
      if (static_cast<double>(hidden) != targets.get(i)) logits.set(i * n + hidden, -INFINITY);
    }
  std::vector<double> losses(static_cast<size_t>(rows), 0), gradient(static_cast<size_t>(rows * n), 0);
  for (int64_t i = 0; i < rows; i++) {
    if (targets.get(i) == -100) continue;
    double top = -INFINITY, sum = 0, total = 0;
    for (int64_t j = 0; j < n; j++) top = std::fmax(top, logits.get(i * n + j));
    for (int64_t j = 0; j < n; j++) sum += std::exp(logits.get(i * n + j) - top), total += logits.get(i * n + j);
    const double lse = top + std::log(sum);
    const int64_t target = static_cast<int64_t>(targets.get(i));
    losses[i] = (1 - smoothing) * (lse - logits.get(i * n + target)) + zLoss * lse * lse;
    if (smoothing > 0) losses[i] += smoothing * (lse - total / static_cast<double>(n));
    for (int64_t j = 0; j < n; j++)
      gradient[i * n + j] = std::exp(logits.get(i * n + j) - lse) * (1 + 2 * zLoss * lse) - smoothing / static_cast<double>(n) - (j == target ? 1 - smoothing : 0);
  }
  const DType other = numbers.coin() ? DType::bf16 : DType::f32;
  const bool inPlace = numbers.coin();
  const Tensor original = logits;
  std::vector<unsigned char> first;
  for (int round = 0; round < 2; round++) {
    ThreadContext context(round == 0 ? 1 : 3);
    logits = original;
    Tensor beside(other, {rows, n}, {n + gap, 1});
    CrossEntropyParams p;
    p.logits = logits.view(), p.targets = targets.view(), p.loss = loss.view(), p.dlogits = inPlace ? logits.view() : beside.view();
    p.ignoreIndex = -100, p.labelSmoothing = smoothing, p.zLoss = zLoss;
    kernels::crossEntropy(p, context);
    Tensor& result = inPlace ? logits : beside;
    expectClose("loss", loss.values(), losses, 1e-6);
    expectClose("dlogits", result.values(), gradient, result.dtype() == DType::bf16 ? 4e-3 : scale > 10 ? 2e-5 : 2e-6, 0.1);
    expect("dlogits gaps", result.gapsUntouched());
    if (round == 0) first = result.bytes();
    expect("same bits", first == result.bytes());
    // The loss alone.
    const std::vector<double> before = loss.values();
    logits = original;
    p.logits = logits.view(), p.dlogits = TensorView{};
    kernels::crossEntropy(p, context);
    expect("loss without gradient", before == loss.values());
  }
}

}  // namespace

int main() {
  for (uint64_t seed = 0; seed < 200; seed++) run(seed);
  Numbers numbers(1);
  Tensor logits(DType::f32, {3, 5}), targets(DType::i32, {3}), loss(DType::f32, {3});
  logits.normal(numbers);
  targets.set(0, 4), targets.set(1, 5), targets.set(2, -3);
  CrossEntropyParams p;
  p.logits = logits.view(), p.targets = targets.view(), p.loss = loss.view();
  p.ignoreIndex = -100, p.labelSmoothing = 0, p.zLoss = 0;
  ThreadContext context(2);
  kernels::crossEntropy(p, context);
  expect(context.failure.c_str(), context.failure == "target 5 at position 1 is outside [0, 5) and is not ignoreIndex (-100).");
  return finish("cross entropy");
}
