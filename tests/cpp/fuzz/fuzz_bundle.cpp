// libFuzzer's target over everything that reads a .vael file: whatever the bytes, loading gives a
// model or a message, and a model scores.
//
// Two ways in: the bytes as they are, and the bytes with the checksum made right, or no mutation
// would ever come further than the checksum.
#include "score/sha256.h"
#include "vaelocity/vaelocity.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

void load_and_score(const uint8_t *bytes, size_t size) {
  constexpr vael_load_options options{sizeof(options), VAEL_ABI_VERSION, 1, nullptr, nullptr, 0};
  char why[128] = "";
  vael_model *model = nullptr;
  const vael_status status = vael_load_memory(bytes, size, &options, &model, why, sizeof(why));
  if ((status == VAEL_OK) != (model != nullptr) || (status != VAEL_OK && !*why))
    std::abort();
  if (!model)
    return;
  vael_info info{};
  info.struct_size = sizeof(info);
  vael_inspect(model, &info);
  constexpr size_t largest = size_t{1} << 24;
  if (info.workspace_bytes < largest) {
    std::vector<float> rows(size_t{3} * info.n_features, 0.5f), scores(3);
    std::vector<float> workspace(info.workspace_bytes / sizeof(float));
    vael_score_rows(model, rows.data(), static_cast<ptrdiff_t>(info.n_features), 3,
                    workspace.data(), scores.data(), nullptr);
    vael_verify(model, why, sizeof(why));
  }
  vael_free(model);
}

/// The bytes with the right digits behind the first checksum mark; empty if there is none.
std::vector<uint8_t> with_checksum(const uint8_t *bytes, size_t size) {
  constexpr std::string_view mark = "\"checksum\":\"sha256:";
  constexpr size_t n_digits = 64;
  std::vector<uint8_t> fixed(bytes, bytes + size);
  const auto at = std::search(fixed.begin(), fixed.end(), mark.begin(), mark.end());
  if (static_cast<size_t>(fixed.end() - at) < mark.size() + n_digits)
    return {};
  const auto digits = at + static_cast<ptrdiff_t>(mark.size());
  std::fill_n(digits, n_digits, uint8_t{'0'});
  vael::Sha256 hash;
  hash.update(fixed.data(), fixed.size());
  const std::string hex = hash.hex();
  std::copy(hex.begin(), hex.end(), digits);
  return fixed;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  load_and_score(bytes, size);
  if (const std::vector<uint8_t> fixed = with_checksum(bytes, size); !fixed.empty())
    load_and_score(fixed.data(), fixed.size());
  return 0;
}
