// Measures products with quantised weights. Reads lines "format m n k repeats" from standard input and answers each with the seconds of its fastest and its
// median run, GFLOP/s and GB/s of weights (of the median). A product of few rows takes its weights from memory: copies in turn, more than a cache holds.
//
// With one thread the seconds are those of the processor, which other programs disturb less.
//
//   c++ -std=c++20 -O3 -fno-exceptions -fno-rtti -ffp-contract=off -fno-math-errno -march=native bench/native/quantized_bench.cc
//       native/kernels/{quantized_matmul,dequantize,interleave,matmul,matmul_skinny,copy}.cc -pthread -o quantized_bench
//   quantized_bench [threads] < shapes
#include <algorithm>
#include <ctime>
#include <iostream>
#include <string>

#include "../../native/kernels/blocks.h"
#include "../../native/test/context.h"

using namespace hornbook;

namespace {

TensorView matrix(void* memory, DType dtype, int64_t rows, int64_t columns) {
  TensorView t;
  t.data = memory;
  t.dtype = dtype;
  t.rank = 2;
  t.shape[0] = rows;
  t.shape[1] = columns;
  t.strides[0] = columns;
  t.strides[1] = 1;
  return t;
}

double secondsNow(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

constexpr const char* names[] = {"f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "mxfp4"};

}  // namespace

int main(int argc, char** argv) {
  TestContext context(argc > 1 ? std::atoi(argv[1]) : 2);
  context.poison = false;
  const clockid_t clock = context.lanes() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  std::string name;
  int64_t m, n, k;
  int repeats;
  while (std::cin >> name >> m >> n >> k >> repeats) {
    const auto format = static_cast<BlockFormat>(std::find(names, std::end(names), name) - names);
    int64_t rowBytes = k * 2;
    blocks::withFormat(format, [&](auto f) { rowBytes = k / f.size * f.bytes; });
    const int64_t bytes = n * rowBytes, copies = m > 8 ? 1 : std::max<int64_t>(1, (128 << 20) / bytes);
    std::vector<uint8_t> w(static_cast<size_t>(bytes * copies), 0x2b);
    std::vector<float> a(static_cast<size_t>(m * k)), c(static_cast<size_t>(m * n));
    for (size_t i = 0; i < a.size(); i++) a[i] = static_cast<float>(i % 17) - 8;
    std::vector<double> seconds;
    for (int i = 0; i < repeats; i++) {
      QuantizedMatmulParams p = {};
      p.a = matrix(a.data(), DType::f32, m, k);
      p.w = matrix(w.data() + i % copies * bytes, DType::u8, n, rowBytes);
      p.c = matrix(c.data(), DType::f32, m, n);
      p.format = format;
      p.layout = BlockLayout::panels;
      const double start = secondsNow(clock);
      kernels::quantizedMatmul(p, context);
      seconds.push_back(secondsNow(clock) - start);
      context.reset();
    }
    std::sort(seconds.begin(), seconds.end());
    const double best = seconds[0], median = seconds[seconds.size() / 2];
    std::printf("%-7s %4ld x %6ld x %5ld  best %9.1f us  median %9.1f us  %7.1f GFLOP/s  %6.2f GB/s\n", name.c_str(), static_cast<long>(m), static_cast<long>(n),
                static_cast<long>(k), best * 1e6, median * 1e6, 2e-9 * static_cast<double>(m * n * k) / median, 1e-9 * static_cast<double>(bytes) / median);
    std::fflush(stdout);
  }
}
