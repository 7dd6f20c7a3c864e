// The network of a bundle before packing: what the file says, every shape checked.
#pragma once

#include "score/bundle_file.h"
#include "score/plan.h"

#include <cstring>
#include <string>
#include <vector>

namespace vael {

constexpr int widest_layer = 1 << 20;

struct Image {
  int channels, height, width;
  int pixels() const { return height * width; }
};

/// Of two directions each: y, x.
struct Window {
  int kernel[2], stride[2], padding[2], output_padding[2];
};

/// One step of the encoder or decoder as the file has it.
struct Step {
  StepKind kind;
  int in, out;
  Activation activation;
  float slope;
  const float *weight, *bias; // dense [out][in]; conv [to][from][y][x], transposed
                              // [from][to][y][x]; layer_norm [out]
  bool transposed;            // conv only
  Image from, to;             // conv and pools
  Window window;              // conv and pools
  float epsilon;              // layer_norm only
  int groups;                 // layer_norm only
  /// residual only: adds what step `other` of the part makes, -1: what the part begins with
  int other;
};

struct Network {
  const float *mean, *scale; // [n_features]
  std::vector<Step> encoder, decoder;
  int n_features, latent;
  bool gaussian;
  ScoreKind kind;
  std::string kind_name;
  float beta;
};

/// A tensor's bytes may lie at any address in the file: read element by element.
inline float element(const float *p, size_t i) {
  float value;
  std::memcpy(&value, reinterpret_cast<const char *>(p) + i * sizeof(float), sizeof(float));
  return value;
}

inline const float *floats(const Tensor &tensor) {
  return reinterpret_cast<const float *>(tensor.data);
}

/// A number that is a finite float32: a double beyond would be undefined behaviour to convert.
float read_float(const nlohmann::json &object, const char *key, float otherwise,
                 const std::string &where);

/// The steps of "encoder" or "decoder" for rows `in` wide. Throws LoadError naming the step.
std::vector<Step> read_steps(const BundleFile &file, const char *part, int in);

/// The network for the score `kind` (empty: the bundle's own), without what that kind does not use.
/// Throws LoadError naming the step or tensor at fault.
Network read_network(const BundleFile &file, const std::string &kind);

} // namespace vael
