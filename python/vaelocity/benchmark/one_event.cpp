// Rows scored one at a time, each by one call of the C ABI, for one_event.py.
#include "vaelocity/vaelocity.h"

#include <cstdlib>
#include <cstring>

namespace {

struct Scorer {
  vael_model *model;
  void *workspace;
  ptrdiff_t n_features;
};

} // namespace

extern "C" {

/// A loaded model with its workspace; null, and the reason in why[n], where it can't be had. It
/// stays until the process ends.
void *open_model(const char *path, const char *kind, char *why, size_t n) {
  vael_load_options options{};
  options.struct_size = sizeof(options);
  options.abi_version = VAEL_ABI_VERSION;
  options.kind = kind;
  vael_model *model = nullptr;
  if (vael_load_file(path, &options, &model, why, n) != VAEL_OK)
    return nullptr;
  vael_info info{};
  info.struct_size = sizeof(info);
  vael_inspect(model, &info);
  void *workspace = std::aligned_alloc(64, (info.workspace_bytes + 63) / 64 * 64);
  return new Scorer{model, workspace, static_cast<ptrdiff_t>(info.n_features)};
}

void score_each(const void *opened, const float *rows, size_t n, float *scores) {
  const auto *scorer = static_cast<const Scorer *>(opened);
  for (size_t i = 0; i < n; ++i, rows += scorer->n_features)
    vael_score_rows(scorer->model, rows, scorer->n_features, 1, scorer->workspace, scores + i,
                    nullptr);
}

/// `times` times over n bytes of memory, in order, by the widest loads there are.
long read_bytes(const char *data, size_t n, size_t times) {
  typedef long vec __attribute__((vector_size(BYTES)));
  vec sums[4] = {};
  for (size_t t = 0; t < times; ++t) {
    for (size_t i = 0; i + 4 * BYTES <= n; i += 4 * BYTES)
      for (int c = 0; c < 4; ++c)
        sums[c] ^= *reinterpret_cast<const vec *>(data + i + c * BYTES);
    asm volatile("" ::: "memory"); // each time from the cache again
  }
  sums[0] ^= sums[1] ^ sums[2] ^ sums[3];
  return sums[0][0];
}
}
