// Matrix products and column sums against sums in double, over random shapes, strides, dtypes and flags, on the instruction set that this
// file is compiled for. Gaps between rows hold NaN in the inputs and must be untouched in the outputs; memory ends where the operands do, so
// that a sanitizer sees each step beyond. One thread forwards and three threads backwards must give the same bits.
//
//   matmul_test [cases] [seed]
#include <algorithm>
#include <cmath>
#include <random>

#include "../kernels/simd.h"
#include "context.h"
#include "../generated/contract.h"

using namespace hornbook;

namespace {

std::mt19937 randomness(1);

int64_t between(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(randomness); }
bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(randomness) < p; }

// A tensor with its memory.
struct Tensor {
  std::vector<unsigned char> bytes;
  TensorView view;

  int64_t offset(int64_t index) const {
    int64_t at = 0;
    for (int i = view.rank - 1; i >= 0; i--) {
      at += index % view.shape[i] * view.strides[i];
      index /= view.shape[i];
    }
    return at;
  }
  double get(int64_t index) const {
    const int64_t at = offset(index);
    return view.dtype == DType::f32 ? view.as<float>()[at] : simd::toFloat(view.as<bf16>()[at]);
  }
  void set(int64_t index, float value) {
    const int64_t at = offset(index);
    if (view.dtype == DType::f32) {
      view.as<float>()[at] = value;
    } else {
      view.as<bf16>()[at] = simd::fromFloat<bf16>(value);
    }
  }
};

// `order` lists the axes from the outermost in memory to the innermost; `gaps[axis]` is how much longer memory is along it; an axis with gap -1 is broadcast.
Tensor make(DType dtype, const std::vector<int64_t>& shape, const std::vector<int>& order, const std::vector<int64_t>& gaps) {
  Tensor t;
  t.view.dtype = dtype;
  t.view.rank = static_cast<int32_t>(shape.size());
  int64_t stride = 1, extent = 1;
  for (size_t i = order.size(); i-- > 0;) {
    const int axis = order[i];
    t.view.shape[axis] = shape[axis];
    if (gaps[axis] < 0) continue;
    t.view.strides[axis] = stride;
    extent += (shape[axis] - 1) * stride;
    stride *= shape[axis] + gaps[axis];
  }
  if (t.view.elements() == 0) extent = 1;
  t.bytes.assign(static_cast<size_t>(extent * bytesPerElement(dtype)), 0xff);
  t.bytes.shrink_to_fit();
  t.view.data = t.bytes.data();
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < t.view.elements(); i++) t.set(i, normal(randomness));
  return t;
}

// The elements in row-major order.
std::vector<double> values(const Tensor& t) {
  std::vector<double> r(static_cast<size_t>(t.view.elements()));
  for (size_t i = 0; i < r.size(); i++) r[i] = t.get(static_cast<int64_t>(i));
  return r;
}

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return x > 0 ? x : 0;
    case Activation::gelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::geluTanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::silu: return x / (1 + std::exp(-x));
  }
  return x;
}

double roundingOf(DType dtype) { return dtype == DType::bf16 ? 1.0 / 256 : 1.0 / (1 << 23); }

void complain(const char* what, const MatmulParams& p, int64_t index, double got, double want, double tolerance) {
  std::fprintf(stderr, "%s[%lld] = %.9g, not %.9g (+- %.3g)\n", what, static_cast<long long>(index), got, want, tolerance);
  const auto show = [](const char* name, const TensorView& t) {
    if (!t) return;
    std::fprintf(stderr, "  %s %s [", name, t.dtype == DType::f32 ? "f32" : "bf16");
    for (int i = 0; i < t.rank; i++) std::fprintf(stderr, " %lld", static_cast<long long>(t.shape[i]));
    std::fprintf(stderr, " ] strides [");
    for (int i = 0; i < t.rank; i++) std::fprintf(stderr, " %lld", static_cast<long long>(t.strides[i]));
    std::fprintf(stderr, " ]\n");
  };
  show("a", p.a), show("b", p.b), show("bias", p.bias), show("c", p.c), show("preActivation", p.preActivation);
  std::fprintf(stderr, "  activation %d, accumulate %d\n", static_cast<int>(p.activation), p.accumulate);
  std::exit(1);
}

int64_t randomLength() {
  switch (between(0, 5)) {
    case 0: return between(1, 8);
    case 1: return between(1, 20);
    case 2: return between(30, 70);
    case 3: return 16 * between(1, 8);
    default: return between(1, 150);
  }
}

