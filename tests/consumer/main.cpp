// consumer_cpp BUNDLE: the score of a row of zeros, from C++17.
#include <cstdio>
#include <vaelocity/vaelocity.hpp>
#include <vector>

int main(int argc, char **argv) {
  try {
    const auto model = vaelocity::Model::load(argc > 1 ? argv[1] : "");
    const std::vector<float> row(model.info().n_features);
    std::vector<char> workspace(model.info().workspace_bytes);
    float score = 0;
    unsigned char flags = 255;
    vael_score_rows(model.get(), row.data(), 0, 1, workspace.data(), &score, &flags);
    std::printf("%a %d\n", static_cast<double>(score), flags);
    return 0;
  } catch (const vaelocity::Error &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
