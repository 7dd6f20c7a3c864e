// From the network to the plan: every weight packed once, every value given its place.
#pragma once

#include "score/model.h"
#include "score/network.h"

namespace vael {

/// Fills model.plan and what it points into. model.table and model.fast must be set.
void pack_network(const Network &net, Model &model);

} // namespace vael
