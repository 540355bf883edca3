// The best of a product with quantised weights: which rows of w have the largest products with a row of a, and what they are. A language model that takes
// its best token, or one of the best few, wants nothing else of its unembedding, the largest of its matrices.
//
// The products never lie in memory: each thread keeps the best of those that it computed. The order is total (equal scores rank by id), so the best of all are
// the same whoever computed what. -0 comes out as 0.
//
// Of weights that are split most of the lower bits need not be read, and the result is exact all the same:
//   1. From the scales and the upper five bits, with 3.5 for the lower three, comes an estimate of each product, and a bound on how far it is off. Of
//      each panel the largest estimate is kept, and the largest that a product can be.
//   2. The panels with the `count` largest estimates are computed in full. The count-th best of their products is a bound from below on all that are wanted.
//   3. So are all panels that may hold a product as large as that: some tens of 16,384, where a text is natural.
//
// The bound: a product is the sum over blocks of s x sum(c q), with the scale s of the block, that of the activations x, codes c = 8 u + l and
// rounded activations q. l differs from 3.5 by no more than 3.5, so the sums differ by no more than the sum of |s| x 3.5 sum|q|. Both are computed in floats.
// Each of the two sums is rounded once a block, by 2^-24 of at most 128 / 3.5 = 37 bounds; what goes into it up to three times more, by 2^-24 of at most 37 of
// that block's own. The bound itself is rounded blocks + 4 times. Together that is less than (80 blocks + 200) 2^-24 bounds; the slack, (blocks + 8) 2^-16, is more.
#include <algorithm>
#include <functional>

#include "quantized_product.h"
#include "sort_key.h"
#include "walk.h"

namespace hornbook::kernels {
namespace {

// The best of what was offered, as words whose order is that of scores, and among equals from the highest id to the lowest; a heap with the worst on top.
struct BestList {
  uint64_t* words;
  int64_t capacity, size;
  float floor;  // what is below is not among them

  static uint64_t wordOf(float score, int64_t id) { return static_cast<uint64_t>(sortKey(score)) << 32 | static_cast<uint32_t>(~id); }
  static float scoreOf(uint64_t word) { return floatOfKey(static_cast<uint32_t>(word >> 32)); }
  static int32_t idOf(uint64_t word) { return static_cast<int32_t>(~static_cast<uint32_t>(word)); }

  void offer(uint64_t word) {
    if (size == capacity) {
      if (word < words[0]) return;
      std::pop_heap(words, words + size--, std::greater<>());
    }
    words[size++] = word;
    std::push_heap(words, words + size, std::greater<>());
    if (size == capacity) floor = scoreOf(words[0]);
  }
  // Scores of consecutive ids; there are whole vectors of them, of which `count` count.
  void offer(const float* scores, int64_t id, int64_t count) {
    for (int64_t i = 0; i < count; i += W) {
      if (!simd::any(!(simd::load<float>(scores + i) < simd::set1(floor)))) continue;
      for (int64_t j = i; j < count && j < i + W; j++)
        if (!(scores[j] < floor)) offer(wordOf(scores[j], id + j));
    }
  }
};

// A list for each row of a and each lane.
class BestLists {
 public:
  BestLists(int64_t rows, int64_t count, Context& context)
      : rows_(rows), count_(count), lanes_(context.lanes()), lists_(context.scratch<BestList>(rows * lanes_)), merged_(context.scratch<uint64_t>(lanes_ * count)) {
    uint64_t* const words = context.scratch<uint64_t>(rows * lanes_ * count);
    for (int64_t i = 0; i < rows * lanes_; i++) lists_[i] = {words + i * count, count, 0, -HUGE_VALF};
  }

  BestList& at(int64_t row, int64_t lane) { return lists_[lane * rows_ + row]; }

  // The best of a row's lists, in order.
  const uint64_t* merged(int64_t row) {
    uint64_t* end = merged_;
    for (int64_t lane = 0; lane < lanes_; lane++) end = std::copy_n(at(row, lane).words, at(row, lane).size, end);
    std::partial_sort(merged_, std::min(merged_ + count_, end), end, std::greater<>());
    return merged_;
  }

