// conv1d and conv1dBackward against loops in double, over random shapes, strides, paddings, dilations and groups.
#include "../generated/contract.h"
#include "tensors.h"
#include "thread_context.h"

using namespace hornbook;
using namespace hornbook::testing;

namespace {

void run(uint64_t seed) {
  Numbers numbers(seed);
  const DType dtype = numbers.coin() ? DType::bf16 : DType::f32;
  const bool depthwise = numbers.coin(0.3), causal = numbers.coin(0.3);
  const int64_t groups = depthwise ? numbers.integer(1, 40) : numbers.integer(1, 3);
  const int64_t in = depthwise ? 1 : numbers.integer(1, 12), out = depthwise ? 1 : numbers.integer(1, 20), kernel = numbers.integer(1, 5);
  const int64_t batch = numbers.integer(1, 3), time = seed % 12 == 0 ? numbers.integer(2000, 5000) : numbers.integer(1, 150);
  const int64_t stride = causal || numbers.coin() ? 1 : numbers.integer(1, 4), dilation = numbers.integer(1, 4);
  const int64_t reach = (kernel - 1) * dilation, padding = causal ? reach : numbers.integer(0, 8);
  const int64_t outTime = causal ? time : (time + 2 * padding - reach - 1 < 0 ? 0 : (time + 2 * padding - reach - 1) / stride + 1);
  Tensor x(dtype, {batch, groups * in, time}), weight(dtype, {groups * out, in, kernel}), bias(DType::f32, {groups * out});
  Tensor dy(dtype, {batch, groups * out, outTime}), dweight(DType::f32, {groups * out, in, kernel});
  x.normal(numbers), weight.normal(numbers), bias.normal(numbers), dy.normal(numbers);
  const bool withBias = numbers.coin();
  std::vector<double> y(static_cast<size_t>(dy.count()), 0), dx(static_cast<size_t>(x.count()), 0), dw(static_cast<size_t>(weight.count()), 0);
  const std::vector<double> xs = x.values(), ws = weight.values(), gs = dy.values();
  for (int64_t b = 0; b < batch; b++)
    for (int64_t o = 0; o < groups * out; o++)
      for (int64_t t = 0; t < outTime; t++) {
        const int64_t at = (b * groups * out + o) * outTime + t;
        if (withBias) y[at] = bias.get(o);
        for (int64_t i = 0; i < in; i++)
          for (int64_t j = 0; j < kernel; j++) {
            const int64_t from = t * stride + j * dilation - padding;
            if (from < 0 || from >= time) continue;
            const int64_t xAt = (b * groups * in + o / out * in + i) * time + from, wAt = (o * in + i) * kernel + j;
            y[at] += ws[wAt] * xs[xAt];
            dx[xAt] += ws[wAt] * gs[at];
            dw[wAt] += xs[xAt] * gs[at];
          }
      }
  const double tolerance = dtype == DType::bf16 ? 4e-3 : 3e-6;
  std::vector<unsigned char> first[3];
  for (int round = 0; round < 2; round++) {
    ThreadContext context(round == 0 ? 1 : 3);
    Tensor result(dtype, {batch, groups * out, outTime}), dxResult(dtype, {batch, groups * in, time});
    Conv1dParams p;
    p.x = x.view(), p.weight = weight.view(), p.y = result.view();
    if (withBias) p.bias = bias.view();
    p.stride = static_cast<int32_t>(stride), p.padding = static_cast<int32_t>(padding), p.dilation = static_cast<int32_t>(dilation);
    p.groups = static_cast<int32_t>(groups);
    kernels::conv1d(p, context);
    Conv1dBackwardParams g;
    g.x = p.x, g.weight = p.weight, g.dy = dy.view(), g.dx = dxResult.view(), g.dweight = dweight.view();
    g.stride = p.stride, g.padding = p.padding, g.dilation = p.dilation, g.groups = p.groups;
    kernels::conv1dBackward(g, context);
    expectClose("conv1d y", result.values(), y, tolerance);
    expectClose("conv1d dx", dxResult.values(), dx, tolerance);
    expectClose("conv1d dweight", dweight.values(), dw, 3e-6);
    expect("conv1d edges", result.gapsUntouched() && dxResult.gapsUntouched() && dweight.gapsUntouched());
    if (round == 0) first[0] = result.bytes(), first[1] = dxResult.bytes(), first[2] = dweight.bytes();
    expect("conv1d same bits", first[0] == result.bytes() && first[1] == dxResult.bytes() && first[2] == dweight.bytes());
  }
}

}  // namespace

int main() {
  for (uint64_t seed = 0; seed < 200; seed++) run(seed);
  return finish("conv1d");
}
