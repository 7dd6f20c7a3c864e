#include "ops/elbo.h"

#include "ops/kl_terms.h"
#include "simd/float_mode.h"

extern "C" const vael::ReconstructionLossTable VAEL_ISA_NAME(vael_reconstruction_loss_table);

namespace vael::VAEL_ISA {
namespace {

const ReconstructionLossTable &reconstruction = VAEL_ISA_NAME(vael_reconstruction_loss_table);

/// Of two sums that are saturated already: NaN only if one of them is.
float total(float loss, float beta, float kl) {
  return saturate(__builtin_fmaf(beta, kl, loss), [=] { return loss == loss && kl == kl; });
}

void forward(const Elbo &op, Span rows) {
  const DefaultFloatMode mode;
  reconstruction.forward(op.reconstruction, rows);
  RowReader mu(op.mu), logvar(op.logvar);
  for (size_t row = rows.begin; row < rows.end; ++row) {
    op.kl[row] = kl_of_row(mu, logvar, row, op.latent);
    op.total[row] = total(op.reconstruction.loss[row], op.beta, op.kl[row]);
  }
}

void backward(const ElboBackward &op, Span rows) {
  const DefaultFloatMode mode;
  reconstruction.backward(op.reconstruction, rows);
  RowReader mu(op.mu), logvar(op.logvar);
  RowWriter grad_mu(op.grad_mu), grad_logvar(op.grad_logvar);
  for (size_t row = rows.begin; row < rows.end; ++row)
    kl_gradient_of_row(__builtin_fmaf(op.beta, op.reconstruction.grad_total[row], op.grad_kl[row]),
                       mu, logvar, row, op.latent, grad_mu, grad_logvar);
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::ElboTable VAEL_ISA_NAME(vael_elbo_table);
extern "C" const vael::ElboTable VAEL_ISA_NAME(vael_elbo_table) = {vael::VAEL_ISA::forward,
                                                                   vael::VAEL_ISA::backward};
