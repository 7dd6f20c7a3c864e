#include "ops/gaussian_kl.h"

#include "ops/kl_sums.h"
#include "simd/float_mode.h"

namespace vael::VAEL_ISA {
namespace {

void forward(const GaussianKl &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader mu(op.mu), logvar(op.logvar);
  KlSums sums(mu, logvar, op.columns, op.kl);
  each_tile(rows, op.columns, [&](const Tile &tile) {
    const float *m = mu.read(tile), *l = logvar.read(tile);
    float *terms = sums.terms();
    each_vector(tile.n, [&](auto lanes, int i) {
      lanes.store(terms + i, KlTerm::term(lanes.load(m + i), lanes.load(l + i)));
    });
    sums.add(tile);
  });
}

/// d kl / d mu = mu, d kl / d logvar = 1/2 expm1(logvar), times the row's gradient.
void backward(const GaussianKlBackward &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader mu(op.mu), logvar(op.logvar);
  RowWriter grad_mu(op.grad_mu), grad_logvar(op.grad_logvar);
  Spread of_kl, of_total;
  const Vec beta = set(op.beta);
  each_tile(rows, op.columns, [&](const Tile &tile) {
    const float *g_kl = of_kl.of(tile, op.grad_kl);
    const float *g_total = op.grad_total.data ? of_total.of(tile, op.grad_total) : nullptr;
    const float *m = mu.read(tile), *l = logvar.read(tile);
    float *dm = grad_mu.write(tile), *dl = grad_logvar.write(tile);
    each_vector(tile.n, [&](auto lanes, int i) {
      Vec g = lanes.load(g_kl + i);
      if (g_total)
        g = fma(beta, lanes.load(g_total + i), g);
      lanes.store(dm + i, g * lanes.load(m + i));
      lanes.store(dl + i, set(0.5f) * g * expm1(lanes.load(l + i)));
    });
    grad_mu.done(tile);
    grad_logvar.done(tile);
  });
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::GaussianKlTable VAEL_ISA_NAME(vael_gaussian_kl_table);
extern "C" const vael::GaussianKlTable VAEL_ISA_NAME(vael_gaussian_kl_table) = {
    vael::VAEL_ISA::forward, vael::VAEL_ISA::backward};
