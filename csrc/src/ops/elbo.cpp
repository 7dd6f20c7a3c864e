#include "ops/elbo.h"

#include "ops/kl_terms.h"
#include "ops/losses.h"
#include "simd/float_mode.h"

namespace vael::VAEL_ISA {
namespace {

/// Of two sums that are saturated already: NaN only if one of them is.
float total(float reconstruction, float beta, float kl) {
  const float sum = __builtin_fmaf(beta, kl, reconstruction);
  return saturate(sum, [=] { return reconstruction == reconstruction && kl == kl; });
}

void forward(const Elbo &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader mu(op.mu), logvar(op.logvar);
  for_loss_kind(op.reconstruction, [&]<class Kind, bool featured>() {
    LossRows<Kind, featured> in(op.reconstruction);
    for (size_t row = rows.begin; row < rows.end; ++row) {
      const float loss = in.loss(row), kl = kl_of_row(mu, logvar, row, op.latent);
      op.reconstruction.loss[row] = loss;
      op.kl[row] = kl;
      op.total[row] = total(loss, op.beta, kl);
    }
  });
}

void backward(const ElboBackward &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader mu(op.mu), logvar(op.logvar);
  RowWriter grad_mu(op.grad_mu), grad_logvar(op.grad_logvar);
  for_loss_kind(op.reconstruction, [&]<class Kind, bool featured>() {
    LossRows<Kind, featured> in(op.reconstruction);
    RowWriter grad_y(op.grad_y), grad_y_logvar(op.grad_y);
    for (size_t row = rows.begin; row < rows.end; ++row) {
      const float of_total = op.grad_total[row];
      in.gradient(row, op.grad_reconstruction[row] + of_total, grad_y, grad_y_logvar);
      kl_gradient_of_row(__builtin_fmaf(op.beta, of_total, op.grad_kl[row]), mu, logvar, row,
                         op.latent, grad_mu, grad_logvar);
    }
  });
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::ElboTable VAEL_ISA_NAME(vael_elbo_table);
extern "C" const vael::ElboTable VAEL_ISA_NAME(vael_elbo_table) = {vael::VAEL_ISA::forward,
                                                                   vael::VAEL_ISA::backward};