void testMatmul(TestContext& one, TestContext& three, int number) {
  int64_t m = randomLength(), n = randomLength(), k = chance(0.1) ? between(2000, 9000) : randomLength();
  if (number % 50 == 0) m = between(500, 900), n = between(100, 400), k = between(200, 800);  // large enough for many tasks
  if (number % 50 == 1) m = between(1, 8), n = between(100, 3000), k = between(100, 1000);
  if (number % 97 == 2) k = 0;
  std::vector<int64_t> batch;
  if (chance(0.4)) {
    for (int64_t i = between(1, 2); i > 0; i--) batch.push_back(chance(0.1) ? between(1, 40) : between(1, 4));
    if (m * n * k > 1 << 20) batch.assign(1, 2);
  }
  const int rank = static_cast<int>(batch.size()) + 2;
  const DType dtype = chance(0.5) ? DType::f32 : DType::bf16;

  const auto operand = [&](int64_t rows, int64_t columns) {
    std::vector<int64_t> shape = batch;
    shape.push_back(rows);
    shape.push_back(columns);
    std::vector<int> order;
    for (int i = 0; i < rank; i++) order.push_back(i);
    std::vector<int64_t> gaps(rank, 0);
    if (chance(0.5)) std::swap(order[rank - 2], order[rank - 1]);
    if (chance(0.1)) std::shuffle(order.begin(), order.end(), randomness);
    if (chance(0.3)) gaps[order[rank - 1]] = between(1, 20);  // a gap after each row
    if (chance(0.1)) gaps[order[rank - 1]] = -1;              // no axis is contiguous
    if (chance(0.3)) {
      for (int i = 0; i < rank - 2; i++) gaps[i] = chance(0.5) ? -1 : between(0, 2);
    }
    for (int i = 0; i < rank; i++) {
      if (gaps[i] == -1 && i >= rank - 2 && chance(0.5)) gaps[i] = 0;
    }
    return make(dtype, shape, order, gaps);
  };
  const Tensor a = operand(m, k), b = operand(k, n);
  const Tensor bias = make(DType::f32, {n}, {0}, {0});
  std::vector<int64_t> shape = batch, gaps(rank, 0);
  std::vector<int> order;
  shape.push_back(m);
  shape.push_back(n);
  for (int i = 0; i < rank; i++) order.push_back(i);
  const auto outType = [] { return chance(0.5) ? DType::f32 : DType::bf16; };
  const Tensor preBefore = make(outType(), shape, order, gaps);
  if (chance(0.3)) gaps[rank - 1] = between(1, 20);
  const Tensor before = make(outType(), shape, order, gaps);

  MatmulParams p = {};
  p.a = a.view;
  p.b = b.view;
  if (chance(0.5)) p.bias = bias.view;
  p.activation = chance(0.5) ? Activation::none : static_cast<Activation>(between(1, 4));
  p.accumulate = chance(0.3);
  const bool keeps = chance(0.3);

  Tensor c[2] = {before, before}, pre[2] = {preBefore, preBefore};
  for (int run = 0; run < 2; run++) {
    TestContext& context = run == 0 ? one : three;
    p.c = c[run].view;
    p.c.data = c[run].bytes.data();
    c[run].view = p.c;
    pre[run].view.data = pre[run].bytes.data();
    p.preActivation = keeps ? pre[run].view : TensorView{};
    kernels::matmul(p, context);
    context.reset();
  }
  if (c[0].bytes != c[1].bytes || pre[0].bytes != pre[1].bytes) complain("the bits differ between threads; c", p, 0, 0, 0, 0);

  const int64_t entries = c[0].view.elements() / (m * n);
  const std::vector<double> as = values(a), bs = values(b);
  std::vector<double> sums(n), sizes(n);
  std::vector<unsigned char> touched(c[0].bytes.size(), 0);
  for (int64_t e = 0; e < entries; e++) {
    for (int64_t i = 0; i < m; i++) {
      sums.assign(n, 0), sizes.assign(n, 0);
      for (int64_t s = 0; s < k; s++) {
        const double x = as[(e * m + i) * k + s];
        const double* row = &bs[(e * k + s) * n];
        for (int64_t j = 0; j < n; j++) sums[j] += x * row[j], sizes[j] += std::fabs(x * row[j]);
      }
      for (int64_t j = 0; j < n; j++) {
        double sum = sums[j], size = sizes[j];
        const int64_t index = (e * m + i) * n + j;
        if (p.bias) sum += bias.get(j), size += std::fabs(bias.get(j));
        double tolerance = size * (8 + 2 * std::sqrt(static_cast<double>(k))) / (1 << 24) + 1e-30;
        if (keeps && !(std::fabs(pre[0].get(index) - sum) <= tolerance + std::fabs(sum) * roundingOf(pre[0].view.dtype))) {
          complain("preActivation", p, index, pre[0].get(index), sum, tolerance);
        }
        double want = activate(p.activation, sum);
        if (p.activation != Activation::none) tolerance = 1.2 * tolerance + 2e-6 * (1 + std::fabs(sum));
        if (p.accumulate) want += before.get(index), tolerance += std::fabs(before.get(index)) / (1 << 23);
        tolerance += (std::fabs(want) + tolerance) * roundingOf(c[0].view.dtype);
        if (!(std::fabs(c[0].get(index) - want) <= tolerance)) complain("c", p, index, c[0].get(index), want, tolerance);
        const int64_t at = c[0].offset(index) * bytesPerElement(c[0].view.dtype);
        for (int64_t byte = 0; byte < bytesPerElement(c[0].view.dtype); byte++) touched[at + byte] = 1;
      }
    }
  }
  for (size_t i = 0; i < touched.size(); i++) {
    if (!touched[i] && c[0].bytes[i] != 0xff) complain("a gap of c was written; c", p, static_cast<int64_t>(i), 0, 0, 0);
  }
}

