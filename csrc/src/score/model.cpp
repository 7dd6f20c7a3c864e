// A loaded model: built from a bundle, verified with the bundle's own rows.
#include "score/model.h"

#include "score/error.h"
#include "score/network.h"
#include "score/pack.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <new>

VAEL_DECLARE_TABLES(vael::ScoreTable, vael_score_table);
VAEL_DECLARE_FAST_TABLE(vael::ScoreTable, vael_score_table);

namespace vael {
namespace {

using nlohmann::json;

template <class T> std::vector<T> copy(const Tensor &tensor, size_t n) {
  std::vector<T> values(n);
  if (n)
    std::memcpy(values.data(), tensor.data, n * sizeof(T));
  return values;
}

void read_conformance(const BundleFile &file, const Network &net, Conformance &conformance) {
  if (!file.metadata().contains("conformance"))
    return;
  const json &names = file.metadata()["conformance"];
  if (!names.at("scores").contains(net.kind_name))
    return;
  const Tensor &rows =
      file.tensor(names.at("rows").get<std::string>(), "F32", {-1, net.n_features});
  const int64_t n = rows.shape[0];
  const Tensor &flags =
      file.tensor(names.at("flags").at(net.kind_name).get<std::string>(), "U8", {n});
  const Tensor &scores =
      file.tensor(names.at("scores").at(net.kind_name).get<std::string>(), "F32", {n});
  conformance.rows = copy<float>(rows, static_cast<size_t>(n) * net.n_features);
  conformance.flags = copy<uint8_t>(flags, static_cast<size_t>(n));
  conformance.scores = copy<float>(scores, static_cast<size_t>(n));
}

/// A threshold means nothing to another model's scores.
void check_owner(const json &metadata, const json &threshold, const std::string &name) {
  const auto text = [](const json &object, const char *key) -> std::string {
    return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
  };
  const std::string owner = text(threshold, "model"), identity = text(metadata, "identity");
  if (!owner.empty() && !identity.empty() && owner != identity)
    fail("threshold " + name + ": it is for model " + owner.substr(0, 12) +
         "..., the file holds model " + identity.substr(0, 12) +
         "...; a threshold means nothing to another model's scores");
}

std::vector<Threshold> read_thresholds(const json &metadata, const std::string &kind) {
  std::vector<Threshold> thresholds;
  if (!metadata.contains("thresholds"))
    return thresholds;
  for (const json &entry : metadata["thresholds"]) {
    if (entry.at("kind").get<std::string>() != kind)
      continue;
    const auto name = entry.at("name").get<std::string>();
    check_owner(metadata, entry, name);
    const double value = entry.at("value").get<double>();
    if (!(std::fabs(value) <= std::numeric_limits<float>::max()) ||
        static_cast<double>(static_cast<float>(value)) != value)
      fail("thresholds: the value of " + name + " is no finite float32");
    thresholds.push_back({name, static_cast<float>(value)});
  }
  return thresholds;
}

/// The median size of the scores without a flag.
float typical(const Conformance &expected) {
  std::vector<float> sizes;
  for (size_t i = 0; i < expected.scores.size(); ++i)
    if (!expected.flags[i])
      sizes.push_back(std::fabs(expected.scores[i]));
  if (sizes.empty())
    return 0;
  const auto middle = sizes.begin() + static_cast<ptrdiff_t>(sizes.size() / 2);
  std::nth_element(sizes.begin(), middle, sizes.end());
  return *middle;
}

bool agrees(const Model &model, float typical_score, float score, float wanted) {
  if (!std::memcmp(&score, &wanted, sizeof(float)))
    return true;
  return model.fast &&
         std::fabs(score - wanted) <= fast_tolerance * (std::fabs(wanted) + typical_score);
}

} // namespace

Arena::Arena(size_t floats)
    : memory_(static_cast<float *>(::operator new[](floats * sizeof(float), std::align_val_t{64}))),
      next_(memory_.get()) {
  std::memset(memory_.get(), 0, floats * sizeof(float));
}

float *Arena::take(size_t floats) {
  float *piece = next_;
  next_ += rounded(floats);
  return piece;
}

void Arena::Free::operator()(float *p) const { ::operator delete[](p, std::align_val_t{64}); }

std::unique_ptr<Model> build_model(const BundleFile &file, const std::string &kind, Isa isa,
                                   bool fast) {
  try {
    auto model = std::make_unique<Model>();
    model->isa = isa;
    model->fast = fast;
    model->table = fast ? &VAEL_FAST_TABLE(vael_score_table) : &VAEL_TABLE(vael_score_table, isa);
    model->metadata = file.metadata_text();
    model->checksum = file.checksum();
    const Network net = read_network(file, kind);
    model->kind = net.kind_name;
    read_conformance(file, net, model->conformance);
    model->thresholds = read_thresholds(file.metadata(), model->kind);
    pack_network(net, *model);
    return model;
  } catch (const json::exception &e) {
    fail(std::string("metadata: ") + e.what());
  }
}

void verify_model(const Model &model) {
  const Conformance &expected = model.conformance;
  const size_t n = expected.scores.size(), d = static_cast<size_t>(model.plan.n_features);
  if (!n)
    fail("no conformance rows for kind \"" + model.kind + "\"", VAEL_ERROR_CONFORMANCE);
  std::vector<float> scores(n);
  std::vector<uint8_t> flags(n);
  Arena workspace(model.table->workspace_floats(model.plan));
  const Rows rows{expected.rows.data(), static_cast<ptrdiff_t>(d), nullptr, 0};
  model.table->score(model.plan, rows, 0, n, workspace.take(0),
                     {scores.data(), flags.data(), nullptr});
  const float typical_score = typical(expected);
  for (size_t i = 0; i < n; ++i)
    if (!agrees(model, typical_score, scores[i], expected.scores[i]) ||
        flags[i] != expected.flags[i]) {
      char text[160];
      std::snprintf(text, sizeof(text),
                    "conformance row %zu: score %.9g flags %d, the bundle says %.9g flags %d", i,
                    static_cast<double>(scores[i]), flags[i],
                    static_cast<double>(expected.scores[i]), expected.flags[i]);
      fail(text, VAEL_ERROR_CONFORMANCE);
    }
}

} // namespace vael
