// The Kullback-Leibler divergence of each row from the standard normal, for all ops that hold it.
#pragma once

#include "ops/sums.h"

namespace vael::VAEL_ISA {

/// Terms are stored tile by tile and added row by row: which vectors a row's elements lie in does
/// not matter then, and no vector is left half empty at a row's end.
class KlSums {
public:
  KlSums(RowReader &mu, RowReader &logvar, size_t columns, float *kl)
      : mu_(mu), logvar_(logvar), columns_(columns), kl_(kl) {}

  /// Where KlTerm::term of a tile's elements is to be stored, before add().
  float *terms() { return terms_; }

  void add(const Tile &tile) {
    if (tile.column == 0)
      sum_ = RowSum();
    const int length = tile.row_length();
    for (size_t r = 0; r < tile.rows; ++r) {
      if (r)
        sum_ = RowSum();
      const float *t = terms_ + static_cast<int>(r) * length;
      sum_vectors(length, sum_,
                  [&](auto lanes, int i, Vec &partial) { partial = partial + lanes.load(t + i); });
      if (tile.column + static_cast<size_t>(length) == columns_)
        finish(tile.row + r);
    }
  }

private:
  void finish(size_t row) {
    kl_[row] = saturate(0.5f * sum_.total(),
                        [&] { return mu_.finite(row, columns_) && logvar_.finite(row, columns_); });
  }

  RowReader &mu_, &logvar_;
  size_t columns_;
  float *kl_;
  RowSum sum_;
  alignas(64) float terms_[chunk_size];
};

/// A row's gradient beside each of its elements.
class Spread {
public:
  const float *of(const Tile &tile, const PerRow &grad) {
    const int length = tile.row_length();
    for (size_t r = 0; r < tile.rows; ++r) {
      const Vec g = set(grad[tile.row + r]);
      float *out = values_ + static_cast<int>(r) * length;
      each_vector(length, [&](auto lanes, int i) { lanes.store(out + i, g); });
    }
    return values_;
  }

private:
  alignas(64) float values_[chunk_size];
};

} // namespace vael::VAEL_ISA
