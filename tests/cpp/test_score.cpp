// test_score BUNDLE...: each bundle, on every instruction set this machine has.
//
// Every buffer has exactly the size the contract says, so that the address sanitizer sees a read or
// write beyond it; without a sanitizer, malloc is counted and must not be called while scoring.
#include "isa.h"
#include "vaelocity/vaelocity.hpp"

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#if !defined(__SANITIZE_ADDRESS__) && defined(__GLIBC__)
#define COUNT_ALLOCATIONS 1
extern "C" void *__libc_malloc(size_t);
static size_t allocations = 0;
extern "C" void *malloc(size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
#else
#define COUNT_ALLOCATIONS 0
static size_t allocations = 0;
#endif

namespace {

int failures = 0;

/// FNV-1a over all scores of the first instruction set: other machines must print the same.
uint64_t score_hash = 1469598103934665603u;

void add_to_hash(const float *scores, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, &scores[i], sizeof(bits));
    score_hash = (score_hash ^ bits) * 1099511628211u;
  }
}

void expect(bool good, const std::string &what) {
  if (!good && ++failures <= 20)
    std::printf("FAILED: %s\n", what.c_str());
}

/// Values that need no library and differ everywhere.
float value(size_t i) {
  return static_cast<float>(static_cast<int>(static_cast<uint32_t>(i) * 2654435761u >> 20) - 2048) /
         512;
}

struct Workspace {
  explicit Workspace(const vael_model *model)
      : bytes(vael_workspace_size(model)), memory(::operator new(bytes, std::align_val_t{64})) {}
  ~Workspace() { ::operator delete(memory, std::align_val_t{64}); }
  size_t bytes;
  void *memory;
};

using Scores = std::vector<float>;

bool same(const float *a, const float *b, size_t n) {
  return n == 0 || !std::memcmp(a, b, n * sizeof(float));
}

/// Rows first .. first + n, copied to a buffer of exactly their size at the given stride.
Scores score_rows(const vael_model *model, const std::vector<float> &rows, size_t d, size_t first,
                  size_t n, size_t stride, void *workspace) {
  std::unique_ptr<float[]> copy(new float[n ? (n - 1) * stride + d : 1]);
  for (size_t i = 0; i < n; ++i)
    std::memcpy(&copy[i * stride], &rows[(first + i) * d], d * sizeof(float));
  Scores scores(n);
  const size_t before = allocations;
  vael_score_rows(model, copy.get(), static_cast<ptrdiff_t>(stride), n, workspace, scores.data(),
                  nullptr);
  const size_t allocated = allocations - before;
  expect(allocated == 0, "scoring allocated memory");
  return scores;
}

Scores score_columns(const vael_model *model, const std::vector<float> &rows, size_t d, size_t n,
                     void *workspace) {
  std::vector<std::unique_ptr<float[]>> columns;
  std::vector<const float *> pointers;
  for (size_t j = 0; j < d; ++j) {
    columns.emplace_back(new float[n ? n : 1]);
    for (size_t i = 0; i < n; ++i)
      columns[j][i] = rows[i * d + j];
    pointers.push_back(columns[j].get());
  }
  Scores scores(n);
  vael_score_columns(model, pointers.data(), 1, n, workspace, scores.data(), nullptr);
  return scores;
}

void check_isa(const std::string &path, const char *isa, Scores &reference) {
  const vaelocity::Model model = vaelocity::Model::load(path, {"", isa, true});
  const size_t d = model.info().n_features, most = 131;
  const std::string where = path + " on " + isa + ", rows ";
  std::vector<float> rows(most * d);
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = value(i);
  Workspace workspace(model.get());
  std::memset(workspace.memory, 0xff, workspace.bytes); // NaN: nothing may be read before written

  const Scores all = score_rows(model.get(), rows, d, 0, most, d, workspace.memory);
  if (reference.empty()) {
    reference = all;
    add_to_hash(all.data(), most);
  }
  expect(same(all.data(), reference.data(), most), where + "against another instruction set");
  for (size_t n = 0; n <= most; ++n) {
    const size_t first = most - n;
    const std::string which = where + std::to_string(first) + " to " + std::to_string(most);
    const Scores dense = score_rows(model.get(), rows, d, first, n, d, workspace.memory);
    expect(same(dense.data(), &all[first], n), which);
    const Scores strided = score_rows(model.get(), rows, d, 0, n, d + 5, workspace.memory);
    expect(same(strided.data(), all.data(), n), which + " strided");
    const Scores columns = score_columns(model.get(), rows, d, n, workspace.memory);
    expect(same(columns.data(), all.data(), n), which + " by column");
  }
}

void check_errors(const std::string &path) {
  char why[256];
  vael_model *model = nullptr;
  expect(vael_load_file("/no/such/file.vael", nullptr, &model, why, sizeof(why)) == VAEL_ERROR_FILE,
         "a missing file");
  expect(!model && std::strlen(why) > 0, "a missing file gives no model and says why");
  vael_load_options options{sizeof(options) - 1, VAEL_ABI_VERSION, 0, nullptr, nullptr, 0};
  expect(vael_load_file(path.c_str(), &options, &model, why, sizeof(why)) == VAEL_ERROR_ARGUMENT,
         "options of another size");
  options = {sizeof(options), VAEL_ABI_VERSION, 0, "nonsense", nullptr, 0};
  expect(vael_load_file(path.c_str(), &options, &model, why, sizeof(why)) == VAEL_ERROR_KIND,
         "an unknown kind");
  options = {sizeof(options), VAEL_ABI_VERSION, 0, nullptr, "sse9", 0};
  expect(vael_load_file(path.c_str(), &options, &model, why, sizeof(why)) == VAEL_ERROR_ISA,
         "an unknown instruction set");
  expect(vael_score_rows(nullptr, nullptr, 0, 1, nullptr, nullptr, nullptr) == VAEL_ERROR_ARGUMENT,
         "null pointers");
  expect(std::strcmp(vael_status_message(VAEL_ERROR_CONFORMANCE), vael_status_message(VAEL_OK)) !=
             0,
         "messages differ");
}

} // namespace

int main(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) {
    check_errors(argv[i]);
    Scores reference;
    for (int isa = 0; isa < vael::isa_count; ++isa)
      if (vael::isa_available(static_cast<vael::Isa>(isa)))
        check_isa(argv[i], vael::isa_name(static_cast<vael::Isa>(isa)), reference);
  }
  std::printf("%d bundles on", argc - 1);
  for (int isa = 0; isa < vael::isa_count; ++isa)
    if (vael::isa_available(static_cast<vael::Isa>(isa)))
      std::printf(" %s", vael::isa_name(static_cast<vael::Isa>(isa)));
  std::printf(": %d failures, allocations %s, hash %016" PRIx64 "\n", failures,
              COUNT_ALLOCATIONS ? "counted" : "not counted", score_hash);
  return failures || argc < 2 ? 1 : 0;
}
