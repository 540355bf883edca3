// Packing: lines along k, of any strides, become words in the order in which the tile kernels read them: step by step, and within a step line by
// line. Beyond the end of k stand zeros; beyond the last line stands a copy of it, for what it yields is never stored.
#pragma once

#include "matmul_words.h"

namespace hornbook::gemm {

constexpr int64_t cachedSteps = 8;  // packed at a time, across all sets of lines, where steps are rows of memory

// Word s of line `first + j` goes to out[s * width + j], for s in [0, steps) and j in [0, width). `width` is a multiple of W;
// word 0 starts at element firstK.
template <Words words>
void packLines(const Lines& from, int64_t first, int64_t firstK, int64_t width, int64_t steps, uint32_t* out) {
  using T = Element<words>;
  constexpr int each = perWord<words>;
  const int64_t k = from.k - firstK;
  const int64_t lines = least(width, from.count - first);
  const int64_t wholeSteps = least(steps, k / each);

  const auto byWords = [&](int64_t fromLine, int64_t toLine, int64_t fromStep) {
    for (int64_t s = fromStep; s < steps; s++) {
      for (int64_t j = fromLine; j < toLine; j++) {
        const int64_t line = first + least(j, lines - 1);
        out[s * width + j] = s * each < k ? wordAt<words>(from.at<T>(line, firstK + s * each), from.kStride, k - s * each) : 0;
      }
    }
  };

  if (from.kStride == 1) {
    const int64_t blocks = wholeSteps / W;
    for (int64_t j = 0; j < width; j += W) {
      const T* line[W];
      for (int i = 0; i < W; i++) line[i] = from.at<T>(first + least(j + i, lines - 1), firstK);
      for (int64_t block = 0; block < blocks; block++) {
        WordLanes m[W];
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) {
          m[i] = wordsAlong<words>(line[i] + block * W * each);
          __builtin_prefetch(line[i] + W * from.lineStride + block * W * each);  // the lines that come next
        }
        transpose(m);
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) storeWords(out + (block * W + i) * width + j, m[i]);
      }
    }
    byWords(0, width, blocks * W);
  } else if (from.lineStride == 1) {
    const int64_t wholeLines = lines / W * W;
    for (int64_t s = 0; s < wholeSteps; s++) {
      const T* row = from.at<T>(first, firstK + s * each);
      for (int64_t j = 0; j < wholeLines; j += W) {
        // The rows of the set that comes next: so far apart, and so few bytes of each, that the processor does not foresee them.
        for (int i = 0; i < each; i++) __builtin_prefetch(row + (cachedSteps * each + i) * from.kStride + j);
        storeWords(out + s * width + j, wordsAcross<words>(row + j, from.kStride, each, simd::All{}));
      }
    }
    byWords(0, wholeLines, wholeSteps);
    if (wholeLines < width) byWords(wholeLines, width, 0);
  } else {
    byWords(0, width, 0);
  }
}

}  // namespace hornbook::gemm
