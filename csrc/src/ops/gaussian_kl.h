// gaussian_kl: kl[b] = 1/2 sum_j (mu^2 + expm1(logvar) - logvar).
#pragma once

#include "ops/matrix.h"

namespace vael {

struct GaussianKl {
  Input mu, logvar;
  size_t columns;
  float *kl; // [rows]
};
struct GaussianKlBackward {
  PerRow grad_kl;
  PerRow grad_total; // beta times it is added where an elbo holds the divergence, else its data are
  float beta;        // null
  Input mu, logvar;
  size_t columns;
  Output grad_mu, grad_logvar;
};
struct GaussianKlTable {
  void (*forward)(const GaussianKl &, Span);
  void (*backward)(const GaussianKlBackward &, Span);
};

} // namespace vael
