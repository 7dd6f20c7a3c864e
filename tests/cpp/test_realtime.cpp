// test_realtime BUNDLE: built with Clang's RealtimeSanitizer (-fsanitize=realtime), which stops the
// program where a function marked nonblocking allocates, locks or makes a system call.
#include "vaelocity/vaelocity.hpp"

#include <cstdio>
#include <cstring>
#include <vector>

namespace {

struct Caller {
  const vael_model *model;
  std::vector<float> rows, workspace, scores;
  std::vector<uint8_t> flags;
  size_t d;
};

void score(Caller &caller, size_t n) noexcept [[clang::nonblocking]] {
  vael_score_rows(caller.model, caller.rows.data(), static_cast<ptrdiff_t>(caller.d), n,
                  caller.workspace.data(), caller.scores.data(), caller.flags.data());
}

void load(const char *path) noexcept [[clang::nonblocking]] { vaelocity::Model::load(path); }

} // namespace

int main(int argc, char **argv) {
  if (argc == 3 && !std::strcmp(argv[2], "load")) { // must be stopped: it allocates
    load(argv[1]);
    return 0;
  }
  const vaelocity::Model model = vaelocity::Model::load(argv[1]);
  const size_t d = model.info().n_features, most = 100;
  Caller caller{model.get(),
                std::vector<float>(most * d, 0.5f),
                std::vector<float>(model.info().workspace_bytes / sizeof(float)),
                std::vector<float>(most),
                std::vector<uint8_t>(most),
                d};
  for (size_t n = 1; n <= most; ++n)
    score(caller, n);
  std::printf("quiet\n");
  return argc == 2 ? 0 : 1;
}
