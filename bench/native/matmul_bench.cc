// Measures the matrix product on the shapes of training. Reads lines "forward|dx|dw bf16|f32 tokens in out repeats" from standard input and
// answers each with the seconds of its fastest and its median run, so that a peer can be measured in turn (matmul_bench.py).
//
// With one thread the seconds are those of the processor, which other programs disturb less.
//
//   matmul_bench [threads]
#include <algorithm>
#include <ctime>
#include <iostream>
#include <string>

#include "../../native/generated/contract.h"
#include "../../native/test/context.h"

using namespace hornbook;

namespace {

TensorView matrix(std::vector<uint32_t>& memory, DType dtype, int64_t rows, int64_t columns) {
  memory.resize(static_cast<size_t>(rows * columns));
  for (size_t i = 0; i < memory.size(); i++) memory[i] = dtype == DType::f32 ? 0x3f000000u + static_cast<uint32_t>(i % 1000) * 1000u : 0x3f003e80u;
  TensorView t;
  t.data = memory.data();
  t.dtype = dtype;
  t.rank = 2;
  t.shape[0] = rows;
  t.shape[1] = columns;
  t.strides[0] = columns;
  t.strides[1] = 1;
  return t;
}

TensorView transposed(TensorView t) {
  std::swap(t.shape[0], t.shape[1]);
  std::swap(t.strides[0], t.strides[1]);
  return t;
}

double secondsNow(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

}  // namespace

int main(int argc, char** argv) {
  TestContext context(argc > 1 ? std::atoi(argv[1]) : 2);
  context.poison = false;
  const clockid_t clock = context.lanes() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  std::string kind, type;
  int64_t tokens, in, out;
  int repeats;
  while (std::cin >> kind >> type >> tokens >> in >> out >> repeats) {
    const DType dtype = type == "f32" ? DType::f32 : DType::bf16;
    std::vector<uint32_t> memory[3];
    MatmulParams p = {};
    if (kind == "forward") {
      p.a = matrix(memory[0], dtype, tokens, in);
      p.b = transposed(matrix(memory[1], dtype, out, in));
      p.c = matrix(memory[2], dtype, tokens, out);
    } else if (kind == "dx") {
      p.a = matrix(memory[0], dtype, tokens, out);
      p.b = matrix(memory[1], dtype, out, in);
      p.c = matrix(memory[2], dtype, tokens, in);
    } else {
      p.a = transposed(matrix(memory[0], dtype, tokens, out));
      p.b = matrix(memory[1], dtype, tokens, in);
      p.c = matrix(memory[2], DType::f32, out, in);
    }
    std::vector<double> seconds;
    for (int i = 0; i < repeats; i++) {
      const double start = secondsNow(clock);
      kernels::matmul(p, context);
      seconds.push_back(secondsNow(clock) - start);
      context.reset();
    }
    std::sort(seconds.begin(), seconds.end());
    std::cout << seconds[0] << " " << seconds[seconds.size() / 2] << std::endl;
  }
}
