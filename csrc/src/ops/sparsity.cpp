#include "ops/sparsity.h"

#include "ops/sums.h"
#include "simd/float_mode.h"

namespace vael::VAEL_ISA {
namespace {

void forward(const Sparsity &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader z(op.z);
  for (size_t row = rows.begin; row < rows.end; ++row) {
    RowSum sum;
    for (size_t j = 0; j < op.columns; j += chunk_size) {
      const int n = chunk_length(op.columns, j);
      const float *a = z.read(row, j, n);
      sum_vectors(n, sum, [&](auto lanes, int i, Vec &partial) {
        partial = partial + abs(lanes.load(a + i));
      });
    }
    op.sum[row] = saturate(sum.total(), [&] { return z.finite(row, op.columns); });
  }
}

void backward(const SparsityBackward &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader z(op.z);
  RowWriter grad_z(op.grad_z);
  for (size_t row = rows.begin; row < rows.end; ++row) {
    const Vec g = set(op.grad[row]);
    for (size_t j = 0; j < op.columns; j += chunk_size) {
      const int n = chunk_length(op.columns, j);
      const float *a = z.read(row, j, n);
      float *out = grad_z.write(row, j);
      each_vector(n, [&](auto lanes, int i) { lanes.store(out + i, g * sign(lanes.load(a + i))); });
      grad_z.done(row, j, n);
    }
  }
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::SparsityTable VAEL_ISA_NAME(vael_sparsity_table);
extern "C" const vael::SparsityTable VAEL_ISA_NAME(vael_sparsity_table) = {
    vael::VAEL_ISA::forward, vael::VAEL_ISA::backward};
