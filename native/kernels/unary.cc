// y = op(x), element by element.
#include "activations.h"
#include "walk.h"

namespace hornbook::kernels {
namespace {

using namespace simd;

template <class T, class F>
void mapRun(const T* x, T* y, int64_t n, F f) {
  forLanes(n, [&](int64_t i, auto part) { store(y + i, f(load(x + i, part)), part); });
}

template <class T>
void unaryRun(UnaryOp op, const T* x, T* y, int64_t n) {
  const auto map = [&](auto f) { mapRun(x, y, n, f); };
  const Vec one = set1(1.0f);
  switch (op) {
    case UnaryOp::neg: return map([](Vec a) { return -a; });
    case UnaryOp::abs: return map([](Vec a) { return abs(a); });
    case UnaryOp::exp: return map([](Vec a) { return exp(a); });
    case UnaryOp::log: return map([](Vec a) { return log(a); });
    case UnaryOp::sqrt: return map([](Vec a) { return sqrt(a); });
    case UnaryOp::rsqrt: return map([=](Vec a) { return one / sqrt(a); });
    case UnaryOp::reciprocal: return map([=](Vec a) { return one / a; });
    case UnaryOp::square: return map([](Vec a) { return a * a; });
    case UnaryOp::sin: return map([](Vec a) { return sin(a); });
    case UnaryOp::cos: return map([](Vec a) { return cos(a); });
    case UnaryOp::tanh: return map([](Vec a) { return tanh(a); });
    case UnaryOp::sigmoid: return map([](Vec a) { return sigmoid(a); });
    case UnaryOp::erf: return map([](Vec a) { return erf(a); });
    case UnaryOp::relu: return map([](Vec a) { return relu(a); });
    case UnaryOp::gelu: return map([](Vec a) { return gelu(a); });
    case UnaryOp::geluTanh: return map([](Vec a) { return geluTanh<T>(a); });
    case UnaryOp::silu: return map([](Vec a) { return silu<T>(a); });
    case UnaryOp::softplus: return map([](Vec a) { return softplus(a); });
    case UnaryOp::sign: return map([=](Vec a) { return select(a > zero(), one, select(a < zero(), -one, a)); });  // keeps NaN and -0
    case UnaryOp::floor: return map([](Vec a) { return floor(a); });
    case UnaryOp::isFinite: return map([=](Vec a) { return select(abs(a) < set1(__builtin_inff()), one, zero()); });
  }
}

bool integersTake(UnaryOp op) {
  return op == UnaryOp::neg || op == UnaryOp::abs || op == UnaryOp::square || op == UnaryOp::sign || op == UnaryOp::relu;
}

// Integers wrap around.
template <class T>
void integerRun(UnaryOp op, const T* x, T* y, int64_t n) {
  const auto map = [&](auto f) {
    for (int64_t i = 0; i < n; i++) y[i] = static_cast<T>(f(x[i]));
  };
  switch (op) {
    case UnaryOp::neg: return map([](T a) { return 0u - static_cast<uint32_t>(a); });
    case UnaryOp::abs: return map([](T a) { return a < 0 ? 0u - static_cast<uint32_t>(a) : static_cast<uint32_t>(a); });
    case UnaryOp::square: return map([](T a) { return static_cast<uint32_t>(a) * static_cast<uint32_t>(a); });
    case UnaryOp::sign: return map([](T a) { return (a > 0) - (a < 0); });
    case UnaryOp::relu: return map([](T a) { return a > 0 ? a : T{0}; });
    default: return;
  }
}

}  // namespace

void unary(const UnaryParams& p, Context& context) {
  const Nest<2> nest({&p.x, &p.y});
  const int64_t stride = nest.innerStride(0);
  const auto apply = [&](auto t, const auto& run) {
    using T = decltype(t);
    parallelRanges(context, nest.elements(), taskElements, [&](int64_t begin, int64_t end) {
      Source<T> source;
      nest.walk(begin, end, [&](const int64_t(&offset)[2], int64_t length, int64_t) {
        forPieces(stride == 1, length, [&](int64_t start, int64_t n) {
          const T* x = source.read(p.x.as<T>() + offset[0] + start * stride, stride, n);
          run(p.op, x, p.y.as<T>() + offset[1] + start, n);
        });
      });
    });
  };
  switch (p.x.dtype) {
    case DType::f32: return apply(float{}, unaryRun<float>);
    case DType::bf16: return apply(bf16{}, unaryRun<bf16>);
    case DType::i32:
    case DType::u8:
      if (!integersTake(p.op)) return context.fail(0, "unary: this function takes floats, not integers (op %d)", static_cast<int>(p.op));
      return p.x.dtype == DType::i32 ? apply(int32_t{}, integerRun<int32_t>) : apply(uint8_t{}, integerRun<uint8_t>);
  }
}

}  // namespace hornbook::kernels