 private:
  const int64_t rows_, count_, lanes_;
  BestList* const lists_;
  uint64_t* const merged_;
};

// ---- estimates -------------------------------------------------------------------------------------------------------------------------

using Upper = Q5_0;
using Split = SplitQ8_0;

// A run of activations for the upper bits: what it adds to an estimate is s (scale sum(u q) + shift), and to its bound |s| bound.
struct Estimator {
  int8_t q[run];
  float scale, shift, bound;
};

// Writes every `stride`-th.
void makeEstimators(const Activations* a, int64_t runs, Estimator* to, int64_t stride) {
  const float slack = 1 + static_cast<float>(runs + 8) * 0x1p-16f;
  float magnitude = 0;
  for (int64_t r = 0; r < runs; r++) {
    Estimator& e = to[r * stride];
    int32_t sum = 0;
    for (int i = 0; i < run; i++) sum += std::abs(e.q[i] = a[r].q[i]);
    magnitude += a[r].scale * static_cast<float>(sum);
    e.scale = 8 * a[r].scale;
    // Codes stand for c - 128.
    e.shift = (3.5f - Split::offset) * a[r].sums[0];
    e.bound = 3.5f * slack * a[r].scale * static_cast<float>(sum);
  }
  // Where sums could overflow, or activations are not finite, estimates say nothing: no product is certain to be small. Elsewhere a product that is not finite
  // comes from such a scale, which makes its bound so too. Weights are below 2^24.
  if (!(magnitude < 0x1p100f)) to[0].bound = HUGE_VALF;
}

// Of `rows` rows of a and the first `count` rows of a panel: the largest estimate, and the largest that a product can be; infinite where one is not known.
template <int rows>
void estimatePanel(const Panel& panel, const Estimator* x, int64_t blocks, int64_t count, float* estimates, float* limits, int64_t stride) {
  const Vec infinite = simd::set1(HUGE_VALF);
  // Products too small for a float may have lost all their digits.
  const Vec tiny = simd::set1(0x1p-100f);
  for (int first = 0; first < panelRows && first < count; first += W) {
    Vec sum[rows], bound[rows];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) sum[i] = simd::zero(), bound[i] = tiny;
    const Estimator* at = x;
    for (int64_t block = 0; block < blocks; block++, at += rows) {
      if (rows >= 4) prefetchPlane<Upper::bytes>(panel.blocks, block);
      Run w;
      Upper::unpack(panel.blocks + block * Upper::bytes * panelRows, 0, first, w);
      const Vec size = simd::abs(w.scale[0]);
#pragma GCC unroll 8
      for (int i = 0; i < rows; i++) {
        Ints products = simd::set1(0);
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
          uint32_t word;
          std::memcpy(&word, at[i].q + 4 * j, sizeof word);
          products = dot<Upper::largestCode>(products, w.codes[j], word);
        }
        sum[i] = simd::fma(simd::fma(simd::toFloat(products), simd::set1(at[i].scale), simd::set1(at[i].shift)), w.scale[0], sum[i]);
        bound[i] = simd::fma(size, simd::set1(at[i].bound), bound[i]);
      }
    }
    const simd::Mask counts = simd::toFloat(simd::iota()) < simd::set1(static_cast<float>(count - first));
    for (int i = 0; i < rows; i++) {
      const auto largest = [&](Vec v) { return simd::maxOf(simd::select(counts, simd::select(simd::isNaN(v), infinite, v), -infinite)); };
      const float estimate = largest(sum[i]), limit = largest(sum[i] + bound[i]);
      estimates[i * stride] = first == 0 ? estimate : std::max(estimates[i * stride], estimate);
      limits[i * stride] = first == 0 ? limit : std::max(limits[i * stride], limit);
    }
  }
}

constexpr int64_t taskPanels = 16;

void offerPanel(const QuantizedBestParams& p, int64_t n, int64_t panel, const Activations* a, uint8_t* scratch, BestList& best) {
  alignas(64) float scores[panelRows];
  multiplyPanel<Split, 1>(panelAt<Split>(p.format, p.w, p.layout, panel * panelRows, scratch), a, p.w.shape[1] / Split::bytes, scores);
  best.offer(scores, panel * panelRows, std::min<int64_t>(panelRows, n - panel * panelRows));
}

