// The reconstruction losses, feature by feature, and their sum and gradient over one row.
#pragma once

#include "ops/reconstruction_loss.h"
#include "ops/sums.h"

namespace vael::VAEL_ISA {

/// A feature's term as a product, so that adding it, weighted or not, is one fma more.
struct Term {
  Vec a, b;
};
/// With respect to y, or to the mean and the logvar.
struct Gradient {
  Vec y, logvar;
};

// Each kind has a scale, term(x, y, logvar) with loss = scale * sum term, and the gradient of
// g * loss. Only GaussianNll has a logvar.

struct SquaredErrorLoss { // 1/2 d^2 with d = y - x; the terms of SquaredError, bit for bit
  static constexpr bool has_logvar = false;
  static constexpr float scale = 0.5f;
  explicit SquaredErrorLoss(const ReconstructionLoss &) {}
  Term term(Vec x, Vec y, Vec) const { return {y - x, y - x}; }
  Gradient gradient(Vec g, Vec x, Vec y, Vec) const { return {g * (y - x), zero()}; }
};

struct AbsoluteErrorLoss { // |d|
  static constexpr bool has_logvar = false;
  static constexpr float scale = 1.0f;
  explicit AbsoluteErrorLoss(const ReconstructionLoss &) {}
  Term term(Vec x, Vec y, Vec) const { return {abs(y - x), set(1.0f)}; }
  Gradient gradient(Vec g, Vec x, Vec y, Vec) const { return {g * sign(y - x), zero()}; }
};

struct HuberLoss { // 1/2 d^2 for |d| <= delta, delta (|d| - delta / 2) beyond
  static constexpr bool has_logvar = false;
  static constexpr float scale = 1.0f;
  Vec delta;
  explicit HuberLoss(const ReconstructionLoss &op) : delta(set(op.delta)) {}
  Term term(Vec x, Vec y, Vec) const {
    const Vec d = abs(y - x), q = min(delta, d);
    return {q, fma(set(-0.5f), q, d)};
  }
  Gradient gradient(Vec g, Vec x, Vec y, Vec) const {
    return {g * max(zero() - delta, min(delta, y - x)), zero()};
  }
};

struct BceWithLogitsLoss { // max(y, 0) - x y + ln(1 + e^-|y|)
  static constexpr bool has_logvar = false;
  static constexpr float scale = 1.0f;
  explicit BceWithLogitsLoss(const ReconstructionLoss &) {}
  Term term(Vec x, Vec y, Vec) const { return {fma(zero() - x, y, softplus(y)), set(1.0f)}; }
  Gradient gradient(Vec g, Vec x, Vec y, Vec) const { return {g * (sigmoid(y) - x), zero()}; }
};

struct GaussianNllLoss { // 1/2 (logvar + d^2 e^-logvar)
  static constexpr bool has_logvar = true;
  static constexpr float scale = 0.5f;
  explicit GaussianNllLoss(const ReconstructionLoss &) {}
  /// d / sigma, which overflows later than d^2 and e^-logvar do, and is 0 where d is.
  static Vec inverse_sigma(Vec logvar) { return min(set(FLT_MAX), exp(set(-0.5f) * logvar)); }
  Term term(Vec x, Vec y, Vec logvar) const {
    const Vec t = (y - x) * inverse_sigma(logvar);
    return {fma(t, t, logvar), set(1.0f)};
  }
  Gradient gradient(Vec g, Vec x, Vec y, Vec logvar) const {
    const Vec inverse = inverse_sigma(logvar), t = (y - x) * inverse;
    return {g * t * inverse, g * set(0.5f) * fma(zero() - t, t, set(1.0f))};
  }
};

/// f.template operator()<Kind, featured>(): featured where features are masked or weighted.
template <class F> void for_loss_kind(const ReconstructionLoss &op, F f) {
  const auto featured = [&]<class Kind>(Kind *) {
    if (op.mask.data || op.weight)
      f.template operator()<Kind, true>();
    else
      f.template operator()<Kind, false>();
  };
  switch (op.kind) {
  case LossKind::squared_error:
    return featured(static_cast<SquaredErrorLoss *>(nullptr));
  case LossKind::absolute_error:
    return featured(static_cast<AbsoluteErrorLoss *>(nullptr));
  case LossKind::huber:
    return featured(static_cast<HuberLoss *>(nullptr));
  case LossKind::bce_with_logits:
    return featured(static_cast<BceWithLogitsLoss *>(nullptr));
  case LossKind::gaussian_nll:
    return featured(static_cast<GaussianNllLoss *>(nullptr));
  }
}

/// The rows of x and y, and the loss and its gradient of one row.
template <class Kind, bool featured> class LossRows {
public:
  explicit LossRows(const ReconstructionLoss &op)
      : op_(op), kind_(op), x_(op.x), y_(op.y), logvar_(op.y) {}

  float loss(size_t row) {
    RowSum sum;
    for (size_t j = 0; j < op_.columns; j += chunk_size) {
      const Chunk c = chunk(row, j);
      sum_vectors(c.n, sum, [&](auto lanes, int i, Vec &partial) {
        Term t = kind_.term(lanes.load(c.x + i), lanes.load(c.y + i), logvar(lanes, c, i));
        t.a = weighted(lanes, c, i, t.a);
        partial = lanes.keep(counted(lanes, c, i, fma(t.a, t.b, partial), partial), partial);
      });
    }
    return saturate(Kind::scale * sum.total(), [&] { return finite(row); });
  }

  void gradient(size_t row, float grad_loss, RowWriter &grad_y, RowWriter &grad_logvar) {
    const Vec g = set(grad_loss);
    for (size_t j = 0; j < op_.columns; j += chunk_size) {
      const Chunk c = chunk(row, j);
      float *dy = grad_y.write(row, j);
      float *dlogvar = Kind::has_logvar ? grad_logvar.write(row, op_.columns + j) : nullptr;
      each_vector(c.n, [&](auto lanes, int i) {
        const Gradient d = kind_.gradient(weighted(lanes, c, i, g), lanes.load(c.x + i),
                                          lanes.load(c.y + i), logvar(lanes, c, i));
        lanes.store(dy + i, counted(lanes, c, i, d.y, zero()));
        if constexpr (Kind::has_logvar)
          lanes.store(dlogvar + i, counted(lanes, c, i, d.logvar, zero()));
      });
      grad_y.done(row, j, c.n);
      if constexpr (Kind::has_logvar)
        grad_logvar.done(row, op_.columns + j, c.n);
    }
  }

private:
  struct Chunk {
    int n;
    const float *x, *y, *logvar, *weight;
    const uint8_t *mask;
  };

  Chunk chunk(size_t row, size_t j) {
    const int n = chunk_length(op_.columns, j);
    Chunk c{n, x_.read(row, j, n), y_.read(row, j, n), nullptr, nullptr, nullptr};
    if constexpr (Kind::has_logvar)
      c.logvar = logvar_.read(row, op_.columns + j, n);
    if (featured && op_.weight)
      c.weight = op_.weight + j;
    if (featured && op_.mask.data)
      c.mask = op_.mask.data + static_cast<ptrdiff_t>(row) * op_.mask.row_stride + j;
    return c;
  }

  template <class Lanes> static Vec logvar(Lanes lanes, const Chunk &c, int i) {
    if constexpr (Kind::has_logvar)
      return lanes.load(c.logvar + i);
    return zero();
  }
  template <class Lanes> static Vec weighted(Lanes lanes, const Chunk &c, int i, Vec a) {
    return featured && c.weight ? lanes.load(c.weight + i) * a : a;
  }
  /// `yes` where the mask keeps the feature.
  template <class Lanes> static Vec counted(Lanes lanes, const Chunk &c, int i, Vec yes, Vec no) {
    return featured && c.mask ? select(lanes.load_mask(c.mask + i), yes, no) : yes;
  }

  /// No NaN and no inf among what counts.
  bool finite(size_t row) {
    Vec bad = zero();
    for (size_t j = 0; j < op_.columns; j += chunk_size) {
      const Chunk c = chunk(row, j);
      each_vector(c.n, [&](auto lanes, int i) {
        Vec b = fma(lanes.load(c.x + i), zero(), fma(lanes.load(c.y + i), zero(), bad));
        b = fma(logvar(lanes, c, i), zero(), fma(weighted(lanes, c, i, set(1.0f)), zero(), b));
        bad = counted(lanes, c, i, b, bad);
      });
    }
    return all_zero(bad);
  }

  const ReconstructionLoss &op_;
  Kind kind_;
  RowReader x_, y_, logvar_;
};

} // namespace vael::VAEL_ISA
