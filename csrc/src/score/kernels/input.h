// Reading rows as they lie, standardising them, and noticing what is not finite, in one pass.
#pragma once

#include "score/kernels/columns.h"
#include "score/plan.h"
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

/// A tile, rows in the vector. x: [n_features][tile], bad and missed: [tile]. Rows count ..
/// padded_rows are as if 0 had been read.
inline void load_tile(const Plan &plan, const Rows &rows, size_t first, int count, int padded_rows,
                      float *x, float *bad, float *missed, int tile) {
  const bool prepared = plan.columns.any();
  float *keep = plan.columns.keep_at < 0 ? nullptr : x + plan.columns.keep_at * tile;
  for (int r = 0; r < padded_rows; r += Vec::lanes) {
    const int valid = count - r < 0 ? 0 : count - r < Vec::lanes ? count - r : Vec::lanes;
    Found found{zero(), zero()};
    for (int j = 0; j < plan.n_features; j += Vec::lanes) {
      const int features = plan.n_features - j < Vec::lanes ? plan.n_features - j : Vec::lanes;
      Vec t[Vec::lanes];
      load_square(rows, j, features, first + r, valid, t);
      for (int i = 0; i < features; ++i) {
        const int at = (j + i) * tile + r;
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
    store(bad + r, found.bad);
    store(missed + r, found.missed);
  }
}

/// What load_one says of a row.
struct Status {
  bool finite, missed;
};

/// One row, features in the vector. x: [padded(n_features)], 0 in the padding.
inline Status load_one(const Plan &plan, const Rows &rows, size_t row, float *x) {
  const float *raw = rows.rows + static_cast<ptrdiff_t>(row) * rows.row_stride;
  if (!rows.rows) {
    for (int j = 0; j < plan.n_features; ++j)
      x[j] = rows.columns[j][static_cast<ptrdiff_t>(row) * rows.column_stride];
    raw = x;
  }
  const bool prepared = plan.columns.any();
  float *keep = plan.columns.keep_at < 0 ? nullptr : x + plan.columns.keep_at;
  Found found{zero(), zero()};
  for (int j = 0; j < padded(plan.n_features); j += Vec::lanes) {
    const int left = plan.n_features - j;
    const Vec v = left >= Vec::lanes ? load(raw + j) : load_first(raw + j, left < 0 ? 0 : left);
    if (!prepared) {
      found.bad = fma(v, zero(), found.bad);
      store(x + j, (v - load(plan.mean + j)) * load(plan.inverse_scale + j));
      continue;
    }
    Vec counts;
    store(x + j,
          prepare(plan, [j](const float *array) { return load(array + j); }, v, found, counts));
    if (keep)
      store(keep + j, counts);
  }
  return {all_zero(found.bad), !all_zero(found.missed)};
}

/// Asks for the tile that comes next while this one is computed. Into L2: asked for into L1 it
/// pushes out the tile that is being computed, and 65,536 rows are as slow as without (8 % slower
/// than this).
inline void prefetch_rows(const Plan &plan, const Rows &rows, size_t first, int count) {
  if (!rows.rows)
    return;
  constexpr int line = 16; // float32s in a cache line
  for (int r = 0; r < count; ++r) {
    const float *row = rows.rows + static_cast<ptrdiff_t>(first + r) * rows.row_stride;
    for (int j = 0; j < plan.n_features; j += line)
      __builtin_prefetch(row + j, 0, 2);
  }
}

} // namespace vael::VAEL_ISA
