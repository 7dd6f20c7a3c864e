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
  for (size_t row = rows.begin; row < rows.end; ++row)
    for (size_t j = 0; j < op.columns; j += chunk_size) {
      const int n = chunk_length(op.columns, j);
      const float *m = mu.read(row, j, n), *l = logvar.read(row, j, n);
      const float *eps = noise.at(row * op.columns + j, n);
      float *out = z.write(row, j);
      each_vector(n, [&](auto lanes, int i) {
        const Vec sigma = exp(set(0.5f) * lanes.load(l + i));
        lanes.store(out + i, fma(sigma, lanes.load(eps + i), lanes.load(m + i)));
      });
      z.done(row, j, n);
    }
}

void backward(const ReparameterizeBackward &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader grad_z(op.grad_z), logvar(op.logvar);
  RowWriter grad_logvar(op.grad_logvar);
  Noise noise(op.draw, rows.end * op.columns);
  for (size_t row = rows.begin; row < rows.end; ++row)
    for (size_t j = 0; j < op.columns; j += chunk_size) {
      const int n = chunk_length(op.columns, j);
      const float *g = grad_z.read(row, j, n), *l = logvar.read(row, j, n);
      const float *eps = noise.at(row * op.columns + j, n);
      float *out = grad_logvar.write(row, j);
      each_vector(n, [&](auto lanes, int i) {
        const Vec change = exp(set(0.5f) * lanes.load(l + i)) * lanes.load(eps + i);
        lanes.store(out + i, set(0.5f) * (lanes.load(g + i) * change));
      });
      grad_logvar.done(row, j, n);
    }
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::ReparameterizeTable VAEL_ISA_NAME(vael_reparameterize_table);
extern "C" const vael::ReparameterizeTable VAEL_ISA_NAME(vael_reparameterize_table) = {
    vael::VAEL_ISA::forward, vael::VAEL_ISA::backward};
