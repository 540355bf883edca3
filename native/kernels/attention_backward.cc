// Attention backward (Dao et al. 2022, algorithm 4): the weights P are computed again from the scores and logSumExp, tile by tile. With
// D = rowsum(dout * out), and S the scores:
//
//   dV = P^T dout     dP = dout V^T     dS = P * (dP - D)     dQ = scale * dS K     dK = scale * dS^T Q
//
// A task owns a chunk of the keys of one (batch, key head) and goes through every query of its group, so dK and dV are sums within a task.
// dQ is a sum within a task too when the keys are one chunk, which is so unless there are few heads; otherwise each chunk writes a partial
// dQ and these are added in the order of the chunks. So no two tasks add to one number, and the bits depend on the shape alone.
//
// Within a tile, P and dS serve twice: by rows as the left operand of dS K, and across rows (pairs of queries, where a word is a pair) as that of
// P^T dout and dS^T Q.
#include "attention.h"

namespace hornbook::kernels {

using namespace attention_detail;

namespace {

constexpr int64_t queryBlock = 96;  // even, and a multiple of maxRows, which is even too: no pair of queries straddles two groups
constexpr int64_t keyBlock = 64;    // a multiple of panelWidth
static_assert(queryBlock % maxRows == 0 && maxRows % 2 == 0);

template <class Word>
struct Backward {
  const AttentionBackwardParams& a;
  Scores scores;
  int64_t batches, queries, keys, heads, keyHeads, group, d, dv, dPadded, dvPadded, chunk, chunks;

  explicit Backward(const AttentionBackwardParams& params)
      : a(params), scores(params), batches(a.q.shape[0]), queries(a.q.shape[1]), keys(a.k.shape[1]), heads(a.q.shape[2]), keyHeads(a.k.shape[2]),
        group(heads / keyHeads), d(a.q.shape[3]), dv(a.v.shape[3]), dPadded(roundUp(d, W)), dvPadded(roundUp(dv, W)) {
    const int64_t wanted = larger(1, smaller(8 / larger(1, batches * keyHeads), keys / 256));
    chunk = larger(keyBlock, roundUp((keys + wanted - 1) / wanted, keyBlock));
    chunks = (keys + chunk - 1) / chunk;
  }

  // A lane's memory. q, dout: one head's queries; k, v: one chunk's keys; the rest: sums, and one tile.
  struct Memory {
    Word *qLeft, *doutLeft;
    Panels<Word> qSteps, doutSteps, kColumns, vColumns, kSteps;
    float *dq, *dk, *dv, *delta, *logSumExp;
    float *weights, *dweights, *slope, *kept;  // maxRows x keyBlock
    Word *gradientRows;                       // maxRows x keyBlock, by rows
    Word *weightsAcross, *gradientAcross;     // queryBlock x keyBlock, across rows
    int64_t size = 0;                         // in bytes
  };
  Memory memory(char* base) const {
    Memory m;
    const auto take = [&](auto*& pointer, int64_t count) {
      pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(reinterpret_cast<uintptr_t>(base) + static_cast<uintptr_t>(m.size));
      m.size += roundUp(count * 4, 64);
    };
    const auto takePanels = [&](Panels<Word>& panels, int64_t columns, int64_t contraction) {
      Word* data;
      take(data, Panels<Word>::words(columns, contraction));
      panels = Panels<Word>(data, columns, contraction);
    };
    take(m.qLeft, queries * leftStride<Word>(d));
    take(m.doutLeft, queries * leftStride<Word>(dv));
    takePanels(m.qSteps, d, queries);
    takePanels(m.doutSteps, dv, queries);
    takePanels(m.kColumns, chunk, d);
    takePanels(m.vColumns, chunk, dv);
    takePanels(m.kSteps, d, chunk);
    take(m.dq, chunks == 1 ? queries * dPadded : 0);
    take(m.dk, chunk * dPadded);
    take(m.dv, chunk * dvPadded);
    take(m.delta, queries);
    take(m.logSumExp, queries);
    for (float** pointer : {&m.weights, &m.dweights, &m.slope, &m.kept}) take(*pointer, maxRows * keyBlock);
    take(m.gradientRows, maxRows * keyBlock);
    take(m.weightsAcross, queryBlock / perWord<Word> * keyBlock);
    take(m.gradientAcross, queryBlock / perWord<Word> * keyBlock);
    return m;
  }

