// Attention for a handful of queries over many keys, as in decoding with a cache: each key and value is read once where it lies, without
// packing, for memory is the limit. The rows that share a key head (queries x group) go together. A task is one chunk of keys, of fixed
// length; the chunks' results are joined in their order (Dao et al. 2023, "Flash-Decoding"), so a row's bits depend on that row alone. Keys and values may be bytes with a scale a row
// (attentionInt8): a key's scale multiplies its product, a value's its weight, so the rows themselves are read as they lie.
#pragma once

#include "attention.h"

namespace hornbook::kernels::attention_detail {

constexpr int64_t decodeRows = 8;
constexpr int64_t decodeChunk = 128;

inline bool decodes(const AttentionParams& a) { return a.q.shape[1] * (a.q.shape[2] / a.k.shape[2]) <= decodeRows; }

// Lane i of the result is the sum of the lanes of sums[i]: halves of a transpose, with the sum taken at once.
template <int Half = W / 2>
HORNBOOK_INLINE Vec sumEach(Vec (&sums)[W]) {
#pragma GCC unroll 8
  for (int i = 0; i < Half; i++) {
    exchange<Half>(sums[i], sums[i + Half], std::make_integer_sequence<int, W>{});
    sums[i] += sums[i + Half];
  }
  if constexpr (Half > 1) return sumEach<Half / 2>(sums);
  else return sums[0];
}

// Rows are asked for a phase ahead of their use: a chunk's values while its keys are read, the keys of the next chunk while its values are. So memory has
// work while the sums are made, and nothing waits where the processor does not foresee (heads of a token that lie together, the ends of pages).
template <int64_t count, class T>
HORNBOOK_INLINE void prefetch(const T* x) {
  constexpr int64_t line = 64, bytes = count * static_cast<int64_t>(sizeof(T));
  // Of several pieces of a line the first one asks.
  if (bytes < line && reinterpret_cast<uintptr_t>(x) % line >= bytes) return;
  for (int64_t i = 0; i < bytes; i += line) __builtin_prefetch(reinterpret_cast<const char*>(x) + i, 0, 2);
}

// W words of a row.
template <class Word, class T>
HORNBOOK_INLINE Vec wholeWords(const T* row) {
  if constexpr (perWord<Word> == 1) {
    return load<T>(row);
  } else {
    Vec words;
    std::memcpy(&words, row, sizeof words);
    return words;
  }
}

template <class Word>
struct Decode {
  const AttentionParams& a;
  Scores scores;
  TensorView kScale, vScale;
  RowNumbers slots;
  int64_t batches, queries, keyHeads, heads, rows, d, dv, dvPadded;

  explicit Decode(const AttentionParams& params, const TensorView& kScale = {}, const TensorView& vScale = {})
      : a(params), scores(params), kScale(kScale), vScale(vScale), slots(a.slots), batches(a.q.shape[0]), queries(a.q.shape[1]), keyHeads(a.k.shape[2]),
        heads(a.q.shape[2]), rows(queries * (heads / keyHeads)), d(a.q.shape[3]), dv(a.v.shape[3]), dvPadded(roundUp(dv, W)) {}

  int64_t head(int64_t keyHead, int64_t row) const { return keyHead * (heads / keyHeads) + row / queries; }

  // Keys and values are cut from the front of each row, so how many chunks it has depends on its own length alone.
  int64_t keys(int64_t batch) const { return scores.visibility.keys(batch); }
  int64_t chunks(int64_t batch) const { return larger(1, (keys(batch) + decodeChunk - 1) / decodeChunk); }

  // What one chunk of keys gives one row: the weighted sum of values, the largest score and the sum of the weights relative to it.
  int64_t partSize() const { return dvPadded + 2; }

  // One chunk of a (batch, key head) pair.
  struct Task {
    int32_t pair, part;
  };

