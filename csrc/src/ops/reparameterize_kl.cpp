#include "ops/reparameterize_kl.h"

#include "ops/kl_sums.h"
#include "ops/philox.h"
#include "simd/float_mode.h"

namespace vael::VAEL_ISA {
namespace {

void forward(const ReparameterizeKl &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader mu(op.mu), logvar(op.logvar);
  RowWriter z(op.z);
  KlSums sums(mu, logvar, op.columns, op.kl);
  Noise noise(op.draw, rows.end * op.columns);
  each_tile(rows, op.columns, [&](const Tile &tile) {
    const float *m = mu.read(tile), *l = logvar.read(tile);
    const float *eps = noise.at(tile, op.columns);
    float *out = z.write(tile), *terms = sums.terms();
    each_vector(tile.n, [&](auto lanes, int i) {
      const Vec mean = lanes.load(m + i), s = lanes.load(l + i);
      lanes.store(out + i, fma(exp(set(0.5f) * s), lanes.load(eps + i), mean));
      lanes.store(terms + i, KlTerm::term(mean, s));
    });
    z.done(tile);
    sums.add(tile);
  });
}

void backward(const ReparameterizeKlBackward &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader grad_z(op.grad_z), mu(op.mu), logvar(op.logvar);
  RowWriter grad_mu(op.grad_mu), grad_logvar(op.grad_logvar);
  Spread spread;
  Noise noise(op.draw, rows.end * op.columns);
  each_tile(rows, op.columns, [&](const Tile &tile) {
    const float *gz = grad_z.read(tile), *gkl = spread.of(tile, op.grad_kl);
    const float *m = mu.read(tile), *l = logvar.read(tile);
    const float *eps = noise.at(tile, op.columns);
    float *dm = grad_mu.write(tile), *dl = grad_logvar.write(tile);
    each_vector(tile.n, [&](auto lanes, int i) {
      const Vec of_z = lanes.load(gz + i), of_kl = lanes.load(gkl + i), s = lanes.load(l + i);
      lanes.store(dm + i, fma(of_kl, lanes.load(m + i), of_z));
      const Vec change = exp(set(0.5f) * s) * lanes.load(eps + i);
      lanes.store(dl + i, set(0.5f) * fma(of_kl, expm1(s), of_z * change));
    });
    grad_mu.done(tile);
    grad_logvar.done(tile);
  });
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::ReparameterizeKlTable VAEL_ISA_NAME(vael_reparameterize_kl_table);
extern "C" const vael::ReparameterizeKlTable VAEL_ISA_NAME(vael_reparameterize_kl_table) = {
    vael::VAEL_ISA::forward, vael::VAEL_ISA::backward};
