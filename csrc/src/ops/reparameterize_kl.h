// reparameterize_kl: z = mu + exp(logvar / 2) eps and the divergence of gaussian_kl, in one pass.
#pragma once

#include "ops/matrix.h"

namespace vael {

struct ReparameterizeKl {
  Input mu, logvar;
  Draw draw;
  size_t columns;
  Output z;
  float *kl; // [rows]
};
struct ReparameterizeKlBackward {
  Input grad_z;
  PerRow grad_kl;
  Input mu, logvar;
  Draw draw;
  size_t columns;
  Output grad_mu, grad_logvar;
};
struct ReparameterizeKlTable {
  void (*forward)(const ReparameterizeKl &, Span);
  void (*backward)(const ReparameterizeKlBackward &, Span);
};

} // namespace vael
