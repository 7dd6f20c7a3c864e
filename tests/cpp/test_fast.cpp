// test_fast BUNDLE ROWS: the scores of a file of float32 rows in fast mode, one a line as the
// hexadecimal digits of its bits; or why there is no fast mode, and exit code 2.
//
// A row must get the same bits in every batch, in both layouts. Every buffer has exactly the size
// the contract says, so that the address sanitizer sees a read or write beyond it.
#include "vaelocity/vaelocity.hpp"

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <new>
#include <vector>

namespace {

using Floats = std::vector<float>;

Floats read(const char *path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  Floats values(bytes.size() / sizeof(float));
  if (!values.empty())
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

class Scorer {
public:
  explicit Scorer(const char *path)
      : model_(vaelocity::Model::load(path, {"", "", true, true})), d_(model_.info().n_features),
        workspace_(::operator new(vael_workspace_size(model_.get()), std::align_val_t{64})) {
    // NaN: nothing may be read before written
    std::memset(workspace_.get(), 0xff, vael_workspace_size(model_.get()));
  }
  size_t features() const { return d_; }

  Floats rows(const Floats &all, size_t first, size_t n) const {
    const Floats some(all.begin() + static_cast<ptrdiff_t>(first * d_),
                      all.begin() + static_cast<ptrdiff_t>((first + n) * d_));
    Floats scores(n);
    vael_score_rows(model_.get(), some.data(), static_cast<ptrdiff_t>(d_), n, workspace_.get(),
                    scores.data(), nullptr);
    return scores;
  }
  Floats columns(const Floats &all, size_t n) const {
    std::vector<const float *> pointers;
    for (size_t j = 0; j < d_; ++j)
      pointers.push_back(all.data() + j);
    Floats scores(n);
    vael_score_columns(model_.get(), pointers.data(), static_cast<ptrdiff_t>(d_), n,
                       workspace_.get(), scores.data(), nullptr);
    return scores;
  }

private:
  struct Free {
    void operator()(void *p) const { ::operator delete(p, std::align_val_t{64}); }
  };
  vaelocity::Model model_;
  size_t d_;
  std::unique_ptr<void, Free> workspace_;
};

bool same(const Floats &scores, const Floats &all, size_t first) {
  return !std::memcmp(scores.data(), all.data() + first, scores.size() * sizeof(float));
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 3)
    return 1;
  try {
    const Scorer scorer(argv[1]);
    const Floats rows = read(argv[2]);
    const size_t n = rows.size() / scorer.features();
    const Floats all = scorer.rows(rows, 0, n);
    if (!same(scorer.columns(rows, n), all, 0)) {
      std::printf("by column: other bits\n");
      return 1;
    }
    for (size_t count = 1; count < n; ++count)
      if (!same(scorer.rows(rows, n - count, count), all, n - count)) {
        std::printf("the last %zu rows: other bits\n", count);
        return 1;
      }
    for (const float score : all) {
      uint32_t bits;
      std::memcpy(&bits, &score, sizeof(bits));
      std::printf("%08" PRIx32 "\n", bits);
    }
  } catch (const vaelocity::Error &error) {
    std::printf("%s\n", error.what());
    return error.status() == VAEL_ERROR_ISA ? 2 : 1;
  }
  return 0;
}
