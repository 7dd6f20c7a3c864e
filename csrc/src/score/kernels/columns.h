// What is done to a column before it is standardised: missing values, absent objects, clip, wrap,
// log1p, in this order. Bits are those of a lane alone, so the layout does not matter.
#pragma once

#include "score/plan.h"
#include "simd/math.h"
#include "simd/vec.h"

namespace vael::VAEL_ISA {

/// What is found out about a row while its columns are read.
struct Found {
  Vec bad;    // 0, NaN from the first value on that is not finite and not dealt with
  Vec missed; // 0, positive from the first missing value on that was left out or replaced
};

/// (v - mean) * inverse_scale of a column's value, after its steps. `at` reads a column's entry of
/// an array: one for all lanes, or one a lane. keep: 0 where the term leaves the loss, else 1; the
/// network is then given 0, what the mean is standardised to.
template <class At> inline Vec prepare(const Plan &plan, At at, Vec v, Found &found, Vec &keep) {
  const Columns &columns = plan.columns;
  const Vec one = set(1.0f);
  keep = one;
  if (columns.policy) {
    const Mask finite = less_equal(abs(v), set(0x1.fffffep127f));
    const Vec lost = select(finite, zero(), at(columns.policy));
    const Mask dealt_with = less(zero(), lost);
    found.bad = select(dealt_with, found.bad, fma(v, zero(), found.bad));
    found.missed = found.missed + lost;
    v = select(dealt_with, at(columns.imputed), v);
    keep = select(dealt_with & less(lost, set(1.5f)), zero(), one);
  } else {
    found.bad = fma(v, zero(), found.bad);
  }
  if (columns.absent)
    keep = select(less_equal(abs(v), zero()) & less(zero(), at(columns.absent)), zero(), keep);
  if (columns.low)
    v = max(at(columns.low), min(at(columns.high), v));
  if (columns.wrapped)
    v = select(less(zero(), at(columns.wrapped)), wrap_angle(v), v);
  if (columns.logged)
    v = select(less(zero(), at(columns.logged)), signed_log1p(v), v);
  const Vec x = (v - at(plan.mean)) * at(plan.inverse_scale);
  return select(less(zero(), keep), x, zero());
}

} // namespace vael::VAEL_ISA
