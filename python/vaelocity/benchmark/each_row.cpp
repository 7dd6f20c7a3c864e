// Rows scored one at a time by the C++ header of `vaelocity export --header`, for
// peers/cpp_header.py.
#include "model.hpp"

extern "C" void score_each(const float *rows, size_t n, float *scores) {
  for (size_t i = 0; i < n; ++i, rows += model::n_features)
    scores[i] = model::score(rows);
}
