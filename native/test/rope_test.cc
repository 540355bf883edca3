// rope against the formula, both layouts of pairs, there and back, strided and in place; positions outside the table.
#include "../generated/contract.h"
#include "tensors.h"
#include "thread_context.h"

using namespace hornbook;
using namespace hornbook::testing;

namespace {

void run(uint64_t seed) {
  Numbers numbers(seed);
  const DType dtype = numbers.coin() ? DType::bf16 : DType::f32;
  const int64_t batch = numbers.integer(1, 3), time = numbers.integer(1, 40), heads = numbers.integer(1, 5), r = numbers.integer(1, 70),
                d = 2 * r + (numbers.coin() ? numbers.integer(0, 30) : 0), limit = 64, gap = numbers.integer(0, 40);
  const int64_t row = heads * d + gap;
  const bool interleaved = numbers.coin(), inverse = numbers.coin(), shared = numbers.coin(), inPlace = numbers.coin();
  Tensor x(dtype, {batch, time, heads, d}, {time * row, row, d, 1}), y = x, cosine(DType::f32, {limit, r}), sine(DType::f32, {limit, r});
  Tensor positions(DType::i32, {batch, time}, {shared ? 0 : time, 1});
  x.normal(numbers);
  for (int64_t i = 0; i < limit * r; i++) {
    const double angle = 6.3 * numbers.uniform();
    cosine.set(i, std::cos(angle)), sine.set(i, std::sin(angle));
  }
  for (int64_t i = 0; i < batch * time; i++) positions.set(i, static_cast<double>(numbers.integer(0, limit - 1)));
  std::vector<double> expected = x.values();
  for (int64_t token = 0; token < batch * time; token++)
    for (int64_t h = 0; h < heads; h++)
      for (int64_t i = 0; i < r; i++) {
        double& u = expected[(token * heads + h) * d + (interleaved ? 2 * i : i)];
        double& v = expected[(token * heads + h) * d + (interleaved ? 2 * i + 1 : i + r)];
        const int64_t at = static_cast<int64_t>(positions.get(token)) * r + i;
        const double c = cosine.get(at), s = inverse ? -sine.get(at) : sine.get(at), before = u;
        u = before * c - v * s;
        v = before * s + v * c;
      }
  RopeParams p;
  p.x = x.view(), p.cos = cosine.view(), p.sin = sine.view(), p.positions = positions.view(), p.y = inPlace ? x.view() : y.view();
  p.interleaved = interleaved, p.inverse = inverse;
  ThreadContext context(3);
  kernels::rope(p, context);
  const Tensor& result = inPlace ? x : y;
  expectClose("rope", result.values(), expected, dtype == DType::bf16 ? 4e-3 : 1e-6);
  expect("rope gaps", result.gapsUntouched());
}

}  // namespace

int main() {
  for (uint64_t seed = 0; seed < 200; seed++) run(seed);
  Tensor x(DType::f32, {1, 2, 1, 2}), table(DType::f32, {4, 1}), positions(DType::i32, {1, 2});
  positions.set(0, 3), positions.set(1, 4);
  RopeParams p;
  p.x = p.y = x.view(), p.cos = p.sin = table.view(), p.positions = positions.view(), p.interleaved = p.inverse = 0;
  ThreadContext context(1);
  kernels::rope(p, context);
  expect(context.failure.c_str(), context.failure == "position 4 of token 1 is outside [0, 4).");
  return finish("rope");
}
