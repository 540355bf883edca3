// Reading and adding at places that an index names. What is added to one place is added in the order of the index, whatever the threads:
// work is cut along the other axis. An index outside is reported and otherwise passed over.
#include <algorithm>

#include "../generated/contract.h"
#include "convert.h"
#include "simd.h"
#include "walk.h"

namespace hornbook::kernels {
namespace {

using namespace simd;

bool inRange(int32_t index, int64_t n) { return index >= 0 && index < n; }

}  // namespace

void gather(const GatherParams& p, Context& context) {
  const int64_t m = p.index.last(), n = p.x.last();
  const int64_t rows = p.index.rows();
  const int64_t stride = p.x.rank > 0 ? p.x.strides[p.x.rank - 1] : 1;
  const Nest<1> leading({&p.x}, 0, p.x.rank > 0 ? p.x.rank - 1 : 0);
  const int32_t* index = p.index.as<int32_t>();
  withBits(p.x.dtype, [&](auto t) {
    using T = decltype(t);
    parallelRanges(context, rows * m, taskElements, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end;) {
        const int64_t row = i / m, rowEnd = (row + 1) * m < end ? (row + 1) * m : end;
        int64_t offset[1];
        leading.offsetsOf(row, offset);
        const T* x = p.x.as<T>() + offset[0];
        for (; i < rowEnd; i++) {
          if (inRange(index[i], n)) {
            p.y.as<T>()[i] = x[index[i] * stride];
          } else {
            context.fail(i, "gather: index %d at position %lld is outside [0, %lld)", index[i], static_cast<long long>(i), static_cast<long long>(n));
          }
        }
      }
    });
  });
}

// Sums are made in float and rounded once: a bf16 row of y is widened, added to, and written back.
void scatterAdd(const ScatterAddParams& p, Context& context) {
  const int64_t m = p.x.last(), n = p.y.last(), rows = p.x.rows();
  const int32_t* index = p.index.as<int32_t>();
  if (rows == 0 || m == 0) return;
  float* wide = p.y.dtype == DType::f32 ? nullptr : context.scratch<float>(context.lanes() * n);
  const int64_t perTask = rowsPerTask(m);
  withFloatType(p.x.dtype, [&](auto t) {
    using T = decltype(t);
    context.parallel(ceilDivide(rows, perTask), [&](int64_t task, int lane) {
      for (int64_t row = task * perTask; row < rows && row < (task + 1) * perTask; row++) {
        const T* x = p.x.as<T>() + row * m;
        float* y = wide ? wide + lane * n : p.y.as<float>() + row * n;
        if (wide) convertRun(p.y.as<bf16>() + row * n, y, n);
        for (int64_t j = 0; j < m; j++) {
          const int64_t i = row * m + j;
          if (inRange(index[i], n)) {
            y[index[i]] += toFloat(x[j]);
          } else {
            context.fail(i, "scatterAdd: index %d at position %lld is outside [0, %lld)", index[i], static_cast<long long>(i), static_cast<long long>(n));
          }
        }
        if (wide) convertRun(y, p.y.as<bf16>() + row * n, n);
      }
    });
  });
}

void embedding(const EmbeddingParams& p, Context& context) {
  const int64_t m = p.ids.elements(), n = p.table.shape[1], rows = p.table.shape[0], stride = p.table.strides[0];
  const int32_t* ids = p.ids.as<int32_t>();
  if (n == 0) return;
  withType(p.table.dtype, [&](auto s) {
    withType(p.y.dtype, [&](auto d) {
      using S = decltype(s);
      using D = decltype(d);
      if constexpr (std::is_same_v<S, D> || (isFloat<S> && isFloat<D>)) {
        parallelRanges(context, m, rowsPerTask(n), [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; i++) {
            if (inRange(ids[i], rows)) {
              convertRun(p.table.as<S>() + ids[i] * stride, p.y.as<D>() + i * n, n);
            } else {
              context.fail(i, "embedding: id %d at position %lld is outside the table of %lld rows", ids[i], static_cast<long long>(i),
                           static_cast<long long>(rows));
            }
          }
        });
      } else {
        context.fail(0, "embedding: a table of floats gives floats, of integers the same integers");
      }
    });
  });
}

void embeddingBackward(const EmbeddingBackwardParams& p, Context& context) {
  const int64_t m = p.ids.elements(), n = p.dtable.shape[1], rows = p.dtable.shape[0];
  const int32_t* ids = p.ids.as<int32_t>();
  if (m == 0 || n == 0) return;
  for (int64_t i = 0; i < m; i++) {
    if (!inRange(ids[i], rows)) {
      context.fail(i, "embeddingBackward: id %d at position %lld is outside the table of %lld rows", ids[i], static_cast<long long>(i),
                   static_cast<long long>(rows));
      break;
    }
  }
  // Places with one id form a chain, so that a row of the table is read, and rounded, once.
  int32_t* const firstOf = context.scratch<int32_t>(rows + m);
  int32_t* const nextAfter = firstOf + rows;
  std::fill(firstOf, firstOf + rows, -1);
  for (int64_t i = m - 1; i >= 0; i--) {
    if (!inRange(ids[i], rows)) continue;
    nextAfter[i] = firstOf[ids[i]];
    firstOf[ids[i]] = static_cast<int32_t>(i);
  }
  // Blocks of columns, each at least a few cache lines wide.
  const int64_t columns = m >= taskElements / 64 ? 64 : ceilDivide(taskElements / m, 64) * 64;
  withFloatType(p.dy.dtype, [&](auto from) {
    withFloatType(p.dtable.dtype, [&](auto to) {
      const auto* dy = p.dy.as<decltype(from)>();
      auto* dtable = p.dtable.as<decltype(to)>();
      parallelRanges(context, n, columns, [&](int64_t begin, int64_t end) {
        for (int64_t i = 0; i < m; i++) {
          if (!inRange(ids[i], rows) || firstOf[ids[i]] != i) continue;
          auto* row = dtable + ids[i] * n + begin;
          forLanes(end - begin, [&](int64_t j, auto part) {
            Vec sum = load(row + j, part);
            for (int64_t at = i; at >= 0; at = nextAfter[at]) sum += load(dy + at * n + begin + j, part);
            store(row + j, sum, part);
          });
        }
      });
    });
  });
}

}  // namespace hornbook::kernels