// A row of c has the same bits however many other rows there are.
void testRows(TestContext& one, TestContext& three, DType dtype, DType out, int64_t n, int64_t k, bool alongK) {
  constexpr int64_t rows = 70;
  const Tensor a = make(dtype, {rows, k}, {0, 1}, {0, 0}), b = make(dtype, {k, n}, alongK ? std::vector<int>{1, 0} : std::vector<int>{0, 1}, {0, 0});
  const Tensor bias = make(DType::f32, {n}, {0}, {0}), before = make(out, {rows, n}, {0, 1}, {0, 0});
  MatmulParams p = {};
  p.a = a.view, p.b = b.view, p.bias = bias.view;
  if (out == DType::bf16) p.activation = Activation::silu;
  const auto product = [&](int64_t first, int64_t count, TestContext& context) {
    Tensor c = before;
    p.c = c.view;
    p.c.data = c.bytes.data() + first * n * bytesPerElement(out);
    p.a.data = a.view.as<char>() + first * k * bytesPerElement(dtype);
    p.a.shape[0] = p.c.shape[0] = count;
    kernels::matmul(p, context);
    context.reset();
    return std::vector<unsigned char>(c.bytes.begin() + first * n * bytesPerElement(out), c.bytes.begin() + (first + count) * n * bytesPerElement(out));
  };
  const std::vector<unsigned char> all = product(0, rows, three);
  for (const int64_t count : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 16, 17, 31, 32, 33, 48, 64}) {
    for (const int64_t first : {int64_t{0}, int64_t{5}}) {
      const std::vector<unsigned char> some = product(first, count, one);
      if (!std::equal(some.begin(), some.end(), all.begin() + first * n * bytesPerElement(out))) {
        p.a.shape[0] = p.c.shape[0] = count;
        complain("the bits of rows differ from those among 70; c", p, first, 0, 0, 0);
      }
    }
  }
}

void testColumnSum(TestContext& one, TestContext& three) {
  const int64_t m = between(0, 300), n = randomLength();
  const Tensor x = make(chance(0.5) ? DType::f32 : DType::bf16, {m, n}, {0, 1}, {0, chance(0.5) ? between(1, 20) : 0});
  const Tensor before = make(DType::f32, {n}, {0}, {0});
  Tensor y[2] = {before, before};
  ColumnSumParams p = {};
  p.x = x.view;
  p.accumulate = chance(0.5);
  for (int run = 0; run < 2; run++) {
    TestContext& context = run == 0 ? one : three;
    y[run].view.data = y[run].bytes.data();
    p.y = y[run].view;
    kernels::columnSum(p, context);
    context.reset();
  }
  for (int64_t j = 0; j < n; j++) {
    double sum = p.accumulate ? before.get(j) : 0, size = std::fabs(sum);
    for (int64_t i = 0; i < m; i++) sum += x.get(i * n + j), size += std::fabs(x.get(i * n + j));
    if (y[0].bytes != y[1].bytes || !(std::fabs(y[0].get(j) - sum) <= size * 20 / (1 << 24))) {
      std::fprintf(stderr, "column sum [%lld, %lld] at %lld: %.9g, not %.9g\n", static_cast<long long>(m), static_cast<long long>(n), static_cast<long long>(j),
                   y[0].get(j), sum);
      std::exit(1);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 600;
  randomness.seed(argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1);
  TestContext one(1), three(3, true);
  for (int i = 0; i < cases; i++) testMatmul(one, three, i);
  for (int i = 0; i < cases / 4; i++) testColumnSum(one, three);
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const DType out : {DType::f32, DType::bf16})
      for (const bool alongK : {true, false})
        for (const auto& [n, k] : {std::pair<int64_t, int64_t>{96, 64}, {70, 257}, {33, 5003}, {7, 9000}, {130, 31}}) testRows(one, three, dtype, out, n, k, alongK);
  std::printf("%d products and %d column sums agree\n", cases, cases / 4);
}
