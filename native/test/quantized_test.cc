// Products with quantised weights: a row's bits do not depend on how many others there are, for every format. So what the conformance suite says of products of
// few rows holds for the paths of many too, among them the one on tiles, which no other test of this machine may reach. Nor do they depend on threads.
// The best of a product are those that its numbers, sorted, begin with, in whatever layout the weights lie; and every layout gives back the bytes it was made of.
#include <algorithm>

#include "../generated/contract.h"
#include "../kernels/sort_key.h"
#include "tensors.h"
#include "thread_context.h"

using namespace hornbook;
using namespace hornbook::testing;

namespace {

struct Format {
  BlockFormat format;
  int64_t size, bytes;
};
constexpr Format formats[] = {
    {BlockFormat::q4_0, 32, 18},   {BlockFormat::q4_1, 32, 20},   {BlockFormat::q5_0, 32, 22},   {BlockFormat::q5_1, 32, 24},  {BlockFormat::q8_0, 32, 34},
    {BlockFormat::q2_k, 256, 84},  {BlockFormat::q3_k, 256, 110}, {BlockFormat::q4_k, 256, 144}, {BlockFormat::q5_k, 256, 176}, {BlockFormat::q6_k, 256, 210},
    {BlockFormat::iq4_nl, 32, 18}, {BlockFormat::iq4_xs, 256, 136}, {BlockFormat::mxfp4, 32, 17},
};

void run(const Format& format, uint64_t seed) {
  Numbers numbers(seed);
  const DType dtype = numbers.coin() ? DType::bf16 : DType::f32;
  const int64_t m = numbers.integer(9, 70), n = numbers.integer(1, 50), blocks = numbers.integer(1, format.size == 32 ? 9 : 2), k = blocks * format.size;
  Tensor a(dtype, {m, k}), w(DType::u8, {n, blocks * format.bytes}), bias(DType::f32, {n}), many(DType::f32, {m, n}), few(DType::f32, {m, n}), threads(DType::f32, {m, n});
  a.normal(numbers), bias.normal(numbers);
  // Any bytes are a block; without this bit no half among them is infinite or NaN.
  for (int64_t i = 0; i < w.count(); i++) w.set(i, static_cast<double>(numbers.integer(0, 255) & 0xbf));
  QuantizedMatmulParams p = {a.view(), w.view(), bias.view(), many.view(), format.format, BlockLayout::rows, Activation::geluTanh};
  ThreadContext one(1), three(3);
  kernels::quantizedMatmul(p, one);
  p.c = threads.view();
  kernels::quantizedMatmul(p, three);
  for (int64_t row = 0; row < m; row += 5) {
    const int64_t rows = m - row < 5 ? m - row : 5;
    p.a = a.view(), p.c = few.view();
    p.a.shape[0] = p.c.shape[0] = rows;
    p.a.data = p.a.as<char>() + row * k * bytesPerElement(dtype);
    p.c.data = p.c.as<float>() + row * n;
    kernels::quantizedMatmul(p, one);
  }
  char what[80];
  std::snprintf(what, sizeof what, "format %d, %d x %d x %d, seed %d: many rows as few", static_cast<int>(format.format), static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), static_cast<int>(seed));
  expect(what, many.bytes() == few.bytes());
  expect("threads", many.bytes() == threads.bytes());
  expect("finite", std::isfinite(many.get(0)));
}

void runBest(BlockLayout layout, uint64_t seed) {
  Numbers numbers(seed);
  const DType dtype = numbers.coin() ? DType::bf16 : DType::f32;
  const int64_t m = numbers.coin(0.8) ? numbers.integer(1, 8) : numbers.integer(9, 20), n = numbers.coin(0.7) ? numbers.integer(1, 300) : numbers.integer(1000, 2300);
  const int64_t blocks = numbers.integer(1, 9), k = blocks * 32, choices = numbers.coin() ? n : numbers.integer(1, 2 * n), most = std::min(n, choices);
  const int64_t count = numbers.coin() ? 1 : numbers.coin() ? std::min<int64_t>(most, numbers.integer(2, 70)) : most;
  Tensor a(dtype, {m, k}), w(DType::u8, {n, blocks * 34}), laid(DType::u8, {n, blocks * 34}), all(DType::f32, {m, n}), ids(DType::i32, {m, count}), scores(DType::f32, {m, count});
  a.normal(numbers);
  // Scales are halves of any bits, infinite and NaN among them where the seed says so.
  const int upper = seed % 4 == 0 ? 0xff : 0xbf;
  for (int64_t i = 0; i < w.count(); i++) w.set(i, static_cast<double>(numbers.integer(0, 255) & (i % 34 == 1 ? upper : 0xff)));
  laid = w;
  ThreadContext one(1), three(3);
  kernels::quantizedMatmul({a.view(), w.view(), {}, all.view(), BlockFormat::q8_0, BlockLayout::rows, Activation::none}, one);
  kernels::interleave({laid.view(), BlockFormat::q8_0, layout, 0}, three);
  kernels::quantizedBest({a.view(), laid.view(), ids.view(), scores.view(), BlockFormat::q8_0, layout, static_cast<int32_t>(choices)}, three);
  kernels::interleave({laid.view(), BlockFormat::q8_0, layout, 1}, three);
  expect("a layout and back", laid.bytes() == w.bytes());
  bool same = true;
  for (int64_t row = 0; row < m; row++) {
    std::vector<std::pair<uint32_t, int64_t>> order;
    for (int64_t j = 0; j < most; j++) order.push_back({~kernels::sortKey(static_cast<float>(all.get(row * n + j))), j});
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < count; i++) {
      const double score = scores.get(row * count + i), expected = all.get(row * n + order[static_cast<size_t>(i)].second);
      same = same && ids.get(row * count + i) == static_cast<double>(order[static_cast<size_t>(i)].second) && (score == expected || (score != score && expected != expected));
    }
  }
  char what[80];
  std::snprintf(what, sizeof what, "the best of layout %d, seed %d", static_cast<int>(layout), static_cast<int>(seed));
  expect(what, same);
}

}  // namespace

int main() {
  for (const BlockLayout layout : {BlockLayout::rows, BlockLayout::panels, BlockLayout::split})
    for (uint64_t seed = 0; seed < 60; seed++) runBest(layout, seed);
  for (const Format& format : formats)
    for (uint64_t seed = 0; seed < 12; seed++) run(format, seed);
  return finish("quantized");
}
