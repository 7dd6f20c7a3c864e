// The network of a bundle before packing: what the file says, every shape checked.
#pragma once

#include "score/bundle_file.h"
#include "score/plan.h"

#include <bit>
#include <cstdint>
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

/// The weights of a step, in the file: bfloat16, or else float32.
struct Weights {
  const uint8_t *data;
  bool bfloat16;
};

/// One step of the encoder or decoder as the file has it.
struct Step {
  StepKind kind;
  int in, out;
  Activation activation;
  float slope;
  Weights weight;    // dense [out][in]; conv [to][from][y][x], transposed [from][to][y][x];
                     // layer_norm, bound [out]
  const float *bias; // [out], conv [to]
  bool transposed;   // conv only
  Image from, to;    // conv and pools
  Window window;     // conv and pools
  float epsilon;     // layer_norm only
  int groups;        // layer_norm only
  /// residual only: adds what step `other` of the part makes, -1: what the part begins with
  int other;
};

/// What is done to the columns before `standardize`, as the file says: preprocess.cpp. Vectors are
/// empty, or [n_features].
struct Preprocessing {
  std::vector<float> policy, imputed, absent, low, high, wrapped, logged;
  bool leaves_out = false; // terms of absent or missing values
};

/// What the encoder ends in. gaussian: mu, then logvar. embedding: the decoder goes on from there
/// and back to there. output: the score.
enum class LatentKind { point, gaussian, embedding, output };

struct Network {
  const float *mean, *scale; // [n_features]
  std::vector<Step> encoder, decoder;
  Preprocessing preprocessing;
  int n_features, latent;
  LatentKind latent_kind;
  ScoreKind kind;
  std::string kind_name;
  Loss loss;
  float beta, delta;
};

/// A tensor's bytes may lie at any address in the file: read element by element.
inline float element(const float *p, size_t i) {
  float value;
  std::memcpy(&value, reinterpret_cast<const char *>(p) + i * sizeof(float), sizeof(float));
  return value;
}

/// The bits of a bfloat16 are the upper half of those of the float32 that is equal to it.
inline float element(const Weights &weights, size_t i) {
  if (!weights.bfloat16)
    return element(reinterpret_cast<const float *>(weights.data), i);
  uint16_t half;
  std::memcpy(&half, weights.data + i * sizeof(half), sizeof(half));
  return std::bit_cast<float>(uint32_t{half} << 16);
}

inline const float *floats(const Tensor &tensor) {
  return reinterpret_cast<const float *>(tensor.data);
}

/// A number that is a finite float32: a double beyond would be undefined behaviour to convert.
float read_float(const nlohmann::json &object, const char *key, float otherwise,
                 const std::string &where);

/// A key of `object` that is not among `known` is an error: what is not understood is not passed
/// over.
void check_keys(const nlohmann::json &object, const std::vector<const char *> &known,
                const std::string &where);

/// "preprocess" of the file, into mean, scale and preprocessing. Throws LoadError naming the step.
void read_preprocessing(const BundleFile &file, Network &net);

/// The steps of "encoder" or "decoder" for rows `in` wide. Throws LoadError naming the step.
std::vector<Step> read_steps(const BundleFile &file, const char *part, int in);

/// The network for the score `kind` (empty: the bundle's own), without what that kind does not use.
/// Throws LoadError naming the step or tensor at fault.
Network read_network(const BundleFile &file, const std::string &kind);

} // namespace vael
