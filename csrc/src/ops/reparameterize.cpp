#include "ops/reparameterize.h"

#include "ops/philox.h"
#include "simd/float_mode.h"
#include "simd/math.h"

namespace vael::VAEL_ISA {
namespace {

void forward(const Reparameterize &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader mu(op.mu), logvar(op.logvar);
  RowWriter z(op.z);
  Noise noise(op.draw, rows.end * op.columns);
  each_tile(rows, op.columns, [&](const Tile &tile) {
    const float *m = mu.read(tile), *l = logvar.read(tile);
    const float *eps = noise.at(tile, op.columns);
    float *out = z.write(tile);
    each_vector(tile.n, [&](auto lanes, int i) {
      const Vec sigma = exp(set(0.5f) * lanes.load(l + i));
      lanes.store(out + i, fma(sigma, lanes.load(eps + i), lanes.load(m + i)));
    });
    z.done(tile);
  });
}

void backward(const ReparameterizeBackward &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader grad_z(op.grad_z), logvar(op.logvar);
  RowWriter grad_logvar(op.grad_logvar);
  Noise noise(op.draw, rows.end * op.columns);
  each_tile(rows, op.columns, [&](const Tile &tile) {
    const float *g = grad_z.read(tile), *l = logvar.read(tile);
    const float *eps = noise.at(tile, op.columns);
    float *out = grad_logvar.write(tile);
    each_vector(tile.n, [&](auto lanes, int i) {
      const Vec change = exp(set(0.5f) * lanes.load(l + i)) * lanes.load(eps + i);
      lanes.store(out + i, set(0.5f) * (lanes.load(g + i) * change));
    });
    grad_logvar.done(tile);
  });
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::ReparameterizeTable VAEL_ISA_NAME(vael_reparameterize_table);
extern "C" const vael::ReparameterizeTable VAEL_ISA_NAME(vael_reparameterize_table) = {
    vael::VAEL_ISA::forward, vael::VAEL_ISA::backward};
