#include "ops/denoising_loss.h"

#include "ops/philox.h"
#include "ops/sums.h"
#include "simd/float_mode.h"

namespace vael::VAEL_ISA {
namespace {

void forward(const DenoisingLoss &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader prediction(op.prediction);
  Noise noise(op.draw, rows.end * op.columns);
  for (size_t row = rows.begin; row < rows.end; ++row) {
    RowSum sum;
    for (size_t j = 0; j < op.columns; j += chunk_size) {
      const int n = chunk_length(op.columns, j);
      const float *p = prediction.read(row, j, n), *eps = noise.at(row * op.columns + j, n);
      sum_vectors(n, sum, [&](auto lanes, int i, Vec &partial) {
        partial = SquaredError::add(lanes.load(eps + i), lanes.load(p + i), partial);
      });
    }
    op.loss[row] = saturate(0.5f * sum.total(), [&] { return prediction.finite(row, op.columns); });
  }
}

void backward(const DenoisingLossBackward &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader prediction(op.prediction);
  RowWriter grad_prediction(op.grad_prediction);
  Noise noise(op.draw, rows.end * op.columns);
  for (size_t row = rows.begin; row < rows.end; ++row) {
    const Vec g = set(op.grad[row]);
    for (size_t j = 0; j < op.columns; j += chunk_size) {
      const int n = chunk_length(op.columns, j);
      const float *p = prediction.read(row, j, n), *eps = noise.at(row * op.columns + j, n);
      float *out = grad_prediction.write(row, j);
      each_vector(n, [&](auto lanes, int i) {
        lanes.store(out + i, g * (lanes.load(p + i) - lanes.load(eps + i)));
      });
      grad_prediction.done(row, j, n);
    }
  }
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::DenoisingLossTable VAEL_ISA_NAME(vael_denoising_loss_table);
extern "C" const vael::DenoisingLossTable VAEL_ISA_NAME(vael_denoising_loss_table) = {
    vael::VAEL_ISA::forward, vael::VAEL_ISA::backward};