  void operator()(Context& context) const {
    const int64_t pairs = batches * keyHeads, qStride = leftStride<Word>(d), laneWords = roundUp(rows * (qStride + decodeChunk) + 2 * decodeChunk, 16);
    int64_t* firstTask = context.scratch<int64_t>(pairs + 1);
    firstTask[0] = 0;
    for (int64_t pair = 0; pair < pairs; pair++) firstTask[pair + 1] = firstTask[pair] + chunks(pair / keyHeads);
    const int64_t count = firstTask[pairs];
    Task* tasks = context.scratch<Task>(count);
    for (int64_t pair = 0; pair < pairs; pair++)
      for (int64_t task = firstTask[pair]; task < firstTask[pair + 1]; task++)
        tasks[task] = {static_cast<int32_t>(pair), static_cast<int32_t>(task - firstTask[pair])};
    // The parts of one row of a pair follow each other.
    float* parts = context.scratch<float>(count * rows * partSize());
    const auto partsOf = [&](int64_t pair, int64_t row) {
      return parts + (firstTask[pair] * rows + row * (firstTask[pair + 1] - firstTask[pair])) * partSize();
    };
    float* lanes = context.scratch<float>(context.lanes() * laneWords);
    context.parallel(count, [&](int64_t task, int lane) {
      const int64_t pair = tasks[task].pair, part = tasks[task].part, batch = pair / keyHeads, keyHead = pair % keyHeads;
      float* memory = lanes + lane * laneWords;
      float* result = partsOf(pair, 0) + part * partSize();
      const Task then = task + 1 < count ? tasks[task + 1] : Task{static_cast<int32_t>(pair), static_cast<int32_t>(chunks(batch))};
      const int64_t nextBatch = then.pair / keyHeads, nextFirst = then.part * decodeChunk;
      const Next next = {cached(a.k, nextBatch, then.pair % keyHeads), nextFirst, smaller(keys(nextBatch), nextFirst + decodeChunk)};
      if constexpr (perWord<Word> == 1)
        if (a.k.dtype == DType::u8) return chunk<centered8, centered8>(batch, keyHead, part * decodeChunk, memory, result, next);
      withType(a.k.dtype, [&](auto* k) {
        using K = std::remove_pointer_t<decltype(k)>;
        withType(a.v.dtype, [&](auto* v) {
          using V = std::remove_pointer_t<decltype(v)>;
          if constexpr (perWord<Word> == 1 || (sizeof(K) == 2 && sizeof(V) == 2)) chunk<K, V>(batch, keyHead, part * decodeChunk, memory, result, next);
        });
      });
    });
    // One row's chunks, the first one's memory taking the sum.
    const auto join = [&](int64_t i) {
      const int64_t pair = i / rows, chunks = firstTask[pair + 1] - firstTask[pair];
      float* first = partsOf(pair, i % rows);
      float largest = -infinity, sum = 0;
      for (int64_t c = 0; c < chunks; c++) largest = std::fmax(largest, first[c * partSize() + dvPadded]);
      for (int64_t c = 0; c < chunks; c++) {
        const float* from = first + c * partSize();
        const float shrink = largest == -infinity ? 1.0f : exp2(set1(from[dvPadded] - largest)).v[0];
        sum += from[dvPadded + 1] * shrink;
        for (int64_t j = 0; j < dvPadded; j += W)
          store<float>(first + j, fma(load<float>(from + j), set1(shrink), c == 0 ? zero() : load<float>(first + j)));
      }
      const int64_t batch = pair / keyHeads, at = head(pair % keyHeads, i % rows), query = i % rows % queries;
      storeRow(Matrix(a.out, batch, at), query, first, sum == 0 ? 0 : 1 / sum);
      a.logSumExp.as<float>()[(batch * heads + at) * queries + query] = sum == 0 ? -infinity : largest * ln2 + std::log(sum);
    };
    const int64_t share = 1 + 16384 * pairs / (count * partSize());
    context.parallel((pairs * rows + share - 1) / share, [&](int64_t task, int) {
      for (int64_t i = task * share; i < smaller(pairs * rows, (task + 1) * share); i++) join(i);
    });
  }

  // The keys of the chunk after this one.
  struct Next {
    Matrix k;
    int64_t begin, end;
  };

  Matrix cached(const TensorView& x, int64_t batch, int64_t keyHead) const { return Matrix(x, slots.of(batch, batch), keyHead); }

