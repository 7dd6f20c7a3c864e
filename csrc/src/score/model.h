// A loaded model: the plan, the packed weights it points into, and the bundle's own test rows.
#pragma once

#include "isa.h"
#include "score/bundle_file.h"
#include "score/plan.h"
#include "score/stencil.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace vael {

/// One allocation of float32s, 64-byte aligned, handed out in 64-byte aligned pieces.
class Arena {
public:
  explicit Arena(size_t floats);
  float *take(size_t floats);
  static size_t rounded(size_t floats) { return (floats + 15) / 16 * 16; }

private:
  struct Free {
    void operator()(float *p) const;
  };
  std::unique_ptr<float[], Free> memory_;
  float *next_;
};

/// Rows in the bundle with the scores and flags they must get, bit for bit.
struct Conformance {
  std::vector<float> rows, scores;
  std::vector<uint8_t> flags;
};

/// A row is anomalous unless its score is at most value.
struct Threshold {
  std::string name;
  float value;
};

/// What the GPU's scorer allows bfloat16 operands: python/vaelocity/cuda/scorer.py.
constexpr float fast_tolerance = 0.1f;

struct Model {
  Plan plan{};
  const ScoreTable *table = nullptr;
  Isa isa = Isa::generic;
  bool fast = false; // dot products of bfloat16: other bits than everywhere else
  std::string kind, metadata, checksum;
  std::vector<Layer> layers; // encoder, then decoder
  std::vector<StencilTables> stencils;
  std::unique_ptr<Arena> arena;
  Conformance conformance;
  std::vector<Threshold> thresholds; // those for `kind`

  size_t workspace_bytes() const { return table->workspace_floats(plan) * sizeof(float); }
};

/// Packs the network of the bundle for the score `kind` (empty: the bundle's own) and `isa`, or for
/// fast mode, which must be available. Throws LoadError naming the step or tensor at fault.
std::unique_ptr<Model> build_model(const BundleFile &file, const std::string &kind, Isa isa,
                                   bool fast);

/// Scores the conformance rows and compares bits; in fast mode flags, and scores within
/// fast_tolerance * (|score| + the median of unflagged scores). Throws LoadError naming the first
/// that differs.
void verify_model(const Model &model);

} // namespace vael
