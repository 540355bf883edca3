// attention and attentionBackward against loops in double, over random shapes and options; each case with one and with three threads,
// whose bits must agree.
#include "../generated/contract.h"
#include "tensors.h"
#include "thread_context.h"

using namespace hornbook;
using namespace hornbook::testing;

namespace {

struct Case {
  int64_t batch = 1, queries = 1, keys = 1, heads = 1, keyHeads = 1, d = 1, dv = 1;
  DType dtype = DType::f32, cache = DType::f32;  // of q and the results, of k and v
  float scale = 1, softcap = 0, p = 0;
  int causal = 0, window = 0;
  bool slopes = false, starts = false, mask = false, fused = false;
};

// Philox 4x32-10, as in random.ts.
uint32_t randomWord(uint32_t k0, uint32_t k1, uint32_t stream, uint64_t i) {
  uint32_t c[4] = {static_cast<uint32_t>(i / 4), static_cast<uint32_t>((i / 4) >> 32), stream, 0};
  for (int round = 0; round < 10; round++, k0 += 0x9e3779b9u, k1 += 0xbb67ae85u) {
    const uint64_t a = 0xd2511f53ull * c[0], b = 0xcd9e8d57ull * c[2];
    const uint32_t next[4] = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(b), static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1,
                              static_cast<uint32_t>(a)};
    std::memcpy(c, next, sizeof c);
  }
  return c[i % 4];
}

struct Reference {
  std::vector<double> out, logSumExp, dq, dk, dv;
};

Reference reference(const Case& c, const AttentionParams& p, Tensor& qs, Tensor& ks, Tensor& vs, Tensor& slopes, Tensor& starts, Tensor& mask, Tensor& douts) {
  Reference r;
  const std::vector<double> q = qs.values(), k = ks.values(), v = vs.values(), dout = douts.values();
  r.out.assign(static_cast<size_t>(c.batch * c.queries * c.heads * c.dv), 0);
  r.logSumExp.assign(static_cast<size_t>(c.batch * c.heads * c.queries), -INFINITY);
  r.dq.assign(q.size(), 0);
  r.dk.assign(k.size(), 0);
  r.dv.assign(v.size(), 0);
  const int64_t group = c.heads / c.keyHeads;
  std::vector<double> score(c.keys), cap(c.keys), weight(c.keys), keep(c.keys), dweight(c.keys);
  for (int64_t b = 0; b < c.batch; b++)
    for (int64_t h = 0; h < c.heads; h++)
      for (int64_t i = 0; i < c.queries; i++) {
        const int64_t qRow = (b * c.queries + i) * c.heads + h;
        const int64_t position = i + c.keys - c.queries;
        double largest = -INFINITY;
        for (int64_t j = 0; j < c.keys; j++) {
          const int64_t kRow = (b * c.keys + j) * c.keyHeads + h / group;
          double s = 0;
          for (int64_t e = 0; e < c.d; e++) s += q[qRow * c.d + e] * k[kRow * c.d + e];
          s *= p.scale;
          cap[j] = 1;
          if (c.softcap > 0) {
            const double t = std::tanh(s / c.softcap);
            s = c.softcap * t;
            cap[j] = 1 - t * t;
          }
          if (c.slopes) s -= slopes.get(h) * std::fabs(static_cast<double>(position - j));
          const bool hidden = (c.causal && j > position) || (c.window > 0 && j <= position - c.window) || (c.starts && j < starts.get(b)) ||
                              (c.mask && mask.get(((b * c.heads + h) * c.queries + i) * c.keys + j) == 0);
          score[j] = hidden ? -INFINITY : s;
          largest = std::fmax(largest, score[j]);
          keep[j] = 1;
          if (c.p > 0) {
            const uint64_t element = static_cast<uint64_t>(((b * c.heads + h) * c.queries + i) * c.keys + j);
            const float u = static_cast<float>(randomWord(p.seedLow, p.seedHigh, p.stream, element) >> 8) * 0x1p-24f;
            keep[j] = u >= c.p ? 1 / (1 - static_cast<double>(c.p)) : 0;
          }
        }
        if (largest == -INFINITY) continue;
        double sum = 0;
        for (int64_t j = 0; j < c.keys; j++) sum += weight[j] = std::exp(score[j] - largest);
        r.logSumExp[(b * c.heads + h) * c.queries + i] = largest + std::log(sum);
        double delta = 0;
        for (int64_t j = 0; j < c.keys; j++) {
          weight[j] /= sum;
          const int64_t kRow = (b * c.keys + j) * c.keyHeads + h / group;
          double dw = 0;
          for (int64_t e = 0; e < c.dv; e++) {
            r.out[qRow * c.dv + e] += weight[j] * keep[j] * v[kRow * c.dv + e];
            r.dv[kRow * c.dv + e] += weight[j] * keep[j] * dout[qRow * c.dv + e];
            dw += dout[qRow * c.dv + e] * v[kRow * c.dv + e];
          }
          dweight[j] = dw * keep[j];
          delta += weight[j] * dweight[j];
        }
        for (int64_t j = 0; j < c.keys; j++) {
          const int64_t kRow = (b * c.keys + j) * c.keyHeads + h / group;
          const double ds = weight[j] * (dweight[j] - delta) * cap[j] * p.scale;
          if (ds == 0) continue;
          for (int64_t e = 0; e < c.d; e++) {
            r.dq[qRow * c.d + e] += ds * k[kRow * c.d + e];
            r.dk[kRow * c.d + e] += ds * q[qRow * c.d + e];
          }
        }
      }
  return r;
}

