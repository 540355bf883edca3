// Keys and values as bytes with a scale a row: making them, and attention over them. A handful of queries reads the bytes where they lie
// (attention_decode.h); more of them have all rows made floats first, of the queries' type, since each is then read many times.
#include "attention.h"
#include "attention_decode.h"

namespace hornbook::kernels {

using namespace attention_detail;

namespace {

template <class T>
void quantizeRow(const T* x, int64_t n, uint8_t* y, float* scale) {
  Vec largest = zero(), notNumbers = zero();
  forLanes(n, [&](int64_t i, auto part) {
    const Vec a = abs(load(x + i, part));
    largest = select(largest < a, a, largest);
    notNumbers += select(isNaN(a), a, zero());
  });
  const float top = maxOf(largest), bad = sum(notNumbers);
  *scale = bad != bad ? bad : top / 127.0f;
  const bool plain = *scale > 0 && *scale < infinity;
  for (int64_t i = 0; i < n; i++) {
    const float q = plain ? toFloat(x[i]) / *scale : 0.0f;
    // Beyond 127 by rounding alone.
    y[i] = static_cast<uint8_t>(128 + static_cast<int>(std::nearbyint(q < -127.0f ? -127.0f : q > 127.0f ? 127.0f : q)));
  }
}

// Position r of a strided view's elements in row-major order, over its first `axes` axes.
int64_t placeOf(const TensorView& x, int axes, int64_t r) {
  int64_t at = 0;
  for (int axis = axes - 1; axis >= 0; axis--) {
    at += r % x.shape[axis] * x.strides[axis];
    r /= x.shape[axis];
  }
  return at;
}

// The floats that the bytes of one operand stand for, as T, dense: [batch, most keys of a row, heads, n], without slots.
template <class T>
TensorView restored(const TensorView& bytes, const TensorView& scale, int64_t batches, const RowNumbers& slots, const RowNumbers& lengths, DType dtype, Context& context) {
  const int64_t room = bytes.shape[1], heads = bytes.shape[2], n = bytes.shape[3];
  int64_t keys = 0;
  for (int64_t batch = 0; batch < batches; batch++) keys = larger(keys, lengths.of(batch, room));
  TensorView view = bytes;
  view.dtype = dtype;
  view.shape[0] = batches;
  view.shape[1] = keys;
  for (int64_t axis = 3, stride = 1; axis >= 0; stride *= view.shape[axis--]) view.strides[axis] = stride;
  T* const to = context.scratch<T>(view.elements());
  view.data = to;
  const int64_t share = 1 + 16384 / larger(heads * n, 1), tokens = batches * keys;
  context.parallel((tokens + share - 1) / share, [&](int64_t task, int) {
    for (int64_t token = task * share; token < smaller(tokens, (task + 1) * share); token++) {
      const int64_t batch = token / keys, key = token % keys, slot = slots.of(batch, batch);
      if (key >= lengths.of(batch, room)) continue;
      for (int64_t head = 0; head < heads; head++) {
        const centered8* from = bytes.as<centered8>() + slot * bytes.strides[0] + key * bytes.strides[1] + head * bytes.strides[2];
        const Vec factor = set1(scale.as<float>()[slot * scale.strides[0] + key * scale.strides[1] + head * scale.strides[2]]);
        T* row = to + (token * heads + head) * n;
        forLanes(n, [&](int64_t i, auto part) { store(row + i, load(from + i, part) * factor, part); });
      }
    }
  });
  return view;
}

}  // namespace

void quantizeInt8(const QuantizeInt8Params& a, Context& context) {
  if (a.x.elements() == 0 && a.scale.elements() == 0) return;
  const int64_t n = a.x.last(), rows = a.x.rows(), share = 1 + 16384 / larger(n, 1);
  const int axes = a.x.rank - 1;
  const RowPlaces places(a.at, a.slots);
  // With places, where each row of a batch goes, on top of where its elements lie within it.
  TensorView y = a.y, scale = a.scale;
  if (a.at) {
    if (!places.fit(a.x.shape[0], a.x.shape[1], y, context)) return;
    for (TensorView* to : {&y, &scale}) std::memcpy(to->shape, a.x.shape, sizeof(int64_t) * static_cast<size_t>(axes));
    y.strides[0] = scale.strides[0] = 0;
  }
  const int64_t inBatchRow = a.at ? rows / larger(a.x.shape[0], 1) : 1;
  context.parallel((rows + share - 1) / share, [&](int64_t task, int) {
    for (int64_t r = task * share; r < smaller(rows, (task + 1) * share); r++) {
      const auto place = [&](const TensorView& all, const TensorView& row) { return placeOf(row, axes, r) + (a.at ? places.offset(r / inBatchRow, all) : 0); };
      uint8_t* to = y.as<uint8_t>() + place(a.y, y);
      float* toScale = scale.as<float>() + place(a.scale, scale);
      withType(a.x.dtype, [&](auto* type) { quantizeRow(a.x.as<std::remove_pointer_t<decltype(type)>>() + placeOf(a.x, axes, r), n, to, toScale); });
    }
  });
}

void attentionInt8(const AttentionInt8Params& a, Context& context) {
  const int64_t batch = a.q.shape[0];
  const RowNumbers slots(a.slots), lengths(a.lengths);
  if (a.out.elements() == 0 || !slotsExist(slots, batch, a.k.shape[0], context) || !lengthsFit(lengths, batch, a.k.shape[1], context)) return;
  AttentionParams all{};
  all.q = a.q, all.k = a.k, all.v = a.v, all.slopes = a.slopes, all.starts = a.starts, all.lengths = a.lengths, all.slots = a.slots, all.out = a.out;
  all.scale = a.scale, all.causal = a.causal, all.window = a.window, all.softcap = a.softcap;
  all.logSumExp.dtype = DType::f32;
  all.logSumExp.data = context.scratch<float>(a.q.shape[0] * a.q.shape[2] * a.q.shape[1]);
  if (decodes(all)) {
    Decode<float>{all, a.kScale, a.vScale}(context);
    return;
  }
  withType(a.q.dtype, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    all.k = restored<T>(a.k, a.kScale, batch, slots, lengths, a.q.dtype, context);
    all.v = restored<T>(a.v, a.vScale, batch, slots, lengths, a.q.dtype, context);
  });
  all.slots = {};
  attention(all, context);
}

}  // namespace hornbook::kernels
