// Random tensors and dropout; the numbers themselves are in random.h.
#include "random.h"

#include "../generated/contract.h"
#include "simd.h"
#include "walk.h"

namespace hornbook::kernels {

using namespace simd;

void randomUniform(const RandomUniformParams& p, Context& context) {
  const rng::RandomKey key = rng::randomKey(p.seedLow, p.seedHigh, p.stream);
  const double low = p.low, width = static_cast<double>(p.high) - low;
  float* y = p.y.as<float>();
  parallelRanges(context, p.y.elements(), taskElements, [&](int64_t begin, int64_t end) {
    rng::randomWords(key, begin, end - begin, [&](int64_t i, const uint32_t* words, int n) {
      for (int j = 0; j < n; j++) y[i + j] = static_cast<float>(low + width * static_cast<double>(rng::uniform(words[j])));
    });
  });
}

void randomNormal(const RandomNormalParams& p, Context& context) {
  const rng::RandomKey key = rng::randomKey(p.seedLow, p.seedHigh, p.stream);
  const double mean = p.mean, std = p.std;
  float* y = p.y.as<float>();
  parallelRanges(context, p.y.elements(), taskElements / 2, [&](int64_t begin, int64_t end) {
    rng::randomWords(key, begin, end - begin, [&](int64_t i, const uint32_t* words, int n) {
      double z[rng::maxRun];
      rng::normals(words, n, z);
      for (int j = 0; j < n; j++) y[i + j] = static_cast<float>(mean + std * z[j]);
    });
  });
}

void dropout(const DropoutParams& p, Context& context) {
  const rng::RandomKey key = rng::randomKey(p.seedLow, p.seedHigh, p.stream);
  const Vec threshold = set1(p.p), scale = set1(1.0f / (1.0f - p.p));
  withFloatType(p.x.dtype, [&](auto t) {
    using T = decltype(t);
    const T* x = p.x.as<T>();
    T* y = p.y.as<T>();
    parallelRanges(context, p.x.elements(), taskElements, [&](int64_t begin, int64_t end) {
      rng::randomWords(key, begin, end - begin, [&](int64_t i, const uint32_t* words, int n) {
        float u[rng::maxRun];
        for (int j = 0; j < n; j++) u[j] = rng::uniform(words[j]);
        forLanes(n, [&](int64_t j, auto part) {
          store(y + i + j, select(load(u + j, part) < threshold, zero(), load(x + i + j, part) * scale), part);
        });
      });
    });
  });
}

}  // namespace hornbook::kernels