  // Rows that are touched soon: those of the gradients of this head, and of the inputs of the next one, which mostly is this lane's turn too.
  HORNBOOK_INLINE void prefetch(int64_t pair, int64_t first, int64_t count) const {
    const int64_t next = pair + 1;
    prefetchRows(Matrix(a.dq, pair / heads, pair % heads), first, count);
    for (const TensorView* x : {&a.dk, &a.dv}) prefetchRows(Matrix(*x, pair / heads, pair % heads / group), first, count);
    if (next == batches * heads) return;
    for (const TensorView* x : {&a.q, &a.dout, &a.out}) prefetchRows(Matrix(*x, next / heads, next % heads), first, count);
    for (const TensorView* x : {&a.k, &a.v}) prefetchRows(Matrix(*x, next / heads, next % heads / group), first, count);
  }

  // One query's dot products dout . out, and its logSumExp in units of log 2 with the sign turned: what exp2 adds to a score.
  void packHead(const Memory& m, int64_t batch, int64_t head) const {
    const Matrix q(a.q, batch, head), dout(a.dout, batch, head), out(a.out, batch, head);
    packLeft(q, 0, queries, m.qLeft);
    packSteps(q, 0, queries, m.qSteps);
    packLeft(dout, 0, queries, m.doutLeft);
    packSteps(dout, 0, queries, m.doutSteps);
    const float* logSumExp = a.logSumExp.as<float>() + (batch * heads + head) * queries;
    withType(dout.dtype, [&](auto* type) {
      withType(out.dtype, [&](auto* outType) {
        for (int64_t i = 0; i < queries; i++) {
          const auto* x = dout.row<std::remove_pointer_t<decltype(type)>>(i);
          const auto* y = out.row<std::remove_pointer_t<decltype(outType)>>(i);
          Vec sum = zero();
          forLanes(dv, [&](int64_t j, auto part) { sum = fma(load(x + j, part), load(y + j, part), sum); });
          m.delta[i] = simd::sum(sum);
          m.logSumExp[i] = logSumExp[i] == -infinity ? -infinity : -logSumExp[i] * log2e;
        }
      });
    });
  }

  // The tile of queries [query, query + count) and keys [key, key + keyBlock), both from a multiple of their block; `first` is the chunk's
  // first key.
  void tile(const Memory& m, float* dq, int64_t batch, int64_t head, int64_t query, int64_t count, int64_t first, int64_t key, int64_t end) const {
    constexpr int64_t per = perWord<Word>;
    const int64_t qStride = leftStride<Word>(d), doutStride = leftStride<Word>(dv);
    for (int64_t r = 0; r < count; r += maxRows) {
      const int64_t rows = smaller(maxRows, count - r), row = query + r;
      if (key == first) prefetch(batch * heads + head, row, rows);
      const int64_t from = larger(key, roundDown(scores.visibility.of(batch, row).low, W));
      const int64_t seen = smaller(end, scores.visibility.of(batch, row + rows - 1).high), to = roundUp(seen, W);
      Word* weightsAcross = m.weightsAcross + r / per * keyBlock;
      Word* gradientAcross = m.gradientAcross + r / per * keyBlock;
      const int64_t acrossRows = (rows + per - 1) / per;
      if (from >= seen) {
        std::memset(weightsAcross, 0, static_cast<size_t>(acrossRows * keyBlock * 4));
        std::memset(gradientAcross, 0, static_cast<size_t>(acrossRows * keyBlock * 4));
        continue;
      }
      const int64_t offset = from - key;
      multiply<Word, false>(rows, m.qLeft + row * qStride, qStride, m.kColumns, 0, m.kColumns.steps, from - first, to - first, m.weights + offset, keyBlock, false);
      multiply<Word, false>(rows, m.doutLeft + row * doutStride, doutStride, m.vColumns, 0, m.vColumns.steps, from - first, to - first, m.dweights + offset,
                            keyBlock, false);
      for (int64_t i = 0; i < rows; i += per)
        differentiate(m, batch, head, row + i, i, smaller(per, rows - i), from, to, offset, weightsAcross + i / per * keyBlock, gradientAcross + i / per * keyBlock);
      const Word* gradientRows = per == 1 ? gradientAcross : m.gradientRows;
      multiply<Word, false>(rows, gradientRows + offset / per, keyBlock / per, m.kSteps, (from - first) / per, (seen - from + per - 1) / per, 0, dPadded,
                            dq + row * dPadded, dPadded, true);
    }
    const int64_t keyCount = smaller(keyBlock, end - key), steps = (count + per - 1) / per;
    for (int64_t k = 0; k < keyCount; k += maxRows) {
      const int64_t rows = smaller(maxRows, keyCount - k);
      const Range seeing = scores.visibility.queriesOf(key + k, key + k + rows);
      const int64_t from = larger(0, seeing.low - query) / per, to = smaller(steps, (seeing.high - query + per - 1) / per);
      if (from >= to) continue;
      const int64_t step = query / per + from;
      multiply<Word, true>(rows, m.weightsAcross + from * keyBlock + k, keyBlock, m.doutSteps, step, to - from, 0, dvPadded, m.dv + (key - first + k) * dvPadded,
                           dvPadded, true);
      multiply<Word, true>(rows, m.gradientAcross + from * keyBlock + k, keyBlock, m.qSteps, step, to - from, 0, dPadded, m.dk + (key - first + k) * dPadded,
                           dPadded, true);
    }
  }

