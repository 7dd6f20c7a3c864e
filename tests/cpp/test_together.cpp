// test_together (l|g):LIBRARY:BUNDLE...: copies of the shared library in one process, each loaded
// with RTLD_LOCAL or RTLD_GLOBAL and each with its own model; prints the score of one row from
// each, after all of them are loaded. A symbol that one copy takes from another shows as a wrong
// score.
#include "vaelocity/vaelocity.h"

#include <cstdio>
#include <string>
#include <vector>

#include <dlfcn.h>

namespace {

struct Loaded {
  void *library;
  vael_model *model;
};

template <class F> F *symbol(void *library, const char *name, F *) {
  return reinterpret_cast<F *>(dlsym(library, name));
}
#define VAEL_SYMBOL(library, name) symbol(library, #name, static_cast<decltype(name) *>(nullptr))

Loaded load(const std::string &argument) {
  const size_t colon = argument.find(':', 2);
  const std::string path = argument.substr(2, colon - 2), bundle = argument.substr(colon + 1);
  const int scope = argument[0] == 'g' ? RTLD_GLOBAL : RTLD_LOCAL;
  Loaded loaded{dlopen(path.c_str(), RTLD_NOW | scope), nullptr};
  char why[256] = "dlopen failed";
  if (loaded.library)
    VAEL_SYMBOL(loaded.library, vael_load_file)
  (bundle.c_str(), nullptr, &loaded.model, why, sizeof(why));
  if (!loaded.model)
    std::printf("%s: %s\n", argument.c_str(), why);
  return loaded;
}

void print_score(const Loaded &loaded) {
  vael_info info{};
  info.struct_size = sizeof(info);
  VAEL_SYMBOL(loaded.library, vael_inspect)(loaded.model, &info);
  std::vector<float> row(info.n_features), workspace(info.workspace_bytes / sizeof(float));
  for (size_t j = 0; j < row.size(); ++j)
    row[j] = 0.25f * static_cast<float>(j % 7) - 0.5f;
  float score = -1;
  VAEL_SYMBOL(loaded.library, vael_score_rows)
  (loaded.model, row.data(), 0, 1, workspace.data(), &score, nullptr);
  std::printf("%a\n", static_cast<double>(score));
}

} // namespace

int main(int argc, char **argv) {
  std::vector<Loaded> all;
  for (int i = 1; i < argc; ++i) {
    all.push_back(load(argv[i]));
    if (!all.back().model)
      return 1;
  }
  for (const Loaded &loaded : all)
    print_score(loaded);
  return 0;
}
