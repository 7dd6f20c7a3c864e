// elbo: total[b] = reconstruction[b] + beta kl[b], the loss of a variational autoencoder.
#pragma once

#include "ops/gaussian_kl.h"
#include "ops/reconstruction_loss.h"

namespace vael {

struct Elbo {
  ReconstructionLoss reconstruction;
  GaussianKl kl;
  float beta;
  float *total; // [rows]
};
/// Both parts hold the gradient of the total.
struct ElboBackward {
  ReconstructionLossBackward reconstruction;
  GaussianKlBackward kl;
};
struct ElboTable {
  void (*forward)(const Elbo &, Span);
  void (*backward)(const ElboBackward &, Span);
};

} // namespace vael
