// Reading rows as they lie, standardising them, and noticing what is not finite, in one pass.
#pragma once

#include "score/kernels/columns.h"
#include "score/plan.h"
#include "simd/repeat.h"
#include "simd/vec.h"

namespace vael::VAEL_ISA {

// x' = (x - mean) * (1 / scale), after the steps of columns.h where there are any. Beside it,
// bad = fma(x, 0, bad) stays 0 while all features are finite and is NaN from the first NaN or inf
// on.

/// Vec::lanes rows of feature j from row `first` on, only `count` of them read.
inline Vec load_column(const Rows &rows, int j, size_t first, int count) {
  const float *column = rows.columns[j] + static_cast<ptrdiff_t>(first) * rows.column_stride;
  if (rows.column_stride == 1)
    return count >= Vec::lanes ? load(column) : load_first(column, count);
  float gathered[Vec::lanes] = {};
  for (int i = 0; i < count && i < Vec::lanes; ++i)
    gathered[i] = column[i * rows.column_stride];
  return load(gathered);
}

/// Up to Vec::lanes features of Vec::lanes rows, features first. Rows from `count` on are 0.
inline void load_square(const Rows &rows, int j, int features, size_t first, int count, Vec *t) {
  if (!rows.rows) {
    for (int i = 0; i < features; ++i)
      t[i] = load_column(rows, j + i, first, count);
    return;
  }
  for (int i = 0; i < Vec::lanes; ++i) {
    const float *row = rows.rows + static_cast<ptrdiff_t>(first + i) * rows.row_stride + j;
    t[i] = i >= count ? zero() : features >= Vec::lanes ? load(row) : load_first(row, features);
  }
  transpose(t);
}

/// Vec::lanes rows [Vec::lanes][n_features], none of them prepared and all of them there,
/// standardised as they lie and then turned. False where one is not finite: which, load_tile finds
/// out.
inline bool load_squares(const Plan &plan, const float *rows, ptrdiff_t row_stride, float *x,
                         int tile) {
  constexpr int L = Vec::lanes;
  const float *mean = plan.mean, *inverse_scale = plan.inverse_scale;
  const int n = plan.n_features;
  Vec bad = zero();
  for (int next = 0; next < n; next += L) {
    // The last square begins early enough to be whole: some features are standardised twice.
    const int j = next + L <= n ? next : n - L;
    const Vec m = load(mean + j), s = load(inverse_scale + j);
    Vec t[L];
    repeat<L>([&](auto i) VAEL_INLINE {
      const Vec value = load(rows + j + i.value * row_stride);
      bad = fma(value, zero(), bad);
      t[i.value] = (value - m) * s;
    });
    transpose(t);
    float *to = x + j * tile;
    repeat<L>([&](auto i) VAEL_INLINE { store(to + i.value * tile, t[i.value]); });
  }
  return all_zero(bad);
}

/// V vectors of rows, none prepared and all there, by column. Together, so that a column's cache
/// line is read once: of columns that lie a power of two apart few lines stay in the cache.
template <int V>
inline void load_columns(const Plan &plan, const float *const *columns, size_t first, float *x,
                         float *bad, int tile) {
  const float *mean = plan.mean, *inverse_scale = plan.inverse_scale;
  const int n = plan.n_features;
  Vec sum[V];
  repeat<V>([&](auto v) VAEL_INLINE { sum[v.value] = zero(); });
  for (int j = 0; j < n; ++j, x += tile) {
    const float *column = columns[j] + first;
    const Vec m = set(mean[j]), s = set(inverse_scale[j]);
    repeat<V>([&](auto v) VAEL_INLINE {
      const Vec value = load(column + v.value * Vec::lanes);
      sum[v.value] = fma(value, zero(), sum[v.value]);
      store(x + v.value * Vec::lanes, (value - m) * s);
    });
  }
  repeat<V>([&](auto v) VAEL_INLINE { store(bad + v.value * Vec::lanes, sum[v.value]); });
}

/// Vec::lanes rows from `first` on, `valid` of them there, with all that may be done to a column.
inline Found load_group(const Plan &plan, const Rows &rows, size_t first, int valid, float *x,
                        float *keep, int tile) {
  const bool prepared = plan.columns.any();
  Found found{zero(), zero()};
  for (int j = 0; j < plan.n_features; j += Vec::lanes) {
    const int features = plan.n_features - j < Vec::lanes ? plan.n_features - j : Vec::lanes;
    Vec t[Vec::lanes];
    load_square(rows, j, features, first, valid, t);
    for (int i = 0; i < features; ++i) {
      const int at = (j + i) * tile;
      if (!prepared) {
        found.bad = fma(t[i], zero(), found.bad);
        store(x + at, (t[i] - set(plan.mean[j + i])) * set(plan.inverse_scale[j + i]));
        continue;
      }
      const auto entry = [column = j + i](const float *array) { return set(array[column]); };
      Vec counts;
      store(x + at, prepare(plan, entry, t[i], found, counts));
      if (keep)
        store(keep + at, counts);
    }
  }
  return found;
}

/// A tile, rows in the vector. x: [n_features][tile], bad and missed: [tile]. Rows count ..
/// padded_rows are as if 0 had been read.
inline void load_tile(const Plan &plan, const Rows &rows, size_t first, int count, int padded_rows,
                      float *x, float *bad, float *missed, int tile) {
  constexpr int L = Vec::lanes, V = 2;
  const bool plain = !plan.columns.any();
  const bool by_row = plain && rows.rows && plan.n_features >= L;
  const bool by_column = plain && !rows.rows && rows.column_stride == 1;
  float *keep = plan.columns.keep_at < 0 ? nullptr : x + plan.columns.keep_at * tile;
  int r = 0;
  for (; by_column && r + V * L <= count; r += V * L) {
    load_columns<V>(plan, rows.columns, first + r, x + r, bad + r, tile);
    for (int v = 0; v < V; ++v)
      store(missed + r + v * L, zero());
  }
  for (; r < padded_rows; r += L) {
    const float *row = rows.rows + static_cast<ptrdiff_t>(first + r) * rows.row_stride;
    Found found{zero(), zero()};
    if (!by_row || r + L > count || !load_squares(plan, row, rows.row_stride, x + r, tile)) {
      const int valid = count - r < 0 ? 0 : count - r < L ? count - r : L;
      found = load_group(plan, rows, first + r, valid, x + r, keep ? keep + r : nullptr, tile);
    }
    store(bad + r, found.bad);
    store(missed + r, found.missed);
  }
}

/// What load_one says of a row.
struct Status {
  bool finite, missed;
};

/// One row, features in the vector, none of them prepared. x: [padded(n_features)], 0 in the
/// padding. False where one is not finite.
inline bool load_plain(const Plan &plan, const float *raw, float *x) {
  const float *mean = plan.mean, *inverse_scale = plan.inverse_scale;
  const int n = plan.n_features;
  Vec bad = zero();
  const auto standardise = [&](int j, Vec v) VAEL_INLINE {
    bad = fma(v, zero(), bad);
    store(x + j, (v - load(mean + j)) * load(inverse_scale + j));
  };
  int j = 0;
  for (; j + Vec::lanes <= n; j += Vec::lanes)
    standardise(j, load(raw + j));
  if (j < n) {
    standardise(j, load_first(raw + j, n - j));
    j += Vec::lanes;
  }
  for (; j < padded(n); j += Vec::lanes)
    store(x + j, zero());
  return all_zero(bad);
}

/// One row, features in the vector. x: [padded(n_features)], 0 in the padding.
inline Status load_one(const Plan &plan, const Rows &rows, size_t row, float *x) {
  const float *raw = rows.rows + static_cast<ptrdiff_t>(row) * rows.row_stride;
  if (!rows.rows) {
    for (int j = 0; j < plan.n_features; ++j)
      x[j] = rows.columns[j][static_cast<ptrdiff_t>(row) * rows.column_stride];
    raw = x;
  }
  if (!plan.columns.any())
    return {load_plain(plan, raw, x), false};
  float *keep = plan.columns.keep_at < 0 ? nullptr : x + plan.columns.keep_at;
  Found found{zero(), zero()};
  for (int j = 0; j < padded(plan.n_features); j += Vec::lanes) {
    const int left = plan.n_features - j;
    const Vec v = left >= Vec::lanes ? load(raw + j) : load_first(raw + j, left < 0 ? 0 : left);
    Vec counts;
    store(x + j,
          prepare(plan, [j](const float *array) { return load(array + j); }, v, found, counts));
    if (keep)
      store(keep + j, counts);
  }
  return {all_zero(found.bad), !all_zero(found.missed)};
}

} // namespace vael::VAEL_ISA
