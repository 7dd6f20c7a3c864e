// elbo: total[b] = reconstruction[b] + beta kl[b], the loss of a variational autoencoder.
#pragma once

#include "ops/reconstruction_loss.h"

namespace vael {

struct Elbo {
  ReconstructionLoss reconstruction;
  Input mu, logvar;
  size_t latent;
  float beta;
  float *total, *kl; // [rows]
};
struct ElboBackward {
  ReconstructionLossBackward reconstruction; // holds the gradients of total and reconstruction
  PerRow grad_kl;
  Input mu, logvar;
  size_t latent;
  float beta;
  Output grad_mu, grad_logvar;
};
struct ElboTable {
  void (*forward)(const Elbo &, Span);
  void (*backward)(const ElboBackward &, Span);
};

} // namespace vael