  // In rows [i, i + count) of the tile, as many as make a word, products become weights (after dropout) and the gradients of weights those of
  // the products (over scale): a step of two transposed left operands, zeros outside the columns [from, to), and, where words are pairs, rows too.
  void differentiate(const Memory& m, int64_t batch, int64_t head, int64_t query, int64_t i, int64_t count, int64_t from, int64_t to, int64_t offset,
                     Word* weightsAcross, Word* gradientAcross) const {
    for (int64_t r = 0; r < count; r++) {
      const int64_t at = (i + r) * keyBlock + offset;
      scores.finish(batch, head, query + r, from, to, m.weights + at, scores.softcap > 0 ? m.slope + at : nullptr);
      if (scores.p > 0) scores.kept(batch, head, query + r, from, to, m.kept + at);
    }
    const bool drops = scores.p > 0, caps = scores.softcap > 0;
    const Vec multiplier = set1(scores.multiplier());
    const int64_t last = query + count - 1;
    const Vec lse[2] = {set1(m.logSumExp[query]), set1(m.logSumExp[last])}, delta[2] = {set1(m.delta[query]), set1(m.delta[last])};
    const auto row = [&](int64_t r, int64_t j, Vec& weight, Vec& gradient) __attribute__((always_inline)) {
      const int64_t at = (i + r) * keyBlock + offset + j;
      const Vec dweight = load<float>(m.dweights + at);
      weight = exp2(fma(load<float>(m.weights + at), multiplier, lse[r]));
      if (drops) {
        const Vec kept = load<float>(m.kept + at);
        gradient = weight * fma(dweight, kept, -delta[r]);
        weight *= kept;
      } else {
        gradient = weight * (dweight - delta[r]);
      }
      if (caps) gradient *= load<float>(m.slope + at);
    };
    for (int64_t j = 0; j < offset; j += W) storeWords(weightsAcross + j, zero()), storeWords(gradientAcross + j, zero());
    for (int64_t j = 0; j < to - from; j += W) {
      Vec weight, gradient;
      row(0, j, weight, gradient);
#if defined(HORNBOOK_BF16_PAIRS)
      if constexpr (perWord<Word> == 2) {
        Vec weight1 = zero(), gradient1 = zero();
        if (count > 1) row(1, j, weight1, gradient1);
        bf16* rows = reinterpret_cast<bf16*>(m.gradientRows) + i * keyBlock + offset + j;
        store<bf16>(rows, gradient);
        store<bf16>(rows + keyBlock, gradient1);
        weight = pairsOf(weight, weight1);
        gradient = pairsOf(gradient, gradient1);
      }
#endif
      storeWords(weightsAcross + offset + j, weight);
      storeWords(gradientAcross + offset + j, gradient);
    }
    for (int64_t j = offset + to - from; j < keyBlock; j += W) storeWords(weightsAcross + j, zero()), storeWords(gradientAcross + j, zero());
  }

