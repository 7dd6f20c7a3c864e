// The terms of the reconstruction losses and their sum: of all features, or of those that count.
//
// Sums follow the order of terms.h. A term that does not count is not added: its partial sum stays.
#pragma once

#include "score/plan.h"
#include "simd/terms.h"

namespace vael::VAEL_ISA {

// term() is the loss of a feature, add() adds it to a partial sum before the loss's scale.

struct SquaredLoss { // 1/2 d^2 with d = y - x
  explicit SquaredLoss(const Plan &) {}
  Vec add(Vec x, Vec y, Vec sum) const { return SquaredError::add(x, y, sum); }
  Vec term(Vec x, Vec y) const { return set(0.5f) * ((y - x) * (y - x)); }
};
struct AbsoluteLoss { // |d|
  explicit AbsoluteLoss(const Plan &) {}
  Vec add(Vec x, Vec y, Vec sum) const { return sum + term(x, y); }
  Vec term(Vec x, Vec y) const { return abs(y - x); }
};
struct HuberLoss { // 1/2 d^2 for |d| <= delta, delta (|d| - delta / 2) beyond
  Vec delta;
  explicit HuberLoss(const Plan &plan) : delta(set(plan.delta)) {}
  Vec add(Vec x, Vec y, Vec sum) const {
    const Vec d = abs(y - x), q = min(delta, d);
    return fma(q, fma(set(-0.5f), q, d), sum);
  }
  Vec term(Vec x, Vec y) const { return add(x, y, zero()); }
};
/// softplus(y) - c y with c = x clamped to [0, 1], and 1/2 (x - c)^2: by itself the cross entropy
/// of an x beyond 1 falls without bound.
struct CrossEntropyLoss {
  explicit CrossEntropyLoss(const Plan &) {}
  Vec add(Vec x, Vec y, Vec sum) const { return sum + term(x, y); }
  Vec term(Vec x, Vec y) const {
    const Vec c = max(zero(), min(set(1.0f), x)), beyond = x - c;
    return fma(set(0.5f) * beyond, beyond, fma(zero() - c, y, softplus(y)));
  }
};

/// f(loss): the plan's.
template <class F> inline void with_loss(const Plan &plan, F f) {
  switch (plan.loss) {
  case Loss::squared_error:
    return f(SquaredLoss(plan));
  case Loss::absolute_error:
    return f(AbsoluteLoss(plan));
  case Loss::huber:
    return f(HuberLoss(plan));
  case Loss::bce_with_logits:
    return f(CrossEntropyLoss(plan));
  }
}

/// What the sum is multiplied by.
inline float loss_scale(Loss loss) { return loss == Loss::squared_error ? 0.5f : 1.0f; }

/// Rows in the vector: sum_rows of terms.h for any loss. keep: null, or as x and y, 0 where the
/// term does not count.
template <class L>
inline Vec loss_rows(const L &loss, const float *x, const float *y, const float *keep,
                     ptrdiff_t stride, int n) {
  Vec partial[partial_sums];
  for (Vec &p : partial)
    p = zero();
  for (int j = 0; j < n; j += partial_sums)
    for (int i = 0; i < partial_sums && j + i < n; ++i) {
      const ptrdiff_t at = (j + i) * stride;
      const Vec sum = loss.add(load(x + at), load(y + at), partial[i]);
      partial[i] = keep ? select(less(zero(), load(keep + at)), sum, partial[i]) : sum;
    }
  for (int half = partial_sums / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i)
      partial[i] = partial[i] + partial[i + half];
  return partial[0];
}

/// One row, features in the vector. x, y, keep: [n], readable up to the next multiple of 16.
template <class L>
inline float loss_one(const L &loss, const float *x, const float *y, const float *keep, int n) {
  constexpr int vectors = partial_sums / Vec::lanes;
  Vec partial[vectors];
  for (Vec &p : partial)
    p = zero();
  for (int j = 0; j < n; j += partial_sums)
    for (int v = 0; v < vectors; ++v) {
      const int at = j + v * Vec::lanes;
      const int left = n - at < Vec::lanes ? n - at : Vec::lanes;
      if (left <= 0)
        break;
      const Vec sum = loss.add(load(x + at), load(y + at), partial[v]);
      const Vec counts = keep ? keep_first(load(keep + at), left) : keep_first(set(1.0f), left);
      partial[v] = select(less(zero(), counts), sum, partial[v]);
    }
  return sum_partials(partial);
}

/// The terms of one row, 0 where one does not count. x, y, keep hold feature j at j * stride.
template <class L>
inline void loss_terms(const L &loss, const float *x, const float *y, const float *keep,
                       ptrdiff_t stride, int n, float *terms) {
  for (int j = 0; j < n; j += Vec::lanes) {
    const int left = n - j < Vec::lanes ? n - j : Vec::lanes;
    float a[Vec::lanes] = {}, b[Vec::lanes] = {}, made[Vec::lanes];
    for (int i = 0; i < left; ++i) {
      a[i] = x[(j + i) * stride];
      b[i] = y[(j + i) * stride];
    }
    store(made, loss.term(load(a), load(b)));
    for (int i = 0; i < left; ++i)
      terms[j + i] = keep && !(keep[(j + i) * stride] > 0) ? 0.0f : made[i];
  }
}

} // namespace vael::VAEL_ISA
