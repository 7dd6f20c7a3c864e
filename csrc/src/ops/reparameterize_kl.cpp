#include "ops/reparameterize_kl.h"

#include "ops/kl_terms.h"
#include "ops/philox.h"
#include "simd/float_mode.h"

namespace vael::VAEL_ISA {
namespace {

void forward(const ReparameterizeKl &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader mu(op.mu), logvar(op.logvar);
  RowWriter z(op.z);
  Noise noise(op.draw, rows.end * op.columns);
  for (size_t row = rows.begin; row < rows.end; ++row) {
    RowSum sum;
    for (size_t j = 0; j < op.columns; j += chunk_size) {
      const int n = chunk_length(op.columns, j);
      const float *m = mu.read(row, j, n), *l = logvar.read(row, j, n);
      const float *eps = noise.at(row * op.columns + j, n);
      float *out = z.write(row, j);
      sum_vectors(n, sum, [&](auto lanes, int i, Vec &partial) {
        const Vec mean = lanes.load(m + i), s = lanes.load(l + i);
        lanes.store(out + i, fma(exp(set(0.5f) * s), lanes.load(eps + i), mean));
        partial = KlTerm::add(mean, s, partial);
      });
      z.done(row, j, n);
    }
    op.kl[row] = finish_kl(sum, mu, logvar, row, op.columns);
  }
}

void backward(const ReparameterizeKlBackward &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader grad_z(op.grad_z), mu(op.mu), logvar(op.logvar);
  RowWriter grad_mu(op.grad_mu), grad_logvar(op.grad_logvar);
  Noise noise(op.draw, rows.end * op.columns);
  for (size_t row = rows.begin; row < rows.end; ++row) {
    const Vec grad_kl = set(op.grad_kl[row]);
    for (size_t j = 0; j < op.columns; j += chunk_size) {
      const int n = chunk_length(op.columns, j);
      const float *gz = grad_z.read(row, j, n);
      const float *m = mu.read(row, j, n), *l = logvar.read(row, j, n);
      const float *eps = noise.at(row * op.columns + j, n);
      float *dm = grad_mu.write(row, j), *dl = grad_logvar.write(row, j);
      each_vector(n, [&](auto lanes, int i) {
        const Vec g = lanes.load(gz + i), s = lanes.load(l + i);
        lanes.store(dm + i, fma(grad_kl, lanes.load(m + i), g));
        const Vec of_z = g * (exp(set(0.5f) * s) * lanes.load(eps + i));
        lanes.store(dl + i, set(0.5f) * fma(grad_kl, expm1(s), of_z));
      });
      grad_mu.done(row, j, n);
      grad_logvar.done(row, j, n);
    }
  }
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::ReparameterizeKlTable VAEL_ISA_NAME(vael_reparameterize_kl_table);
extern "C" const vael::ReparameterizeKlTable VAEL_ISA_NAME(vael_reparameterize_kl_table) = {
    vael::VAEL_ISA::forward, vael::VAEL_ISA::backward};