void run(const Case& c, uint64_t seed) {
  Numbers numbers(seed);
  // q, k, v either as three slices of one fused projection, or each with rows of its own and a gap between them.
  const auto rows = [&](DType dtype, int64_t time, int64_t heads, int64_t d, int64_t gap) {
    const int64_t row = heads * d + gap;
    return Tensor(dtype, {c.batch, time, heads, d}, {time * row, row, d, 1});
  };
  const int64_t gap = c.fused ? numbers.integer(1, 70) : 0;
  Tensor q = rows(c.dtype, c.queries, c.heads, c.d, gap), k = rows(c.cache, c.keys, c.keyHeads, c.d, gap), v = rows(c.cache, c.keys, c.keyHeads, c.dv, gap);
  Tensor dq = rows(c.dtype, c.queries, c.heads, c.d, gap), dk = rows(c.dtype, c.keys, c.keyHeads, c.d, gap), dv = rows(c.dtype, c.keys, c.keyHeads, c.dv, gap);
  q.normal(numbers), k.normal(numbers), v.normal(numbers);
  Tensor slopes, starts, mask;
  if (c.slopes) slopes = Tensor(DType::f32, {c.heads}).normal(numbers, 0.1);
  if (c.starts) {
    starts = Tensor(DType::i32, {c.batch});
    for (int64_t b = 0; b < c.batch; b++) starts.set(b, static_cast<double>(numbers.integer(0, c.keys)));
  }
  if (c.mask) {
    // Either per head, or broadcast over batch and heads, or with odd strides.
    const int kind = static_cast<int>(numbers.integer(0, 2));
    if (kind == 0) mask = Tensor(DType::u8, {c.batch, c.heads, c.queries, c.keys});
    if (kind == 1) mask = Tensor(DType::u8, {c.batch, c.heads, c.queries, c.keys}, {0, 0, c.keys, 1});
    if (kind == 2) mask = Tensor(DType::u8, {c.batch, c.heads, c.queries, c.keys}, {c.queries * c.keys, 0, 1, c.queries});
    for (int64_t i = 0; i < mask.count(); i++) mask.set(i, numbers.coin(0.7) ? static_cast<double>(numbers.integer(1, 255)) : 0);
  }
  Tensor dout(c.dtype, {c.batch, c.queries, c.heads, c.dv});
  dout.normal(numbers);

  AttentionParams p;
  p.q = q.view(), p.k = k.view(), p.v = v.view(), p.slopes = slopes.view(), p.starts = starts.view(), p.mask = mask.view();
  p.scale = c.scale, p.causal = c.causal, p.window = c.window, p.softcap = c.softcap, p.p = c.p;
  p.seedLow = 12345, p.seedHigh = -7, p.stream = 3;
  const Reference expected = reference(c, p, q, k, v, slopes, starts, mask, dout);

  char name[256];
  std::snprintf(name, sizeof name, "%s b%d q%d k%d h%d/%d d%d/%d causal%d window%d softcap%g slopes%d starts%d mask%d p%g", c.dtype == DType::bf16 ? "bf16" : c.cache == DType::bf16 ? "mixed" : "f32",
                (int)c.batch, (int)c.queries, (int)c.keys, (int)c.heads, (int)c.keyHeads, (int)c.d, (int)c.dv, c.causal, c.window, c.softcap, c.slopes, c.starts,
                c.mask, c.p);
  const auto close = [&](const char* what, const std::vector<double>& actual, const std::vector<double>& wanted, double tolerance) {
    char text[320];
    std::snprintf(text, sizeof text, "%s: %s", name, what);
    expectClose(text, actual, wanted, tolerance);
  };
  const double tolerance = c.dtype == DType::bf16 ? 1.5e-2 : 2e-5;

  Tensor outs[2], lses[2];
  for (int round = 0; round < 2; round++) {
    ThreadContext context(round == 0 ? 1 : 4);
    outs[round] = Tensor(c.dtype, {c.batch, c.queries, c.heads, c.dv});
    lses[round] = Tensor(DType::f32, {c.batch, c.heads, c.queries});
    p.out = outs[round].view(), p.logSumExp = lses[round].view();
    kernels::attention(p, context);
  }
  close("out", outs[0].values(), expected.out, tolerance);
  close("logSumExp", lses[0].values(), expected.logSumExp, c.dtype == DType::bf16 ? 1e-4 : 1e-5);
  expect(name, outs[0].bytes() == outs[1].bytes() && lses[0].bytes() == lses[1].bytes() && outs[0].gapsUntouched());

  AttentionBackwardParams g;
  g.q = p.q, g.k = p.k, g.v = p.v, g.slopes = p.slopes, g.starts = p.starts, g.mask = p.mask;
  g.out = outs[0].view(), g.logSumExp = lses[0].view(), g.dout = dout.view();
  g.scale = p.scale, g.causal = p.causal, g.window = p.window, g.softcap = p.softcap, g.p = p.p;
  g.seedLow = p.seedLow, g.seedHigh = p.seedHigh, g.stream = p.stream;
  std::vector<unsigned char> first[3];
  for (int round = 0; round < 2; round++) {
    ThreadContext context(round == 0 ? 1 : 4);
    g.dq = dq.view(), g.dk = dk.view(), g.dv = dv.view();
    kernels::attentionBackward(g, context);
    if (round == 0) first[0] = dq.bytes(), first[1] = dk.bytes(), first[2] = dv.bytes();
  }
  close("dq", dq.values(), expected.dq, tolerance);
  close("dk", dk.values(), expected.dk, tolerance);
  close("dv", dv.values(), expected.dv, tolerance);
  expect(name, first[0] == dq.bytes() && first[1] == dk.bytes() && first[2] == dv.bytes());
  expect(name, dq.gapsUntouched() && dk.gapsUntouched() && dv.gapsUntouched());
}

