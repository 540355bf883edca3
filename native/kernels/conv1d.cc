// One-dimensional convolution and its gradients, directly: no matrix of patches. A stretch of input is copied to scratch as floats with its
// padding, the samples of each phase of the stride side by side; then every load of the inner loops is a contiguous vector over time, and no
// loop asks where the edges are. The gradient of the input is again a convolution: of dy, spread by the stride, with the kernel turned
// around and inputs and outputs exchanged. The gradient of the weights is a task's own sum over batch and time, in their order.
#include "../generated/contract.h"
#include "simd.h"

namespace hornbook::kernels {

using namespace simd;

namespace {

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t roundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

#if defined(HORNBOOK_AVX512) || defined(HORNBOOK_NEON)
constexpr int tileVectors = 4;
#else
constexpr int tileVectors = 2;
#endif
constexpr int tileOutputs = 4;
constexpr int64_t tileWidth = tileVectors * W;

float element(const TensorView& x, int64_t i) { return x.dtype == DType::bf16 ? toFloat(x.as<bf16>()[i]) : x.as<float>()[i]; }

// Which sample meets tap j of output t: (t * stride + j * dilation - padding) of the source after `spread - 1` zeros went between its samples.
// One of stride and spread is 1.
struct Geometry {
  int64_t kernel, stride, padding, dilation, spread;

  // A stretch of outputs needs, of each channel, `stride` rows (phases) of this length.
  int64_t phase(int64_t outputs) const { return roundUp(roundUp(outputs, tileWidth) + (kernel - 1) * dilation / stride + 1, W); }
  int64_t tap(int64_t j, int64_t phaseLength) const { return j * dilation % stride * phaseLength + j * dilation / stride; }
  // As many outputs as keep the stretch within the second cache.
  int64_t stretch(int64_t channels, int64_t outTime) const {
    const int64_t most = larger(tileWidth, 65536 / larger(1, channels * stride) / tileWidth * tileWidth);
    return smaller(roundUp(outTime, tileWidth), smaller(most, 2048));
  }