  void operator()(Context& context) const {
    const int64_t laneBytes = memory(nullptr).size;
    char* lanes = context.scratch<char>(context.lanes() * laneBytes);
    const int64_t headWords = queries * dPadded;
    float* partial = chunks > 1 ? context.scratch<float>(batches * heads * chunks * headWords) : nullptr;
    context.parallel(batches * keyHeads * chunks, [&](int64_t task, int lane) {
      const Memory m = memory(lanes + lane * laneBytes);
      const int64_t part = task % chunks, keyHead = task / chunks % keyHeads, batch = task / chunks / keyHeads;
      const int64_t first = part * chunk, count = smaller(chunk, keys - first);
      const Matrix k(a.k, batch, keyHead), v(a.v, batch, keyHead);
      packColumns(k, first, count, m.kColumns);
      packColumns(v, first, count, m.vColumns);
      packSteps(k, first, count, m.kSteps);
      std::memset(m.dk, 0, static_cast<size_t>(chunk * dPadded * 4));
      std::memset(m.dv, 0, static_cast<size_t>(chunk * dvPadded * 4));
      for (int64_t head = keyHead * group; head < (keyHead + 1) * group; head++) {
        packHead(m, batch, head);
        float* dq = chunks == 1 ? m.dq : partial + ((batch * heads + head) * chunks + part) * headWords;
        std::memset(dq, 0, static_cast<size_t>(headWords * 4));
        for (int64_t key = first; key < first + count; key += keyBlock) {
          const int64_t end = smaller(key + keyBlock, first + count);
          const Range seeing = scores.visibility.queriesOf(key, end);
          for (int64_t query = roundDown(seeing.low, queryBlock); query < seeing.high; query += queryBlock)
            tile(m, dq, batch, head, query, smaller(queryBlock, queries - query), first, key, end);
        }
        if (chunks > 1) continue;
        const Matrix result(a.dq, batch, head);
        for (int64_t i = 0; i < queries; i++) storeRow(result, i, dq + i * dPadded, scores.scale);
      }
      const Matrix dk(a.dk, batch, keyHead), dvalue(a.dv, batch, keyHead);
      for (int64_t i = 0; i < count; i++) {
        storeRow(dk, first + i, m.dk + i * dPadded, scores.scale);
        storeRow(dvalue, first + i, m.dv + i * dvPadded, 1.0f);
      }
    });
    if (chunks == 1) return;
    const int64_t blocks = (queries + queryBlock - 1) / queryBlock;
    context.parallel(batches * heads * blocks, [&](int64_t task, int) {
      const int64_t pair = task / blocks, first = task % blocks * queryBlock, count = smaller(queryBlock, queries - first);
      const Matrix result(a.dq, pair / heads, pair % heads);
      float* sum = partial + pair * chunks * headWords + first * dPadded;
      for (int64_t part = 1; part < chunks; part++)
        for (int64_t i = 0; i < count * dPadded; i += W) store<float>(sum + i, load<float>(sum + i) + load<float>(sum + part * headWords + i));
      for (int64_t i = 0; i < count; i++) storeRow(result, first + i, sum + i * dPadded, scores.scale);
    });
  }
};

// With nothing to attend from or to, the gradients are 0.
void clear(const TensorView& x) {
  for (int64_t batch = 0; batch < x.shape[0]; batch++)
    for (int64_t head = 0; head < x.shape[2]; head++) {
      const Matrix matrix(x, batch, head);
      for (int64_t i = 0; i < x.shape[1]; i++)
        std::memset(matrix.data + i * matrix.stride * bytesPerElement(x.dtype), 0, static_cast<size_t>(x.shape[3] * bytesPerElement(x.dtype)));
    }
}

}  // namespace

void attentionBackward(const AttentionBackwardParams& a, Context& context) {
  if (a.q.elements() == 0 || a.k.elements() == 0 || a.v.elements() == 0) {
    for (const TensorView* x : {&a.dq, &a.dk, &a.dv}) clear(*x);
    return;
  }
#if defined(HORNBOOK_BF16_PAIRS)
  if (usePairs({a.q.dtype, a.k.dtype, a.v.dtype, a.dout.dtype})) return Backward<Pair>{a}(context);
#endif
  Backward<float>{a}(context);
}

}  // namespace hornbook::kernels
