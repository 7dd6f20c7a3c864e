// A whole score in one pass: rows in, scores and flags out. Compiled once per instruction set.
//
// score() cuts the rows into tiles. A tile goes through the whole network in L1 with its rows in
// the vector (score_tile); a few rows left over, or a single event, with the outputs in the vector
// (score_few). Both follow the summation orders of dense.h and terms.h: same row, same bits.

#include "score/kernels/bound.h"
#include "score/kernels/conv.h"
#include "score/kernels/dense.h"
#if defined(VAEL_ISA_AVX512_BF16)
#include "score/kernels/fast.h"
#endif
#include "score/kernels/input.h"
#include "score/kernels/loss.h"
#include "score/kernels/norm.h"
#include "score/kernels/pool.h"
#include "score/plan.h"
#include "simd/float_mode.h"
#include "simd/terms.h"

#include <float.h>

namespace vael::VAEL_ISA {
namespace {

bool needs_decoder(ScoreKind kind) {
  return kind == ScoreKind::reconstruction || kind == ScoreKind::elbo ||
         kind == ScoreKind::latent_reconstruction;
}

/// The score that the sums make, before saturation. Sums a kind does not use are 0.
float combine(const Plan &plan, float reconstruction_sum, float latent_sum) {
  const float scale = loss_scale(plan.loss);
  switch (plan.kind) {
  case ScoreKind::reconstruction:
  case ScoreKind::latent_reconstruction:
    return scale * reconstruction_sum;
  case ScoreKind::kl:
    return 0.5f * latent_sum;
  case ScoreKind::mu2:
  case ScoreKind::rz:
  case ScoreKind::output:
    return latent_sum;
  case ScoreKind::elbo:
    return __builtin_fmaf(plan.beta, 0.5f * latent_sum, scale * reconstruction_sum);
  }
  return 0.0f;
}

/// What a caller sees of a value: NaN for a row that is not finite, never inf, never a silent NaN.
float saturate(float value, bool finite) {
  if (!finite)
    return __builtin_nanf("");
  if (value < -FLT_MAX)
    return -FLT_MAX;
  return value <= FLT_MAX ? value : FLT_MAX;
}

void write(const Plan &plan, const Results &results, size_t row, float reconstruction_sum,
           float latent_sum, Status status) {
  const float score = combine(plan, reconstruction_sum, latent_sum);
  results.scores[row] = saturate(score, status.finite);
  if (results.flags) {
    const bool within = score <= FLT_MAX && score >= -FLT_MAX;
    results.flags[row] = !status.finite ? flag_nonfinite
                                        : static_cast<uint8_t>((within ? 0 : flag_saturated) |
                                                               (status.missed ? flag_missing : 0));
  }
  if (results.anomalous)
    results.anomalous[row] = !(results.scores[row] <= results.threshold);
}

/// The terms of one row's loss; x and y hold feature j at j * stride, as does what says which
/// count.
void write_features(const Plan &plan, const Results &results, size_t row, const float *x,
                    const float *y, const float *keep, ptrdiff_t stride, bool finite) {
  float *out = results.features + row * static_cast<size_t>(plan.n_features);
  with_loss(plan, [&](auto loss) { loss_terms(loss, x, y, keep, stride, plan.n_features, out); });
  for (int j = 0; j < plan.n_features; ++j)
    out[j] = saturate(out[j], finite);
}

/// What the decoder's output is compared with: the features, or the embedding that it began with.
struct Target {
  int at, width;
  bool plain; // all of it, by the squared error
  explicit Target(const Plan &plan) : at(0), width(plan.n_features) {
    if (plan.kind == ScoreKind::latent_reconstruction) {
      at = plan.latent_at;
      width = plan.latent;
    }
    plain = plan.loss == Loss::squared_error && !keeps(plan);
  }
  /// Terms of absent features leave the loss; of an embedding all count.
  static bool keeps(const Plan &plan) {
    return plan.columns.keep_at >= 0 && plan.kind != ScoreKind::latent_reconstruction;
  }
};

/// The sums over the latent variables, dispatched on the kind: f(Term{}) is called for kinds that
/// have one.
template <class F> void latent_term(ScoreKind kind, F f) {
  switch (kind) {
  case ScoreKind::kl:
  case ScoreKind::elbo:
    return f(KlTerm{});
  case ScoreKind::mu2:
    return f(Mu2Term{});
  case ScoreKind::rz:
    return f(RzTerm{});
  case ScoreKind::reconstruction:
  case ScoreKind::latent_reconstruction:
  case ScoreKind::output:
    return;
  }
}

// ---- Many rows

void step_tile(const Layer &layer, float *memory, int tile, int rows, Ahead &ahead) {
  const float *in = memory + static_cast<ptrdiff_t>(layer.in_at) * tile;
  float *out = memory + static_cast<ptrdiff_t>(layer.out_at) * tile;
  switch (layer.kind) {
  case StepKind::dense:
    return dense_tile(layer, in, out, memory + static_cast<ptrdiff_t>(layer.scratch_at) * tile,
                      tile, rows, ahead);
  case StepKind::conv:
    return conv_tile(layer, in, out, tile, rows);
  case StepKind::max_pool:
  case StepKind::average_pool:
    return pool_tile(layer, in, out, tile, rows);
  case StepKind::layer_norm:
    return layer_norm_tile(layer, in, out, tile, rows);
  case StepKind::bound:
    return bound_tile(layer, in, out, tile, rows);
  case StepKind::residual: {
    const float *other = memory + static_cast<ptrdiff_t>(layer.other_at) * tile;
    for (int j = 0; j < layer.out; ++j)
      residual_values(layer, in + j * tile, other + j * tile, out + j * tile, rows);
  }
  }
}

void score_tile(const Plan &plan, const Rows &rows, size_t first, size_t at, int count,
                Ahead &ahead, float *workspace, const Results &results) {
  const int tile = plan.tile_rows;
  const int used = (count + group_rows - 1) / group_rows * group_rows;
  float *reconstruction = workspace; // [tile]
  float *latent = reconstruction + tile;
  float *bad = latent + tile;
  float *missed = bad + tile;
  float *x = missed + tile; // [row_floats][tile]

  load_tile(plan, rows, first, count, used, x, bad, missed, tile);
  for (int i = 0; i < plan.n_encoder; ++i)
    step_tile(plan.encoder[i], x, tile, used, ahead);
  const float *z = x + static_cast<ptrdiff_t>(plan.latent_at) * tile;
  for (int r = 0; r < used; r += Vec::lanes) {
    store(reconstruction + r, zero());
    store(latent + r, zero());
    latent_term(plan.kind, [&]<class Term>(Term) {
      const float *logvar = plan.kind == ScoreKind::mu2 ? z : z + plan.latent * tile;
      store(latent + r, sum_rows<Term>(z + r, logvar + r, tile, plan.latent));
    });
    if (plan.kind == ScoreKind::output)
      store(latent + r, load(z + r));
  }
  const float *y = x + static_cast<ptrdiff_t>(plan.output_at) * tile;
  const Target target(plan);
  const float *keep = Target::keeps(plan) ? x + plan.columns.keep_at * tile : nullptr;
  if (needs_decoder(plan.kind)) {
    for (int i = 0; i < plan.n_decoder; ++i)
      step_tile(plan.decoder[i], x, tile, used, ahead);
    const float *to = x + static_cast<ptrdiff_t>(target.at) * tile;
    for (int r = 0; r < used; r += Vec::lanes)
      if (target.plain)
        store(reconstruction + r, sum_rows<SquaredError>(to + r, y + r, tile, target.width));
      else
        with_loss(plan, [&](auto loss) {
          store(reconstruction + r,
                loss_rows(loss, to + r, y + r, keep ? keep + r : nullptr, tile, target.width));
        });
  }
  for (int r = 0; r < count; ++r) {
    const Status status{bad[r] == 0.0f, missed[r] != 0.0f};
    write(plan, results, at + r, reconstruction[r], latent[r], status);
    if (results.features)
      write_features(plan, results, at + r, x + r, y + r, keep ? keep + r : nullptr, tile,
                     status.finite);
  }
}

// ---- Few rows

constexpr int few_at_once = 4;

/// Up to so many rows, score_few beats a group of rows that is not full (measured on Zen 4, where
/// four rows at once cost 1.1 times a row of a full tile with AVX-512, 1.4 times with AVX2).
#if defined(VAEL_ISA_AVX512)
constexpr int few_rows = 28;
#else
constexpr int few_rows = group_rows * 2 / 3;
#endif

/// memory: R rows of plan.row_floats each. Only dense steps gain by computing rows together: their
/// weights are read once for all.
template <int R> void step_few(const Layer &layer, float *memory, ptrdiff_t stride) {
  if (layer.kind == StepKind::dense)
    return dense_few<R>(layer, memory + layer.in_at, memory + layer.out_at,
                        memory + layer.scratch_at, stride);
  for (int r = 0; r < R; ++r, memory += stride) {
    const float *in = memory + layer.in_at;
    float *out = memory + layer.out_at;
    switch (layer.kind) {
    case StepKind::conv:
      conv_one(layer, in, out, memory + layer.scratch_at);
      break;
    case StepKind::max_pool:
    case StepKind::average_pool:
      pool_one(layer, in, out, memory + layer.scratch_at);
      break;
    case StepKind::layer_norm:
      layer_norm_one(layer, in, out);
      break;
    case StepKind::bound:
      bound_one(layer, in, out);
      break;
    case StepKind::residual:
      residual_values(layer, in, memory + layer.other_at, out, padded(layer.out));
      break;
    case StepKind::dense:
      break;
    }
  }
}

float sum_loss(const Plan &plan, const float *x, const float *y, const float *keep, int n) {
  float sum = 0;
  with_loss(plan, [&](auto loss) { sum = loss_one(loss, x, y, keep, n); });
  return sum;
}

template <int R>
void score_few(const Plan &plan, const Rows &rows, size_t first, size_t at, float *workspace,
               const Results &results) {
  const ptrdiff_t stride = plan.row_floats;
  float *x = workspace; // [R][stride]

  Status status[R];
  for (int r = 0; r < R; ++r)
    status[r] = load_one(plan, rows, first + r, x + r * stride);
  for (int i = 0; i < plan.n_encoder; ++i)
    step_few<R>(plan.encoder[i], x, stride);
  const float *z = x + plan.latent_at;
  float latent[R] = {}, reconstruction[R] = {};
  latent_term(plan.kind, [&]<class Term>(Term) {
    const float *logvar = plan.kind == ScoreKind::mu2 ? z : z + plan.latent;
    for (int r = 0; r < R; ++r)
      latent[r] = sum_one<Term>(z + r * stride, logvar + r * stride, plan.latent);
  });
  if (plan.kind == ScoreKind::output)
    for (int r = 0; r < R; ++r)
      latent[r] = z[r * stride];
  const float *y = x + plan.output_at;
  const Target target(plan);
  const float *keep = Target::keeps(plan) ? x + plan.columns.keep_at : nullptr;
  if (needs_decoder(plan.kind)) {
    for (int i = 0; i < plan.n_decoder; ++i)
      step_few<R>(plan.decoder[i], x, stride);
    for (int r = 0; r < R; ++r)
      reconstruction[r] = target.plain ? sum_one<SquaredError>(x + target.at + r * stride,
                                                               y + r * stride, target.width)
                                       : sum_loss(plan, x + target.at + r * stride, y + r * stride,
                                                  keep ? keep + r * stride : nullptr, target.width);
  }
  for (int r = 0; r < R; ++r) {
    write(plan, results, at + r, reconstruction[r], latent[r], status[r]);
    if (results.features)
      write_features(plan, results, at + r, x + r * stride, y + r * stride,
                     keep ? keep + r * stride : nullptr, 1, status[r].finite);
  }
}

size_t workspace_floats(const Plan &plan) {
  const size_t tile = static_cast<size_t>(plan.tile_rows);
  const size_t row = static_cast<size_t>(plan.row_floats);
  const size_t many = tile * (4 + row);
  const size_t few = few_at_once * row;
  return many > few ? many : few;
}

/// Of the dense layers that a row goes through.
float dense_products(const Plan &plan) {
  float products = 0;
  const auto add = [&](const Layer *layers, int n) {
    for (int i = 0; i < n; ++i)
      if (layers[i].kind == StepKind::dense)
        products += static_cast<float>(layers[i].in) * static_cast<float>(layers[i].out);
  };
  add(plan.encoder, plan.n_encoder);
  if (needs_decoder(plan.kind))
    add(plan.decoder, plan.n_decoder);
  return products;
}

/// How many of the rows that are left the next tile takes. A last group too empty to be worth its
/// full price is left to score_few.
size_t rows_for_tile(const Plan &plan, size_t left) {
  const size_t tile = static_cast<size_t>(plan.tile_rows);
  const size_t count = left < tile ? left : tile;
  const size_t last_group = count % group_rows;
  return last_group <= static_cast<size_t>(plan.few_rows) ? count - last_group : count;
}

void score(const Plan &plan, const Rows &rows, size_t first, size_t n, float *workspace,
           const Results &results) {
  const DefaultFloatMode mode;
  const size_t tile = static_cast<size_t>(plan.tile_rows);
  size_t at = 0;
  const float products = n > static_cast<size_t>(plan.few_rows) ? dense_products(plan) : 0;
  while (const size_t count = rows_for_tile(plan, n - at)) {
    const size_t next = n - at - count < tile ? n - at - count : tile;
    Ahead ahead(plan, rows, first + at + count, static_cast<int>(next),
                products * static_cast<float>(count));
    score_tile(plan, rows, first + at, at, static_cast<int>(count), ahead, workspace, results);
    at += count;
  }
  for (; n - at >= few_at_once; at += few_at_once)
    score_few<few_at_once>(plan, rows, first + at, at, workspace, results);
  if (n - at >= 2) {
    score_few<2>(plan, rows, first + at, at, workspace, results);
    at += 2;
  }
  if (at < n)
    score_few<1>(plan, rows, first + at, at, workspace, results);
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::ScoreTable VAEL_ISA_NAME(vael_score_table);
extern "C" const vael::ScoreTable VAEL_ISA_NAME(vael_score_table) = {
    vael::VAEL_ISA::Vec::lanes,
    vael::VAEL_ISA::block_outputs,
    vael::VAEL_ISA::conv_block_channels,
    vael::VAEL_ISA::group_rows,
    32,
    vael::VAEL_ISA::few_rows,
    vael::VAEL_ISA::workspace_floats,
    vael::VAEL_ISA::score};