// No keys at all: nothing is seen, nothing has a gradient. No queries, no batch: nothing to do.
void noKeys() {
  for (const int64_t queries : {0, 1, 20})
    for (const int64_t keys : {0, 5}) {
      if (queries > 0 && keys > 0) continue;
      Tensor q(DType::f32, {1, queries, 2, 4}), kv(DType::f32, {1, keys, 1, 4}), out = q, dq = q, dk = kv, dv = kv, lse(DType::f32, {1, 2, queries});
      AttentionParams p;
      p.q = q.view(), p.k = p.v = kv.view(), p.out = out.view(), p.logSumExp = lse.view();
      p.scale = 1, p.causal = p.window = 0, p.softcap = p.p = 0, p.seedLow = p.seedHigh = p.stream = 0;
      AttentionBackwardParams g;
      g.q = p.q, g.k = g.v = p.k, g.out = g.dout = p.out, g.logSumExp = p.logSumExp, g.dq = dq.view(), g.dk = dk.view(), g.dv = dv.view();
      g.scale = 1, g.causal = g.window = 0, g.softcap = g.p = 0, g.seedLow = g.seedHigh = g.stream = 0;
      ThreadContext context(2);
      kernels::attention(p, context);
      kernels::attentionBackward(g, context);
      for (int64_t i = 0; i < out.count(); i++) expect("no keys: out and dq are 0", out.get(i) == 0 && dq.get(i) == 0);
      for (int64_t i = 0; i < lse.count(); i++) expect("no keys: logSumExp", lse.get(i) == -INFINITY);
      for (int64_t i = 0; i < dk.count(); i++) expect("no queries: dk and dv are 0", dk.get(i) == 0 && dv.get(i) == 0);
    }
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 120;
  const int first = argc > 2 ? std::atoi(argv[2]) : 0;
  const int64_t dims[] = {8, 16, 32, 64, 80, 128, 1, 7, 33};
  for (int i = first; i < first + cases; i++) {
    Numbers numbers(static_cast<uint64_t>(i) * 977 + 5);
    Case c;
    c.dtype = numbers.coin() ? DType::bf16 : DType::f32;
    c.cache = i % 10 == 9 ? DType::bf16 : c.dtype;
    c.batch = numbers.integer(1, 3);
    c.keyHeads = numbers.integer(1, 3);
    c.heads = c.keyHeads * numbers.integer(1, 3);
    c.d = dims[numbers.integer(0, 8)];
    c.dv = numbers.coin() ? c.d : dims[numbers.integer(0, 8)];
    const int64_t longest = i % 8 == 0 ? 400 : i % 8 == 1 ? 150 : 70;
    c.queries = numbers.integer(1, longest);
    c.keys = numbers.coin() ? c.queries : numbers.integer(1, longest);
    if (numbers.coin(0.25)) c.queries = numbers.integer(1, 8), c.keys = numbers.integer(1, i % 4 == 0 ? 1500 : 100);
    c.scale = static_cast<float>(numbers.uniform() * 2 / std::sqrt(static_cast<double>(c.d)));
    if (i % 16 == 15) c.scale = -c.scale;
    if (i % 32 == 20) c.scale = 0;
    c.causal = numbers.coin(0.7);
    if (numbers.coin(0.3)) c.window = static_cast<int>(numbers.integer(1, numbers.coin() ? 20 : 100));
    if (numbers.coin(0.25)) c.softcap = static_cast<float>(0.5 + 3 * numbers.uniform());
    c.slopes = numbers.coin(0.25);
    c.starts = numbers.coin(0.25);
    c.mask = numbers.coin(0.25);
    c.fused = numbers.coin();
    if (numbers.coin(0.25)) c.p = static_cast<float>(0.1 + 0.5 * numbers.uniform());
    run(c, static_cast<uint64_t>(i));
  }
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Case many;  // heads enough that each packs its own keys and values
    many.dtype = many.cache = dtype, many.batch = 11, many.keyHeads = 3, many.heads = 6, many.queries = many.keys = 40, many.d = many.dv = 24, many.causal = 1;
    run(many, 1);
    Case few;  // so few that the keys are cut into chunks, each with a dq of its own
    few.dtype = few.cache = dtype, few.heads = 2, few.queries = few.keys = 600, few.d = 16, few.dv = 20, few.scale = 0.25f, few.causal = 1, few.fused = true;
    run(few, 2);
    few.window = 90, few.queries = 530, few.softcap = 2, few.slopes = true;
    run(few, 3);
  }
  noKeys();
  return finish("attention");
}
