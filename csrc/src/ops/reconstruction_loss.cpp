#include "ops/reconstruction_loss.h"

#include "ops/losses.h"
#include "simd/float_mode.h"

namespace vael::VAEL_ISA {
namespace {

void forward(const ReconstructionLoss &op, Span rows) {
  const DefaultFloatMode mode;
  for_loss_kind(op, [&]<class Kind, bool featured>() {
    LossRows<Kind, featured> in(op);
    for (size_t row = rows.begin; row < rows.end; ++row)
      op.loss[row] = in.loss(row);
  });
}

void backward(const ReconstructionLossBackward &op, Span rows) {
  const DefaultFloatMode mode;
  for_loss_kind(op.loss, [&]<class Kind, bool featured>() {
    LossRows<Kind, featured> in(op.loss);
    RowWriter grad_y(op.grad_y), grad_logvar(op.grad_y);
    for (size_t row = rows.begin; row < rows.end; ++row)
      in.gradient(row, op.grad_loss[row] + (op.grad_total.data ? op.grad_total[row] : 0.0f), grad_y,
                  grad_logvar);
  });
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::ReconstructionLossTable VAEL_ISA_NAME(vael_reconstruction_loss_table);
extern "C" const vael::ReconstructionLossTable VAEL_ISA_NAME(vael_reconstruction_loss_table) = {
    vael::VAEL_ISA::forward, vael::VAEL_ISA::backward};
