// Attention forward: softmax(q k^T) v by tiles with a running maximum and sum (Milakov & Gimelshein 2018; Dao et al. 2022), so that memory
// grows with the sequence and never with its square. Blocks of keys outside; inside, groups of six queries go through scores, weights and
// the weighted sum of values while all three lie in the first cache. A group touches only the keys that some query of it sees, to the
// vector; hidden keys that remain get the score minus infinity.
//
// Work is cut by shape alone: where there are many (batch, key head) pairs each is one task that packs its keys and values for itself; where
// there are few, they are packed by all first and a task is one block of queries. A handful of queries (decoding) goes to attention_decode.h.
//
// Blocks of keys begin at fixed places, and a row's sums know nothing of the other rows: so a row's bits depend on that row alone.
#include "attention.h"
#include "attention_decode.h"

namespace hornbook::kernels {

using namespace attention_detail;

namespace {

constexpr int64_t queryBlock = 96;  // a multiple of maxRows
constexpr int64_t keyBlock = 256;   // a multiple of panelWidth

template <class Word>
struct Forward {
  const AttentionParams& a;
  Scores scores;
  RowNumbers slots;
  int64_t batches, queries, heads, keyHeads, group, d, dv, blocks, dvPadded;
  int64_t mostKeys = 0;  // of any row
  bool alone;  // a task is a (batch, key head) and packs for itself

  explicit Forward(const AttentionParams& params)
      : a(params), scores(params), slots(params.slots), batches(a.q.shape[0]), queries(a.q.shape[1]), heads(a.q.shape[2]), keyHeads(a.k.shape[2]),
        group(heads / keyHeads), d(a.q.shape[3]), dv(a.v.shape[3]), blocks((queries + queryBlock - 1) / queryBlock), dvPadded(roundUp(dv, W)),
        alone(batches * keyHeads >= 32) {
    for (int64_t batch = 0; batch < batches; batch++) mostKeys = larger(mostKeys, keys(batch));
  }

  int64_t keys(int64_t batch) const { return scores.visibility.keys(batch); }
  // One head of the keys, or values, of a row.
  Matrix cached(const TensorView& x, int64_t batch, int64_t keyHead) const { return Matrix(x, slots.of(batch, batch), keyHead); }

  struct Packed {
    Panels<Word> k, v;
  };
  // Of the longest row.
  int64_t packedWords() const { return Panels<Word>::words(mostKeys, d) + Panels<Word>::words(dv, mostKeys); }
  Packed packed(Word* memory, int64_t batch) const {
    const int64_t count = keys(batch);
    return {{memory, count, d}, {memory + Panels<Word>::words(count, d), dv, count}};
  }
  // Keys [first, first + count), first being a multiple of keyBlock.
  void pack(const Packed& to, int64_t batch, int64_t keyHead, int64_t first, int64_t count) const {
    Panels<Word> k = to.k, v = to.v;
    k.data = to.k.at(0, first);
    v.data = to.v.at(first / perWord<Word>, 0);
    packColumns(cached(a.k, batch, keyHead), first, count, k);
    packSteps(cached(a.v, batch, keyHead), first, count, v);
  }

  // A lane's memory for one block of queries.
  struct Block {
    float *out, *largest, *sum, *products, *kept;
    Word *q, *weights;
  };
  int64_t blockWords() const {
    return queryBlock * (dvPadded + 2 + leftStride<Word>(d)) + maxRows * keyBlock * 3;
  }
  Block block(float* memory) const {
    Block b;
    b.out = memory;
    b.products = b.out + queryBlock * dvPadded;
    b.kept = b.products + maxRows * keyBlock;
    b.weights = reinterpret_cast<Word*>(b.kept + maxRows * keyBlock);
    b.q = b.weights + maxRows * keyBlock;
    b.largest = reinterpret_cast<float*>(b.q + queryBlock * leftStride<Word>(d));
    b.sum = b.largest + queryBlock;
    return b;
  }

  void run(const Block& b, const Packed& kv, int64_t batch, int64_t head, int64_t first) const {
    const int64_t count = smaller(queryBlock, queries - first), qStride = leftStride<Word>(d);
    packLeft(Matrix(a.q, batch, head), first, count, b.q);
    for (int64_t i = 0; i < count * dvPadded; i++) b.out[i] = 0;
    for (int64_t i = 0; i < count; i++) b.largest[i] = -infinity, b.sum[i] = 0;
    const int64_t low = scores.visibility.of(batch, first).low, high = scores.visibility.of(batch, first + count - 1).high;
    for (int64_t key = roundDown(low, keyBlock); key < high; key += keyBlock) {
      for (int64_t r = 0; r < count; r += maxRows) {
        const int64_t rows = smaller(maxRows, count - r);
        if (alone && key == roundDown(low, keyBlock)) prefetch(batch * heads + head, first + r, rows);
        const int64_t from = larger(key, roundDown(scores.visibility.of(batch, first + r).low, W));
        const int64_t seen = smaller(key + keyBlock, scores.visibility.of(batch, first + r + rows - 1).high);
        if (from >= seen) continue;
        const int64_t to = roundUp(seen, W);
        multiply<Word, false>(rows, b.q + r * qStride, qStride, kv.k, 0, kv.k.steps, from, to, b.products, keyBlock, false);
        for (int64_t i = 0; i < rows; i++) weigh(b, batch, head, first, r + i, from, to, b.products + i * keyBlock, b.weights + i * keyBlock);
        const int64_t step = from / perWord<Word>, steps = (seen - from + perWord<Word> - 1) / perWord<Word>;
        multiply<Word, false>(rows, b.weights, keyBlock, kv.v, step, steps, 0, dvPadded, b.out + r * dvPadded, dvPadded, true);
      }
    }
    const Matrix out(a.out, batch, head);
    float* logSumExp = a.logSumExp.as<float>() + (batch * heads + head) * queries + first;
    for (int64_t i = 0; i < count; i++) {
      storeRow(out, first + i, b.out + i * dvPadded, b.sum[i] > 0 || b.sum[i] != b.sum[i] ? 1 / b.sum[i] : 0);
    }
    forLanes(count, [&](int64_t i, auto part) {
      const Vec sum = load(b.sum + i, part);
      store(logSumExp + i, select(sum == zero(), set1(-infinity), fma(load(b.largest + i, part), set1(ln2), log(sum))), part);
    });
  }

