// The Kullback-Leibler divergence of one row from the standard normal, for all ops that hold it.
#pragma once

#include "ops/sums.h"

namespace vael::VAEL_ISA {

/// The row's divergence as a caller sees it, from the sum of KlTerm.
inline float finish_kl(const RowSum &sum, RowReader &mu, RowReader &logvar, size_t row,
                       size_t columns) {
  return saturate(0.5f * sum.total(),
                  [&] { return mu.finite(row, columns) && logvar.finite(row, columns); });
}

inline float kl_of_row(RowReader &mu, RowReader &logvar, size_t row, size_t columns) {
  RowSum sum;
  for (size_t j = 0; j < columns; j += chunk_size) {
    const int n = chunk_length(columns, j);
    const float *m = mu.read(row, j, n), *l = logvar.read(row, j, n);
    sum_vectors(n, sum, [&](auto lanes, int i, Vec &partial) {
      partial = KlTerm::add(lanes.load(m + i), lanes.load(l + i), partial);
    });
  }
  return finish_kl(sum, mu, logvar, row, columns);
}

/// d kl / d mu = mu, d kl / d logvar = 1/2 expm1(logvar), times the row's gradient.
inline void kl_gradient_of_row(float grad_kl, RowReader &mu, RowReader &logvar, size_t row,
                               size_t columns, RowWriter &grad_mu, RowWriter &grad_logvar) {
  const Vec g = set(grad_kl), half = set(0.5f * grad_kl);
  for (size_t j = 0; j < columns; j += chunk_size) {
    const int n = chunk_length(columns, j);
    const float *m = mu.read(row, j, n), *l = logvar.read(row, j, n);
    float *dm = grad_mu.write(row, j), *dl = grad_logvar.write(row, j);
    each_vector(n, [&](auto lanes, int i) {
      lanes.store(dm + i, g * lanes.load(m + i));
      lanes.store(dl + i, half * expm1(lanes.load(l + i)));
    });
    grad_mu.done(row, j, n);
    grad_logvar.done(row, j, n);
  }
}

} // namespace vael::VAEL_ISA
