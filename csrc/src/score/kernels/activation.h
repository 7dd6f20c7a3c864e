// The activations, over Vec: lane by lane, so the layout of the values does not matter.
#pragma once

#include "score/plan.h"
#include "simd/math.h"
#include "simd/vec.h"

namespace vael::VAEL_ISA {

/// values[0 .. n) = f(values[0 .. n)); n is a multiple of Vec::lanes.
template <class F> inline void map(float *values, int n, F f) {
  for (int i = 0; i < n; i += Vec::lanes)
    store(values + i, f(load(values + i)));
}

/// The layer's activation in place, relu left out: finish() in dense.h has done it.
inline void activate(const Layer &layer, float *values, int n) {
  const float slope = layer.slope;
  switch (layer.activation) {
  case Activation::identity:
  case Activation::relu:
    return;
  case Activation::leaky_relu:
    return map(values, n, [slope](Vec x) { return select(less(zero(), x), x, x * set(slope)); });
  case Activation::tanh:
    return map(values, n, [](Vec x) { return tanh(x); });
  case Activation::sigmoid:
    return map(values, n, [](Vec x) { return sigmoid(x); });
  case Activation::elu:
    return map(values, n, [](Vec x) { return select(less(zero(), x), x, expm1(x)); });
  case Activation::silu:
    return map(values, n, [](Vec x) { return x * sigmoid(x); });
  case Activation::gelu:
    return map(values, n,
               [](Vec x) { return x * set(0.5f) * (set(1.0f) + erf(x * set(0x1.6a09e6p-1f))); });
  }
}

} // namespace vael::VAEL_ISA