  // `parts` is that of the first row.
  template <class K, class V>
  void chunk(int64_t batch, int64_t keyHead, int64_t first, float* memory, float* parts, const Next& next) const {
    const int64_t qStride = leftStride<Word>(d);
    Word* q = reinterpret_cast<Word*>(memory);
    float* products = memory + rows * qStride;
    float* kept = products + rows * decodeChunk;
    float* rowScales = kept + decodeChunk;
    for (int64_t r = 0; r < rows; r++) packLeft(Matrix(a.q, batch, head(keyHead, r)), r % queries, 1, q + r * qStride);
    const int64_t from = larger(first, roundDown(scores.visibility.of(batch, 0).low, W));
    const int64_t seen = smaller(first + decodeChunk, scores.visibility.of(batch, queries - 1).high), to = roundUp(seen, W);
    const Matrix k = cached(a.k, batch, keyHead), v = cached(a.v, batch, keyHead);
    const int64_t partStride = chunks(batch) * partSize();
    gatherScales(kScale, batch, keyHead, from, seen, to, rowScales);
    for (int64_t j = from; j < seen; j += W)
      for (int64_t r = 0; r < rows;) {
        const float* scale = kScale ? rowScales + j - from : nullptr;
        float* to = products + r * decodeChunk + j - from;
        switch (rows - r) {
          case 1: multiplyKeys<K, V, 1>(q + r * qStride, k, j, seen, scale, r == 0 ? &v : nullptr, to), r += 1; break;
          case 2: multiplyKeys<K, V, 2>(q + r * qStride, k, j, seen, scale, r == 0 ? &v : nullptr, to), r += 2; break;
          case 3: multiplyKeys<K, V, 3>(q + r * qStride, k, j, seen, scale, r == 0 ? &v : nullptr, to), r += 3; break;
          default: multiplyKeys<K, V, 4>(q + r * qStride, k, j, seen, scale, r == 0 ? &v : nullptr, to), r += 4;
        }
      }
    for (int64_t r = 0; r < rows; r++) {
      float* part = parts + r * partStride;
      part[dvPadded] = -infinity, part[dvPadded + 1] = 0;
      if (from < seen) weigh(batch, head(keyHead, r), r % queries, from, to, products + r * decodeChunk, kept, part + dvPadded);
    }
    const int64_t count = larger(0, seen - from);
    if (vScale) {
      gatherScales(vScale, batch, keyHead, from, seen, to, rowScales);
      for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < count; j += W) {
          float* weights = products + r * decodeChunk + j;
          store<float>(weights, load<float>(weights) * load<float>(rowScales + j));
        }
    }
    const Next nothing = {k, 0, 0};
    for (int64_t column = 0; column < dvPadded; column += panelWidth)
      for (int64_t r = 0; r < rows;) {
        const float* weights = products + r * decodeChunk;
        float* out = parts + r * partStride + column;
        switch (rows - r) {
          case 1: addValues<K, V, 1>(weights, v, from, count, column, out, partStride, r == 0 ? next : nothing), r += 1; break;
          case 2: addValues<K, V, 2>(weights, v, from, count, column, out, partStride, r == 0 ? next : nothing), r += 2; break;
          case 3: addValues<K, V, 3>(weights, v, from, count, column, out, partStride, r == 0 ? next : nothing), r += 3; break;
          default: addValues<K, V, 4>(weights, v, from, count, column, out, partStride, r == 0 ? next : nothing), r += 4;
        }
      }
  }

