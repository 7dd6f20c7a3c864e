// The loss and the divergence are their own kernels: rows do not share anything, so one pass over
// x and y and one over mu and logvar are all there is to fuse.

#include "ops/elbo.h"

#include "ops/sums.h"
#include "simd/float_mode.h"

extern "C" const vael::GaussianKlTable VAEL_ISA_NAME(vael_gaussian_kl_table);
extern "C" const vael::ReconstructionLossTable VAEL_ISA_NAME(vael_reconstruction_loss_table);

namespace vael::VAEL_ISA {
namespace {

/// Of two sums that are saturated already: NaN only if one of them is.
float total(float reconstruction, float beta, float kl) {
  return saturate(__builtin_fmaf(beta, kl, reconstruction),
                  [=] { return reconstruction == reconstruction && kl == kl; });
}

void forward(const Elbo &op, Span rows) {
  VAEL_ISA_NAME(vael_reconstruction_loss_table).forward(op.reconstruction, rows);
  VAEL_ISA_NAME(vael_gaussian_kl_table).forward(op.kl, rows);
  const DefaultFloatMode mode;
  for (size_t row = rows.begin; row < rows.end; ++row)
    op.total[row] = total(op.reconstruction.loss[row], op.beta, op.kl.kl[row]);
}

void backward(const ElboBackward &op, Span rows) {
  VAEL_ISA_NAME(vael_reconstruction_loss_table).backward(op.reconstruction, rows);
  VAEL_ISA_NAME(vael_gaussian_kl_table).backward(op.kl, rows);
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::ElboTable VAEL_ISA_NAME(vael_elbo_table);
extern "C" const vael::ElboTable VAEL_ISA_NAME(vael_elbo_table) = {vael::VAEL_ISA::forward,
                                                                   vael::VAEL_ISA::backward};
