// The matrix product: reads the operands' shapes, folds a batch into the rows where one product says the same, and chooses the path.
#include "matmul.h"

#include "matmul_amx.h"
#include "matmul_driver.h"
#include "matmul_tile.h"

namespace hornbook::gemm {

Product Batch::entry(const Product& base, int64_t index) const {
  Product p = base;
  const auto advance = [](const void* from, int64_t elements, DType dtype) {
    return static_cast<const void*>(static_cast<const char*>(from) + elements * bytesPerElement(dtype));
  };
  int64_t offsets[4] = {};
  for (int axis = rank - 1; axis >= 0; axis--) {
    const int64_t at = index % shape[axis];
    index /= shape[axis];
    offsets[0] += at * a[axis];
    offsets[1] += at * b[axis];
    offsets[2] += at * c[axis];
    offsets[3] += at * pre[axis];
  }
  p.a.data = advance(p.a.data, offsets[0], dtype);
  p.b.data = advance(p.b.data, offsets[1], dtype);
  p.out.c = const_cast<void*>(advance(p.out.c, offsets[2], p.out.dtype));
  if (p.out.pre != nullptr) p.out.pre = const_cast<void*>(advance(p.out.pre, offsets[3], p.out.preDType));
  return p;
}

namespace {

// A product of at most so many multiplications is a task's work; larger ones are cut, unless there are many.
constexpr int64_t smallProduct = 1 << 22;
constexpr int64_t middlingProduct = 1 << 25;
constexpr int64_t manyProducts = 8;

template <class Engine>
void multiplyBatch(const Product& base, const Batch& batch, Context& context) {
  const Plan<Engine> plan(base);
  const int64_t products = base.m() * base.n() * most(base.k(), 1);
  if (batch.count > 1 && products <= (batch.count >= manyProducts ? middlingProduct : smallProduct)) {
    const int64_t words = plan.words(base, 1);
    uint32_t* memory = context.scratch<uint32_t>(words * context.lanes());
    const int64_t inTask = least(most(1, taskProducts / products), ceilDiv(batch.count, mostTasks));
    context.parallel(ceilDiv(batch.count, inTask), [&](int64_t task, int lane) {
      const int64_t end = least((task + 1) * inTask, batch.count);
      for (int64_t i = task * inTask; i < end; i++) {
        multiply(plan, batch.entry(base, i), memory + lane * words, [](int64_t tasks, auto body) {
          for (int64_t t = 0; t < tasks; t++) body(t, 0);
        });
      }
    });
    return;
  }
  uint32_t* memory = context.scratch<uint32_t>(plan.words(base, context.lanes()));
  for (int64_t i = 0; i < batch.count; i++) {
    multiply(plan, batch.entry(base, i), memory, [&](int64_t tasks, const auto& body) { context.parallel(tasks, body); });
  }
}

// Drops axes of length 1, and folds an axis into the rows where b does not depend on it and the rows simply go on.
void fold(Product& p, Batch& batch) {
  int kept = 0;
  for (int i = 0; i < batch.rank; i++) {
    if (batch.shape[i] == 1) continue;
    batch.shape[kept] = batch.shape[i];
    batch.a[kept] = batch.a[i];
    batch.b[kept] = batch.b[i];
    batch.c[kept] = batch.c[i];
    batch.pre[kept++] = batch.pre[i];
  }
  batch.rank = kept;
  while (batch.rank > 0) {
    const int last = batch.rank - 1;
    const int64_t m = p.a.count;
    if (m == 1) {
      p.a.lineStride = batch.a[last];
      p.out.rowStride = batch.c[last];
      p.out.preStride = batch.pre[last];
    }
    const bool goesOn = batch.b[last] == 0 && batch.a[last] == m * p.a.lineStride && batch.c[last] == m * p.out.rowStride &&
                        (p.out.pre == nullptr || batch.pre[last] == m * p.out.preStride);
    if (!goesOn) break;
    p.a.count *= batch.shape[last];
    batch.rank = last;
  }
  batch.count = 1;
  for (int i = 0; i < batch.rank; i++) batch.count *= batch.shape[i];
}

// Where neither operand can be read as it lies (gradients by weights), the smaller one had better be b, which is packed for everyone through the
// third-level cache; a is packed into the second-level one of who needs it. The sums stay the same.
void swapOperands(Product& p) {
  if (p.a.kStride == 1 || p.b.kStride == 1 || p.m() >= p.n()) return;
  const Lines a = p.a;
  p.a = p.b;
  p.b = a;
  p.out.transposed = true;
}

}  // namespace
}  // namespace hornbook::gemm

void hornbook::kernels::matmul(const MatmulParams& params, Context& context) {
  using namespace hornbook::gemm;
  const TensorView &a = params.a, &b = params.b, &c = params.c, &pre = params.preActivation;
  if (c.elements() == 0) return;
  const int rank = c.rank;
  const int64_t m = a.shape[rank - 2], k = a.shape[rank - 1], n = b.shape[rank - 1];

  Product p = {};
  p.a = {a.data, a.strides[rank - 2], k == 1 ? 1 : a.strides[rank - 1], m, k};
  p.b = {b.data, b.strides[rank - 1], b.strides[rank - 2], n, k};
  p.out.c = c.data;
  p.out.dtype = c.dtype;
  p.out.rowStride = c.strides[rank - 2];
  p.out.bias = params.bias.as<float>();
  p.out.pre = pre.data;
  p.out.preDType = pre.dtype;
  p.out.preStride = pre ? pre.strides[rank - 2] : 0;
  p.out.activation = params.activation;
  p.out.accumulate = params.accumulate != 0;

  Batch batch = {};
  batch.dtype = a.dtype;
  batch.rank = rank - 2;
  for (int i = 0; i < batch.rank; i++) {
    batch.shape[i] = c.shape[i];
    batch.a[i] = a.strides[i];
    batch.b[i] = b.strides[i];
    batch.c[i] = c.strides[i];
    batch.pre[i] = pre ? pre.strides[i] : 0;
  }
  fold(p, batch);

#if defined(HORNBOOK_AMX)
  const bool addsRows = a.dtype == DType::f32;  // on tiles sums have another order
#else
  const bool addsRows = true;
#endif
  if (p.m() <= skinnyRows && (p.b.kStride == 1 || (p.b.lineStride == 1 && addsRows))) return multiplySkinny(p, batch, context);
  if (batch.count == 1) swapOperands(p);
  if (a.dtype == DType::f32) return multiplyBatch<VectorEngine<Words::floats>>(p, batch, context);
#if defined(HORNBOOK_AMX)
  multiplyBatch<AmxEngine>(p, batch, context);
#else
  multiplyBatch<VectorEngine<bf16Words>>(p, batch, context);
#endif
}