  // products = R rows of q times the W keys from j on; those from `seen` on are copies of the last. It asks for the rows of `later` beside them.
  template <class K, class V, int R>
  void multiplyKeys(const Word* q, const Matrix& k, int64_t j, int64_t seen, const float* scale, const Matrix* later, float* products) const {
    constexpr int together = 4;
    const int64_t qStride = leftStride<Word>(d), steps = d / (W * perWord<Word>) * W;
    Vec sums[R][W];
    for (int i = 0; i < W; i += together) {
      const K* keys[together];
      Vec part[R][together];
#pragma GCC unroll 4
      for (int n = 0; n < together; n++) {
        keys[n] = k.row<K>(smaller(j + i + n, seen - 1));
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) part[r][n] = zero();
      }
      const auto step = [&](int64_t w, auto loadKey) __attribute__((always_inline)) {
        Vec rows[R];
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) rows[r] = loadWords(q + r * qStride + w);
#pragma GCC unroll 4
        for (int n = 0; n < together; n++) {
          const Vec key = loadKey(keys[n]);
          if (later != nullptr) prefetch<W * perWord<Word>>(later->row<V>(j + i + n) + w * perWord<Word>);
#pragma GCC unroll 4
          for (int r = 0; r < R; r++) part[r][n] = multiplyAdd(Word{}, rows[r], key, part[r][n]);
        }
      };
      int64_t w = 0;
      for (; w < steps; w += W) step(w, [w](const K* key) __attribute__((always_inline)) { return wholeWords<Word>(key + w * perWord<Word>); });
      if (w * perWord<Word> < d) step(w, [this, w](const K* key) __attribute__((always_inline)) { return rowWords<Word>(key, w * perWord<Word>, d); });
#pragma GCC unroll 4
      for (int n = 0; n < together; n++)
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) sums[r][i + n] = part[r][n];
    }
    for (int r = 0; r < R; r++) {
      const Vec dots = sumEach(sums[r]);
      store<float>(products + r * decodeChunk, scale ? dots * load<float>(scale) : dots);
    }
  }

  // The scales of the rows [from, seen), zeros up to `to`.
  void gatherScales(const TensorView& scale, int64_t batch, int64_t keyHead, int64_t from, int64_t seen, int64_t to, float* scales) const {
    if (!scale) return;
    const float* of = scale.as<float>() + slots.of(batch, batch) * scale.strides[0] + keyHead * scale.strides[2];
    for (int64_t j = from; j < to; j++) scales[j - from] = j < seen ? of[j * scale.strides[1]] : 0.0f;
  }

  void weigh(int64_t batch, int64_t at, int64_t query, int64_t from, int64_t to, float* products, float* kept, float* statistics) const {
    scores.finish(batch, at, query, from, to, products, nullptr);
    Vec top = set1(-infinity);
    for (int64_t j = 0; j < to - from; j += W) top = max(load<float>(products + j), top);
    const float multiplier = scores.multiplier(), largest = maxOf(top) * multiplier;
    if (scores.p > 0) scores.kept(batch, at, query, from, to, kept);
    const Vec offset = set1(largest == -infinity ? 0.0f : -largest);
    Vec sum = zero();
    for (int64_t j = 0; j < to - from; j += W) {
      Vec weight = exp2(fma(load<float>(products + j), set1(multiplier), offset));
      sum += weight;
      if (scores.p > 0) weight *= load<float>(kept + j);
      store<float>(products + j, weight);
    }
    statistics[0] = largest;
    statistics[1] = simd::sum(sum);
  }

  // out = weights V, for R rows and one panel of V's columns. Each panel asks for as much of the keys to come.
  template <class K, class V, int R>
  void addValues(const float* weights, const Matrix& v, int64_t first, int64_t count, int64_t column, float* out, int64_t outStride, const Next& next) const {
    Vec sums[R][maxVectors] = {};
    const int64_t width = smaller(panelWidth, dv - column);
    const auto walk = [&](auto loadVector) {
      const V* row = v.row<V>(first) + column;
      for (int64_t j = 0; j < count; j++, row += v.stride) {
        if (next.begin + j < next.end) prefetch<panelWidth>(next.k.template row<K>(next.begin + j) + column);
#pragma GCC unroll 4
        for (int n = 0; n < maxVectors; n++) {
          const Vec value = loadVector(row, n);
#pragma GCC unroll 4
          for (int r = 0; r < R; r++) sums[r][n] = fma(set1(weights[r * decodeChunk + j]), value, sums[r][n]);
        }
      }
    };
    if (width == panelWidth) walk([](const V* row, int n) { return load<V>(row + n * W); });
    else walk([width](const V* row, int n) { return n * W < width ? rowWords<float>(row, n * W, width) : zero(); });
    for (int r = 0; r < R; r++)
      for (int n = 0; n < maxVectors && n * W < width; n++) store<float>(out + r * outStride + n * W, sums[r][n]);
  }
};

}  // namespace hornbook::kernels::attention_detail
