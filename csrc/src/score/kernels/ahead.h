// Asking for the rows of the next tile while this one is computed.
//
// In shares, as the products of the dense layers are done: a core has some two dozen cache lines
// under way, and of a tile asked for all at once the others, and then the products, would wait.
#pragma once

#include "score/plan.h"

#include <stddef.h>

namespace vael::VAEL_ISA {

class Ahead {
public:
  /// Rows first .. first + count. products: of the dense layers, in the tile that is computed.
  /// Columns are left to the processor, which foresees them.
  Ahead(const Plan &plan, const Rows &rows, size_t first, int count, float products)
      : stride_(rows.row_stride), width_(plan.n_features) {
    if (!rows.rows)
      return;
    row_ = rows.rows + static_cast<ptrdiff_t>(first) * stride_;
    rows_ = count;
    const int lines = rows_ * ((width_ + line - 1) / line);
    if (products > 0)
      per_product_ = static_cast<float>(lines) / products;
    else
      ask(lines);
  }

  /// So many products of the tile are done.
  void done(int products) {
    due_ += per_product_ * static_cast<float>(products);
    const int lines = static_cast<int>(due_);
    due_ -= static_cast<float>(lines);
    ask(lines);
  }

private:
  static constexpr int line = 16; // float32s in a cache line

  /// Into L2: asked for into L1 they push out the tile that is being computed.
  void ask(int lines) {
    for (; lines > 0 && rows_ > 0; --lines) {
      __builtin_prefetch(row_ + at_, 0, 2);
      at_ += line;
      if (at_ >= width_) {
        at_ = 0;
        row_ += stride_;
        --rows_;
      }
    }
  }

  const float *row_ = nullptr;
  ptrdiff_t stride_;
  int width_, rows_ = 0, at_ = 0;
  float per_product_ = 0, due_ = 0;
};

} // namespace vael::VAEL_ISA
