// test_threads BUNDLE...: 64 threads score with one model at once, each with its own workspace, and
// get what one thread gets. Built with the thread sanitizer it also shows that nothing is shared.
#include "vaelocity/vaelocity.hpp"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr size_t n_threads = 64, n_rows = 200;

std::vector<float> scores_of(const vael_model *model, const std::vector<float> &rows, size_t d,
                             size_t at_once) {
  std::vector<float> workspace(vael_workspace_size(model) / sizeof(float)), scores(n_rows);
  for (size_t i = 0; i < n_rows; i += at_once)
    vael_score_rows(model, &rows[i * d], static_cast<ptrdiff_t>(d), at_once, workspace.data(),
                    &scores[i], nullptr);
  return scores;
}

bool check(const char *path) {
  const vaelocity::Model model = vaelocity::Model::load(path);
  const size_t d = model.info().n_features;
  std::vector<float> rows(n_rows * d);
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] =
        static_cast<float>(static_cast<int>(static_cast<uint32_t>(i) * 2654435761u >> 20) - 2048) /
        1024;
  const std::vector<float> expected = scores_of(model.get(), rows, d, n_rows);

  std::atomic<bool> go{false};
  std::atomic<size_t> wrong{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < n_threads; ++t)
    threads.emplace_back([&, t] {
      while (!go)
        std::this_thread::yield();
      const size_t sizes[] = {1, 2, 8, 100};
      const std::vector<float> scores = scores_of(model.get(), rows, d, sizes[t % 4]);
      wrong += std::memcmp(scores.data(), expected.data(), n_rows * sizeof(float)) != 0;
    });
  go = true;
  for (std::thread &thread : threads)
    thread.join();
  return wrong == 0;
}

} // namespace

int main(int argc, char **argv) {
  int failures = 0;
  for (int i = 1; i < argc; ++i)
    failures += !check(argv[i]);
  std::printf("%d bundles, %d failures\n", argc - 1, failures);
  return failures || argc < 2 ? 1 : 0;
}
