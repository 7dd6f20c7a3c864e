#include "ops/gaussian_kl.h"

#include "ops/kl_terms.h"
#include "simd/float_mode.h"

namespace vael::VAEL_ISA {
namespace {

void forward(const GaussianKl &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader mu(op.mu), logvar(op.logvar);
  for (size_t row = rows.begin; row < rows.end; ++row)
    op.kl[row] = kl_of_row(mu, logvar, row, op.columns);
}

void backward(const GaussianKlBackward &op, Span rows) {
  const DefaultFloatMode mode;
  RowReader mu(op.mu), logvar(op.logvar);
  RowWriter grad_mu(op.grad_mu), grad_logvar(op.grad_logvar);
  for (size_t row = rows.begin; row < rows.end; ++row)
    kl_gradient_of_row(op.grad_kl[row], mu, logvar, row, op.columns, grad_mu, grad_logvar);
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::GaussianKlTable VAEL_ISA_NAME(vael_gaussian_kl_table);
extern "C" const vael::GaussianKlTable VAEL_ISA_NAME(vael_gaussian_kl_table) = {
    vael::VAEL_ISA::forward, vael::VAEL_ISA::backward};