  // Rows that are touched soon: of this head's result, and of the inputs of the next one, which mostly is this lane's turn too.
  HORNBOOK_INLINE void prefetch(int64_t pair, int64_t first, int64_t count) const {
    const int64_t next = pair + 1;
    prefetchRows(Matrix(a.out, pair / heads, pair % heads), first, count);
    if (next == batches * heads) return;
    prefetchRows(Matrix(a.q, next / heads, next % heads), first, count);
    for (const TensorView* x : {&a.k, &a.v}) prefetchRows(cached(*x, next / heads, next % heads / group), first, count);
  }

  // Products of one query with the keys [from, to) become weights relative to the largest score so far.
  void weigh(const Block& b, int64_t batch, int64_t head, int64_t first, int64_t r, int64_t from, int64_t to, float* products, Word* weights) const {
    const int64_t n = to - from;
    scores.finish(batch, head, first + r, from, to, products, nullptr);
    Vec top = load<float>(products);
    for (int64_t j = W; j < n; j += W) top = max(load<float>(products + j), top);
    const float multiplier = scores.multiplier();
    const float before = b.largest[r], here = maxOf(top) * multiplier, largest = here > before ? here : before;
    b.largest[r] = largest;
    if (largest > before && before > -infinity) {
      const float shrink = exp2(set1(before - largest)).v[0];
      b.sum[r] *= shrink;
      float* out = b.out + r * dvPadded;
      for (int64_t i = 0; i < dvPadded; i += W) store<float>(out + i, load<float>(out + i) * set1(shrink));
    }
    const Vec offset = set1(largest == -infinity ? 0.0f : -largest);
    if (scores.p > 0) scores.kept(batch, head, first + r, from, to, b.kept);
    Vec sum = zero();
    for (int64_t j = 0; j < n; j += W) {
      Vec weight = exp2(fma(load<float>(products + j), set1(multiplier), offset));
      sum += weight;
      if (scores.p > 0) weight *= load<float>(b.kept + j);
      if constexpr (perWord<Word> == 2) store<bf16>(reinterpret_cast<bf16*>(weights) + j, weight);
      else store<float>(weights + j, weight);
    }
    b.sum[r] += simd::sum(sum);
  }

  void operator()(Context& context) const {
    const int64_t pairs = batches * keyHeads, lanes = context.lanes();
    const int64_t laneWords = roundUp(blockWords() + (alone ? packedWords() : 0), 16);
    float* laneMemory = context.scratch<float>(lanes * laneWords);
    if (alone) {
      context.parallel(pairs, [&](int64_t task, int lane) {
        float* memory = laneMemory + lane * laneWords;
        const int64_t batch = task / keyHeads, keyHead = task % keyHeads;
        const Packed kv = packed(reinterpret_cast<Word*>(memory + blockWords()), batch);
        pack(kv, batch, keyHead, 0, keys(batch));
        for (int64_t unit = 0; unit < group * blocks; unit++)
          run(block(memory), kv, batch, keyHead * group + unit / blocks, unit % blocks * queryBlock);
      });
      return;
    }
    const int64_t pairWords = roundUp(packedWords(), 16), chunk = 4 * keyBlock, chunks = (mostKeys + chunk - 1) / chunk;
    Word* shared = context.scratch<Word>(pairs * pairWords);
    context.parallel(pairs * chunks, [&](int64_t task, int) {
      const int64_t pair = task / chunks, batch = pair / keyHeads, first = task % chunks * chunk, count = smaller(chunk, keys(batch) - first);
      if (count > 0) pack(packed(shared + pair * pairWords, batch), batch, pair % keyHeads, first, count);
    });
    // The last block of queries first: under causality it is the longest.
    context.parallel(batches * heads * blocks, [&](int64_t task, int lane) {
      const int64_t batch = task / blocks / heads, head = task / blocks % heads, first = (blocks - 1 - task % blocks) * queryBlock;
      run(block(laneMemory + lane * laneWords), packed(shared + (batch * keyHeads + head / group) * pairWords, batch), batch, head, first);
    });
  }
};

}  // namespace

void attention(const AttentionParams& a, Context& context) {
  const int64_t batch = a.q.shape[0];
  if (a.out.elements() == 0 && a.logSumExp.elements() == 0) return;
  if (!slotsExist(RowNumbers(a.slots), batch, a.k.shape[0], context) || !lengthsFit(RowNumbers(a.lengths), batch, a.k.shape[1], context)) return;
#if defined(HORNBOOK_BF16_PAIRS)
  if (usePairs({a.q.dtype, a.k.dtype, a.v.dtype})) {
    if (decodes(a)) Decode<Pair>{a}(context);
    else Forward<Pair>{a}(context);
    return;
  }
#endif
  if (decodes(a)) Decode<float>{a}(context);
  else Forward<float>{a}(context);
}

}  // namespace hornbook::kernels
