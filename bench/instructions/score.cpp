// A model file over so many rows of numbers, for score.py: "rows" or "columns" in one call, or
// "event" by event in a call each.
#include "vaelocity/vaelocity.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

int main(int, char **arguments) {
  const std::string_view kind = arguments[2], mode = arguments[3];
  const size_t n = std::strtoul(arguments[4], nullptr, 10);
  vael_load_options options{};
  options.struct_size = sizeof(options);
  options.abi_version = VAEL_ABI_VERSION;
  options.kind = kind.data();
  vael_model *model = nullptr;
  char why[512];
  if (vael_load_file(arguments[1], &options, &model, why, sizeof(why)) != VAEL_OK) {
    std::fputs(why, stderr);
    return 1;
  }
  vael_info info{};
  info.struct_size = sizeof(info);
  vael_inspect(model, &info);
  const size_t d = info.n_features;
  void *workspace = std::aligned_alloc(64, (info.workspace_bytes + 63) / 64 * 64);
  std::vector<float> rows(n * d), scores(n);
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = static_cast<float>(i * 2654435761u % 1000) / 500.0f - 1.0f;
  std::vector<const float *> columns;
  for (size_t j = 0; j < d; ++j)
    columns.push_back(rows.data() + j * n);
  const auto stride = static_cast<ptrdiff_t>(d);
  if (mode == "rows")
    vael_score_rows(model, rows.data(), stride, n, workspace, scores.data(), nullptr);
  if (mode == "columns")
    vael_score_columns(model, columns.data(), 1, n, workspace, scores.data(), nullptr);
  if (mode == "event")
    for (size_t i = 0; i < n; ++i)
      vael_score_rows(model, rows.data() + i * d, stride, 1, workspace, scores.data() + i, nullptr);
  return 0;
}
