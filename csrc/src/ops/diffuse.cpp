#include "ops/diffuse.h"

#include "ops/philox.h"
#include "simd/float_mode.h"

namespace vael::VAEL_ISA {
namespace {

void forward(const Diffuse &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader x0(op.x0);
  RowWriter x_t(op.x_t);
  Noise noise(op.draw, rows.end * op.columns);
  for (size_t row = rows.begin; row < rows.end; ++row) {
    const Vec alpha_bar = set(op.schedule.at(row));
    const Vec signal = sqrt(alpha_bar), sigma = sqrt(set(1.0f) - alpha_bar);
    for (size_t j = 0; j < op.columns; j += chunk_size) {
      const int n = chunk_length(op.columns, j);
      const float *x = x0.read(row, j, n), *eps = noise.at(row * op.columns + j, n);
      float *out = x_t.write(row, j);
      each_vector(n, [&](auto lanes, int i) {
        lanes.store(out + i, fma(sigma, lanes.load(eps + i), signal * lanes.load(x + i)));
      });
      x_t.done(row, j, n);
    }
  }
}

void backward(const DiffuseBackward &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader grad(op.grad);
  RowWriter grad_x0(op.grad_x0);
  for (size_t row = rows.begin; row < rows.end; ++row) {
    const Vec signal = sqrt(set(op.schedule.at(row)));
    for (size_t j = 0; j < op.columns; j += chunk_size) {
      const int n = chunk_length(op.columns, j);
      const float *g = grad.read(row, j, n);
      float *out = grad_x0.write(row, j);
      each_vector(n, [&](auto lanes, int i) { lanes.store(out + i, signal * lanes.load(g + i)); });
      grad_x0.done(row, j, n);
    }
  }
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::DiffuseTable VAEL_ISA_NAME(vael_diffuse_table);
extern "C" const vael::DiffuseTable VAEL_ISA_NAME(vael_diffuse_table) = {vael::VAEL_ISA::forward,
                                                                         vael::VAEL_ISA::backward};