void bestOfSplit(const QuantizedBestParams& p, int64_t n, BestLists& lists, Context& context) {
  const int64_t m = p.a.shape[0], count = p.ids.shape[1], rowBytes = p.w.shape[1], runs = rowBytes / Split::bytes, panels = ceilDivide(n, panelRows);
  Activations* const a = context.scratch<Activations>(m * runs);
  withFloatType(p.a.dtype, [&](auto t) {
    for (int64_t i = 0; i < m * runs; i++)
      quantizeRun(p.a.as<decltype(t)>() + i / runs * p.a.strides[0] + i % runs * run, Split::offset, Split::groups, a[i]);
  });
  // Rows of a in tiles of 8, 4, 2 and 1, run by run.
  Estimator* const estimators = context.scratch<Estimator>(m * runs);
  for (int64_t tile = 0, rows; tile < m; tile += rows) {
    rows = tileHeight(m - tile, fewRows);
    for (int64_t i = 0; i < rows; i++) makeEstimators(a + (tile + i) * runs, runs, estimators + tile * runs + i, rows);
  }

  float* const estimates = context.scratch<float>(m * panels);
  float* const limits = context.scratch<float>(m * panels);
  uint8_t* const copies = context.scratch<uint8_t>(context.lanes() * panelRows * rowBytes);
  const auto copyOf = [&](int lane) { return copies + lane * panelRows * rowBytes; };
  // Panels to be computed in full, as (row of a, panel).
  struct Place {
    int32_t row, panel;
  };
  Place* const places = context.scratch<Place>(m * panels);
  int64_t found = 0;
  const int64_t first = std::min(count, panels);
  uint64_t* const words = context.scratch<uint64_t>(first);

  context.parallel(ceilDivide(panels, taskPanels), [&](int64_t task, int lane) {
    for (int64_t i = task * taskPanels; i < std::min((task + 1) * taskPanels, panels); i++) {
      const Panel panel = panelAt<Split>(p.format, p.w, p.layout, i * panelRows, copyOf(lane));
      for (int64_t tile = 0, rows; tile < m; tile += rows) {
        rows = tileHeight(m - tile, fewRows);
        const auto estimate = rows == 8 ? estimatePanel<8> : rows == 4 ? estimatePanel<4> : rows == 2 ? estimatePanel<2> : estimatePanel<1>;
        const int64_t at = tile * panels + i;
        estimate(panel, estimators + tile * runs, runs, std::min<int64_t>(panelRows, n - i * panelRows), estimates + at, limits + at, panels);
      }
    }
  });

  const auto computeFound = [&] {
    context.parallel(found, [&](int64_t i, int lane) {
      const auto [row, panel] = places[i];
      offerPanel(p, n, panel, a + row * runs, copyOf(lane), lists.at(row, lane));
    });
    found = 0;
  };
  for (int64_t row = 0; row < m; row++) {
    BestList largest = {words, first, 0, -HUGE_VALF};
    for (int64_t i = 0; i < panels; i++)
      if (!(estimates[row * panels + i] < largest.floor)) largest.offer(BestList::wordOf(estimates[row * panels + i], i));
    for (int64_t i = 0; i < first; i++) {
      places[found++] = {static_cast<int32_t>(row), BestList::idOf(words[i])};
      limits[row * panels + BestList::idOf(words[i])] = NAN;
    }
  }
  computeFound();
  for (int64_t row = 0; row < m && first < panels; row++) {
    const float least = BestList::scoreOf(lists.merged(row)[count - 1]);
    // Those that were computed are marked by NaN; `least` may be one.
    for (int64_t i = 0; i < panels; i++) {
      const float limit = limits[row * panels + i];
      if (limit == limit && !(limit < least)) places[found++] = {static_cast<int32_t>(row), static_cast<int32_t>(i)};
    }
  }
  computeFound();
}

// Weights in 16 bits: the products of a stretch of rows at a time.
void bestOfHalves(const QuantizedBestParams& p, int64_t n, BestLists& lists, Context& context) {
  constexpr int64_t stretch = 32768;
  const int64_t m = p.a.shape[0], columns = std::min(n, stretch);
  QuantizedMatmulParams product = {p.a, p.w, {}, p.scores, p.format, p.layout, Activation::none};
  product.c.data = context.scratch<float>(m * columns + W);
  product.c.strides[0] = columns;
  for (int64_t j = 0; j < n; j += columns) {
    const int64_t count = std::min(columns, n - j);
    product.w.data = p.w.as<uint8_t>() + j * p.w.shape[1];
    product.w.shape[0] = product.c.shape[1] = count;
    quantizedMatmul(product, context);
    context.parallel(m, [&](int64_t row, int lane) { lists.at(row, lane).offer(product.c.as<float>() + row * columns, j, count); });
  }
}

}  // namespace

void quantizedBest(const QuantizedBestParams& p, Context& context) {
  const int64_t m = p.ids.shape[0], count = p.ids.shape[1], n = std::min<int64_t>(p.choices, p.w.shape[0]);
  if (m == 0 || count == 0) return;
  BestLists lists(m, count, context);
  if (isPlain(p.format)) {
    bestOfHalves(p, n, lists, context);
  } else if (p.layout == BlockLayout::split && m <= fewRows) {
    bestOfSplit(p, n, lists, context);
  } else {
    const auto offer = [&](const float* sums, int64_t row, int64_t rows, int64_t column, int lane) {
      for (int64_t i = 0; i < rows; i++) lists.at(row + i, lane).offer(sums + i * panelRows, column, std::min<int64_t>(panelRows, n - column));
    };
    forTiles(p.a, p.w, p.format, p.layout, n, offer, context);
  }
  for (int64_t row = 0; row < m; row++) {
    const uint64_t* best = lists.merged(row);
    for (int64_t i = 0; i < count; i++) {
      p.ids.as<int32_t>()[row * count + i] = BestList::idOf(best[i]);
      p.scores.as<float>()[row * count + i] = BestList::scoreOf(best[i]);
    }
  }
}

}  // namespace hornbook::kernels
