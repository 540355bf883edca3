// Rotary position embedding (Su et al. 2021): pairs of coordinates (u, v) turn by the angle of their position,
// (u cos - v sin, u sin + v cos). Both of a pair are read before either is written, so y may be x.
#include <utility>

#include "../generated/contract.h"
#include "simd.h"

namespace hornbook::kernels {

using namespace simd;

namespace {

template <int... Lane>
HORNBOOK_INLINE Vec everyOther(Vec a, Vec b, int which, std::integer_sequence<int, Lane...>) {
  return {which == 0 ? __builtin_shufflevector(a.v, b.v, (2 * Lane)...) : __builtin_shufflevector(a.v, b.v, (2 * Lane + 1)...)};
}
template <int... Lane>
HORNBOOK_INLINE Vec interleaved(Vec a, Vec b, int half, std::integer_sequence<int, Lane...>) {
  return {half == 0 ? __builtin_shufflevector(a.v, b.v, ((Lane & 1) * W + Lane / 2)...) : __builtin_shufflevector(a.v, b.v, ((Lane & 1) * W + (W + Lane) / 2)...)};
}

struct Turned {
  Vec u, v;
};
HORNBOOK_INLINE Turned turn(Vec u, Vec v, Vec cosine, Vec sine) { return {u * cosine - v * sine, u * sine + v * cosine}; }

template <class T>
void turnHalves(const T* x, const float* cosine, const float* sine, Vec sign, int64_t r, T* y) {
  forLanes(r, [&](int64_t i, auto part) {
    const Turned t = turn(load(x + i, part), load(x + r + i, part), load(cosine + i, part), load(sine + i, part) * sign);
    store(y + i, t.u, part);
    store(y + r + i, t.v, part);
  });
}

template <class T>
void turnNeighbours(const T* x, const float* cosine, const float* sine, Vec sign, int64_t r, T* y) {
  constexpr std::make_integer_sequence<int, W> lanes;
  const auto step = [&](const T* from, T* to, Vec c, Vec s) {
    const Vec first = load<T>(from), second = load<T>(from + W);
    const Turned t = turn(everyOther(first, second, 0, lanes), everyOther(first, second, 1, lanes), c, s * sign);
    store<T>(to, interleaved(t.u, t.v, 0, lanes));
    store<T>(to + W, interleaved(t.u, t.v, 1, lanes));
  };
  int64_t i = 0;
  for (; i + W <= r; i += W) step(x + 2 * i, y + 2 * i, load<float>(cosine + i), load<float>(sine + i));
  if (i == r) return;
  const int left = static_cast<int>(r - i);
  T pairs[2 * W] = {};
  std::memcpy(pairs, x + 2 * i, static_cast<size_t>(2 * left) * sizeof(T));
  step(pairs, pairs, loadPartial<float>(cosine + i, left), loadPartial<float>(sine + i, left));
  std::memcpy(y + 2 * i, pairs, static_cast<size_t>(2 * left) * sizeof(T));
}

template <class T>
void turnAll(const RopeParams& a, Context& context) {
  const int64_t time = a.x.shape[1], heads = a.x.shape[2], d = a.x.shape[3], tokens = a.x.shape[0] * time, r = a.cos.shape[1], limit = a.cos.shape[0];
  const int64_t share = 1 + 16384 / (heads * d);
  const Vec sign = set1(a.inverse ? -1.0f : 1.0f);
  context.parallel((tokens + share - 1) / share, [&](int64_t task, int) {
    for (int64_t token = task * share; token < tokens && token < (task + 1) * share; token++) {
      const int64_t batch = token / time, at = token % time;
      const int32_t position = a.positions.as<int32_t>()[batch * a.positions.strides[0] + at * a.positions.strides[1]];
      if (position < 0 || position >= limit) {
        context.fail(token, "position %d of token %lld is outside [0, %lld).", position, static_cast<long long>(token), static_cast<long long>(limit));
        continue;
      }
      const float* cosine = a.cos.as<float>() + position * r;
      const float* sine = a.sin.as<float>() + position * r;
      for (int64_t head = 0; head < heads; head++) {
        const T* x = a.x.as<T>() + batch * a.x.strides[0] + at * a.x.strides[1] + head * a.x.strides[2];
        T* y = a.y.as<T>() + batch * a.y.strides[0] + at * a.y.strides[1] + head * a.y.strides[2];
        if (a.interleaved) turnNeighbours(x, cosine, sine, sign, r, y);
        else turnHalves(x, cosine, sine, sign, r, y);
        if (x != y && d > 2 * r) std::memcpy(y + 2 * r, x + 2 * r, static_cast<size_t>(d - 2 * r) * sizeof(T));
      }
    }
  });
}

}  // namespace

void rope(const RopeParams& a, Context& context) {
  if (a.x.elements() == 0) return;
  if (a.x.dtype == DType::bf16) turnAll<bf16>(a, context);
  else turnAll<float>(a, context);
}

}  // namespace hornbook::kernels
