// reparameterize: z = mu + exp(logvar / 2) eps.
#pragma once

#include "ops/matrix.h"

namespace vael {

struct Reparameterize {
  Input mu, logvar;
  Draw draw;
  size_t columns;
  Output z;
};
struct ReparameterizeBackward {
  Input grad_z, logvar;
  Draw draw;
  size_t columns;
  Output grad_logvar; // the gradient of mu is grad_z
};
struct ReparameterizeTable {
  void (*forward)(const Reparameterize &, Span);
  void (*backward)(const ReparameterizeBackward &, Span);
};

} // namespace vael