  void copy(const TensorView& source, int64_t channel, int64_t first, int64_t length, float* to) const {
    const int64_t time = source.shape[2];
    if (stride == 1 && spread == 1) {
      const int64_t at = first - padding;  // of to[0] in the source
      const int64_t from = smaller(length, larger(0, -at)), until = larger(from, smaller(length, time - at));
      for (int64_t i = 0; i < from; i++) to[i] = 0;
      const auto convert = [&](const auto* x) { forLanes(until - from, [&](int64_t i, auto part) { store(to + from + i, load(x + i, part), part); }); };
      if (source.dtype == DType::bf16) convert(source.as<bf16>() + channel * time + at + from);
      else convert(source.as<float>() + channel * time + at + from);
      for (int64_t i = until; i < length; i++) to[i] = 0;
      return;
    }
    for (int64_t i = 0; i < stride * length; i++) to[i] = 0;
    const auto place = [&](const auto* x) {
      if (spread > 1) {  // with stride 1: sample u comes to u * spread + padding
        const int64_t at = first - padding;
        for (int64_t u = larger(0, (at + spread - 1) / spread); u < time && u * spread < at + length; u++) to[u * spread - at] = toFloat(x[u]);
        return;
      }
      for (int64_t p = 0; p < stride; p++) {
        const int64_t at = first * stride + p - padding;
        const int64_t from = at < 0 ? (-at + stride - 1) / stride : 0;
        for (int64_t i = from; i < length && at + i * stride < time; i++) to[p * length + i] = toFloat(x[at + i * stride]);
      }
    };
    if (source.dtype == DType::bf16) place(source.as<bf16>() + channel * time);
    else place(source.as<float>() + channel * time);
  }
};

// `Outputs` channels, `tileVectors` vectors of time. weights: [channels, kernel, Outputs].
template <int Outputs>
void convolveTile(const Geometry& g, const float* stretch, int64_t phaseLength, int64_t channels, const float* weights, float* sums) {
  Vec sum[Outputs][tileVectors] = {};
  for (int64_t c = 0; c < channels; c++) {
    const float* x = stretch + c * g.stride * phaseLength;
    for (int64_t j = 0; j < g.kernel; j++, weights += Outputs) {
      const float* at = x + g.tap(j, phaseLength);
#pragma GCC unroll 4
      for (int n = 0; n < tileVectors; n++) {
        const Vec sample = load<float>(at + n * W);
#pragma GCC unroll 4
        for (int o = 0; o < Outputs; o++) sum[o][n] = fma(set1(weights[o]), sample, sum[o][n]);
      }
    }
  }
  for (int o = 0; o < Outputs; o++)
    for (int n = 0; n < tileVectors; n++) store<float>(sums + o * tileWidth + n * W, sum[o][n]);
}

// y[b, group out + o, t] = bias + sum of weightAt(group, o, i, j) x[b, group in + i, sample(t, j)].
template <class WeightAt>
void convolve(const Geometry& g, const TensorView& x, const TensorView& y, const TensorView& bias, int64_t groups, Context& context, WeightAt weightAt) {
  if (y.elements() == 0) return;
  const int64_t in = x.shape[1] / groups, out = y.shape[1] / groups, outTime = y.shape[2];
  const int64_t width = out == 1 ? 1 : tileOutputs, blocks = (out + width - 1) / width, blockWeights = in * g.kernel * width;
  float* weights = context.scratch<float>(larger(1, groups * blocks * blockWeights));
  context.parallel(groups, [&](int64_t group, int) {
    float* w = weights + group * blocks * blockWeights;
    for (int64_t o = 0; o < blocks * width; o += width)
      for (int64_t i = 0; i < in; i++)
        for (int64_t j = 0; j < g.kernel; j++)
          for (int64_t k = 0; k < width; k++) *w++ = o + k < out ? weightAt(group, o + k, i, j) : 0.0f;
  });
  const int64_t stretch = g.stretch(in, outTime), stretches = (outTime + stretch - 1) / stretch, length = g.phase(stretch);
  // Groups go together until a task is worth starting.
  const int64_t together = smaller(groups, 1 + 65536 / larger(1, stretch * out * in * g.kernel)), runs = (groups + together - 1) / together;
  const int64_t laneSize = larger(1, in) * g.stride * length + W;
  float* lanes = context.scratch<float>(context.lanes() * laneSize);
  context.parallel(x.shape[0] * runs * stretches, [&](int64_t task, int lane) {
    const int64_t batch = task / runs / stretches, run = task / stretches % runs, first = task % stretches * stretch;
    const int64_t until = smaller(outTime, first + stretch);
    float* samples = lanes + lane * laneSize;
    for (int64_t group = run * together; group < groups && group < (run + 1) * together; group++) {
      for (int64_t i = 0; i < in; i++) g.copy(x, batch * x.shape[1] + group * in + i, first, length, samples + i * g.stride * length);
      for (int64_t block = 0; block < blocks; block++) {
        const float* w = weights + (group * blocks + block) * blockWeights;
        for (int64_t t = first; t < until; t += tileWidth) {
          float sums[tileOutputs * tileWidth];
          if (width == 1) convolveTile<1>(g, samples + (t - first), length, in, w, sums);
          else convolveTile<tileOutputs>(g, samples + (t - first), length, in, w, sums);
          for (int64_t k = 0; k < width && block * width + k < out; k++) {
            const int64_t channel = group * out + block * width + k, at = (batch * y.shape[1] + channel) * outTime + t;
            const Vec offset = set1(bias ? bias.as<float>()[channel] : 0.0f);
            const auto write = [&](auto* to) {
              forLanes(smaller(tileWidth, until - t), [&](int64_t i, auto part) { store(to + i, load(sums + k * tileWidth + i, part) + offset, part); });
            };
            if (y.dtype == DType::bf16) write(y.as<bf16>() + at);
            else write(y.as<float>() + at);
          }
        }
      }
    }
  });
}

// dot[o][q] += dy[o] . taps[q] for `Outputs` rows of dy and `Taps` rows of samples.
template <int Outputs, int Taps>
void dots(const float* const* dy, const float* const* taps, int64_t n, double* const* dot) {
  Vec sum[Outputs][Taps] = {};
  for (int64_t t = 0; t < n; t += W) {
    Vec gradient[Outputs];
    for (int o = 0; o < Outputs; o++) gradient[o] = load<float>(dy[o] + t);
#pragma GCC unroll 4
    for (int q = 0; q < Taps; q++) {
      const Vec sample = load<float>(taps[q] + t);
#pragma GCC unroll 4
      for (int o = 0; o < Outputs; o++) sum[o][q] = fma(gradient[o], sample, sum[o][q]);
    }
  }
  for (int o = 0; o < Outputs; o++)
    for (int q = 0; q < Taps; q++) dot[o][q] += simd::sum(sum[o][q]);
}

void weightGradient(const Geometry& g, const Conv1dBackwardParams& a, Context& context) {
  const int64_t groups = a.groups, in = a.x.shape[1] / groups, out = a.dy.shape[1] / groups, outTime = a.dy.shape[2], taps = in * g.kernel;
  if (a.dweight.elements() == 0) return;
  const int64_t stretch = g.stretch(in, outTime), length = g.phase(stretch);
  const int64_t run = smaller(out, 32), runs = (out + run - 1) / run;
  const Geometry straight{1, 1, 0, 1, 1};  // dy as it is, followed by zeros
  const int64_t dySize = run * stretch, laneSize = dySize + larger(1, in) * g.stride * length + W;
  float* lanes = context.scratch<float>(context.lanes() * laneSize);
  double* sums = context.scratch<double>(context.lanes() * run * taps);
  context.parallel(groups * runs, [&](int64_t task, int lane) {
    const int64_t group = task / runs, firstOut = task % runs * run, outs = smaller(run, out - firstOut);
    float* gradient = lanes + lane * laneSize;
    float* samples = gradient + dySize;
    double* sum = sums + lane * run * taps;
    for (int64_t i = 0; i < run * taps; i++) sum[i] = 0;
    for (int64_t batch = 0; batch < a.x.shape[0]; batch++)
      for (int64_t first = 0; first < outTime; first += stretch) {
        const int64_t n = roundUp(smaller(stretch, outTime - first), W);
        for (int64_t i = 0; i < in; i++) g.copy(a.x, batch * a.x.shape[1] + group * in + i, first, length, samples + i * g.stride * length);
        for (int64_t o = 0; o < outs; o++) straight.copy(a.dy, batch * a.dy.shape[1] + group * out + firstOut + o, first, stretch, gradient + o * stretch);
        for (int64_t o = 0; o < outs;) {
          const int64_t some = outs - o >= 4 ? 4 : 1;
          for (int64_t q = 0; q < taps;) {
            const int64_t several = taps - q >= 4 ? 4 : 1;
            const float *dy[4], *tap[4];
            double* dot[4];
            for (int64_t k = 0; k < some; k++) dy[k] = gradient + (o + k) * stretch, dot[k] = sum + (o + k) * taps + q;
            for (int64_t k = 0; k < several; k++) tap[k] = samples + (q + k) / g.kernel * g.stride * length + g.tap((q + k) % g.kernel, length);
            if (some == 4 && several == 4) dots<4, 4>(dy, tap, n, dot);
            else if (some == 4) dots<4, 1>(dy, tap, n, dot);
            else if (several == 4) dots<1, 4>(dy, tap, n, dot);
            else dots<1, 1>(dy, tap, n, dot);
            q += several;
          }
          o += some;
        }
      }
    float* result = a.dweight.as<float>() + (group * out + firstOut) * taps;
    for (int64_t i = 0; i < outs * taps; i++) result[i] = static_cast<float>(sum[i]);
  });
}

}  // namespace

void conv1d(const Conv1dParams& a, Context& context) {
  const int64_t in = a.weight.shape[1], out = a.weight.shape[0] / a.groups, kernel = a.weight.shape[2];
  const Geometry g{kernel, a.stride, a.padding, a.dilation, 1};
  convolve(g, a.x, a.y, a.bias, a.groups, context,
           [&](int64_t group, int64_t o, int64_t i, int64_t j) { return element(a.weight, ((group * out + o) * in + i) * kernel + j); });
}

void conv1dBackward(const Conv1dBackwardParams& a, Context& context) {
  const int64_t in = a.weight.shape[1], out = a.weight.shape[0] / a.groups, kernel = a.weight.shape[2];
  if (a.dx) {
    const Geometry turned{kernel, 1, (kernel - 1) * a.dilation - a.padding, a.dilation, a.stride};
    convolve(turned, a.dy, a.dx, TensorView{}, a.groups, context,
             [&](int64_t group, int64_t i, int64_t o, int64_t j) { return element(a.weight, ((group * out + o) * in + i) * kernel + (kernel - 1 - j)); });
  }
  if (a.dweight) weightGradient({kernel, a.stride, a.padding, a.dilation, 1}, a, context);
}

}  // namespace hornbook::kernels
