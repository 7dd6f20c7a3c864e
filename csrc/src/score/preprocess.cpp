// "preprocess" of the file: the steps that python/vaelocity/preprocess.py describes, each checked.
#include "score/network.h"

#include "score/error.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace vael {
namespace {

using nlohmann::json;

/// The columns that a step names: ascending numbers.
std::vector<size_t> read_columns(const json &step, const char *key, int n_features,
                                 const std::string &where) {
  const json &list = step.at(key);
  std::vector<size_t> columns;
  int64_t before = -1;
  bool good = list.is_array();
  for (size_t i = 0; good && i < list.size(); ++i) {
    good = list[i].is_number_integer() && list[i].get<int64_t>() > before &&
           list[i].get<int64_t>() < n_features;
    if (good)
      columns.push_back(static_cast<size_t>(before = list[i].get<int64_t>()));
  }
  if (!good)
    fail(where + ": expected ascending numbers of columns below " + std::to_string(n_features) +
         " as " + key);
  return columns;
}

/// A step that does nothing is an error.
void check_not_empty(bool empty, const std::string &where) {
  if (empty)
    fail(where + ": names no column");
}

/// values[columns[i]] from the list's item i, a float32; null leaves it where `bounds`.
void read_values(const json &step, const char *key, const std::vector<size_t> &columns, bool bounds,
                 const std::string &where, std::vector<float> &values) {
  const json &list = step.at(key);
  if (!list.is_array() || list.size() != columns.size())
    fail(where + ": expected one number for each column as " + key);
  for (size_t i = 0; i < columns.size(); ++i)
    if (!bounds || !list[i].is_null())
      values[columns[i]] = read_float(json{{key, list[i]}}, key, 0, where);
}

std::vector<float> marked(const std::vector<size_t> &columns, int n_features) {
  std::vector<float> marks(static_cast<size_t>(n_features), 0.0f);
  for (const size_t j : columns)
    marks[j] = 1.0f;
  return marks;
}

void read_missing(const json &step, const std::string &where, Network &net) {
  check_keys(step, {"op", "flag", "impute", "values"}, where);
  Preprocessing &pre = net.preprocessing;
  const std::vector<size_t> flag = read_columns(step, "flag", net.n_features, where);
  const std::vector<size_t> impute = read_columns(step, "impute", net.n_features, where);
  check_not_empty(flag.empty() && impute.empty(), where);
  pre.policy = marked(flag, net.n_features);
  for (const size_t j : impute) {
    if (pre.policy[j] != 0)
      fail(where + ": column " + std::to_string(j) + " is both flagged and imputed");
    pre.policy[j] = 2.0f;
  }
  pre.imputed.assign(static_cast<size_t>(net.n_features), 0.0f);
  read_values(step, "values", impute, false, where, pre.imputed);
  pre.leaves_out = !flag.empty();
}

void read_clip(const json &step, const std::string &where, Network &net) {
  check_keys(step, {"op", "columns", "low", "high"}, where);
  Preprocessing &pre = net.preprocessing;
  const std::vector<size_t> columns = read_columns(step, "columns", net.n_features, where);
  check_not_empty(columns.empty(), where);
  const float infinity = std::numeric_limits<float>::infinity();
  pre.low.assign(static_cast<size_t>(net.n_features), -infinity);
  pre.high.assign(static_cast<size_t>(net.n_features), infinity);
  read_values(step, "low", columns, true, where, pre.low);
  read_values(step, "high", columns, true, where, pre.high);
  for (const size_t j : columns)
    if (!(pre.low[j] <= pre.high[j]))
      fail(where + ": low is above high for column " + std::to_string(j));
}

std::vector<float> read_marks(const json &step, const std::string &where, int n_features) {
  check_keys(step, {"op", "columns"}, where);
  const std::vector<size_t> columns = read_columns(step, "columns", n_features, where);
  check_not_empty(columns.empty(), where);
  return marked(columns, n_features);
}

void read_standardize(const BundleFile &file, const json &step, const std::string &where,
                      Network &net) {
  check_keys(step, {"op", "mean", "scale"}, where);
  net.mean = floats(file.tensor(step.at("mean").get<std::string>(), "F32", {net.n_features}));
  net.scale = floats(file.tensor(step.at("scale").get<std::string>(), "F32", {net.n_features}));
  for (int j = 0; j < net.n_features; ++j) {
    if (const float mean = element(net.mean, j); !std::isfinite(mean))
      fail(where + ": the mean of feature " + std::to_string(j) + " is " + std::to_string(mean));
    if (const float s = element(net.scale, j);
        !(s > 0) || !std::isfinite(s) || !std::isfinite(1 / s))
      fail(where + ": the scale of feature " + std::to_string(j) + " is " + std::to_string(s));
  }
}

void read_one(const BundleFile &file, const json &step, const std::string &op,
              const std::string &where, Network &net) {
  if (op == "missing")
    return read_missing(step, where, net);
  if (op == "clip")
    return read_clip(step, where, net);
  if (op == "standardize")
    return read_standardize(file, step, where, net);
  Preprocessing &pre = net.preprocessing;
  std::vector<float> marks = read_marks(step, where, net.n_features);
  if (op == "wrap") {
    pre.wrapped = std::move(marks);
  } else if (op == "log1p") {
    pre.logged = std::move(marks);
  } else { // mask_zeros
    pre.absent = std::move(marks);
    pre.leaves_out = true;
  }
}

} // namespace

void read_preprocessing(const BundleFile &file, Network &net) {
  static const std::vector<std::string> order = {"missing", "mask_zeros", "clip",
                                                 "wrap",    "log1p",      "standardize"};
  const json &steps = file.metadata().at("preprocess");
  if (!steps.is_array())
    fail("preprocess: expected a list of steps");
  auto next = order.begin();
  for (size_t i = 0; i < steps.size(); ++i) {
    const std::string where = "preprocess." + std::to_string(i);
    const auto op = steps[i].at("op").get<std::string>();
    next = std::find(next, order.end(), op);
    if (next == order.end())
      fail(where + ": no step \"" + op + "\" in this place: expected missing, mask_zeros, clip, " +
           "wrap, log1p, standardize, in this order and each once at most");
    ++next;
    read_one(file, steps[i], op, where, net);
  }
  if (!net.mean)
    fail("preprocess: expected one step \"standardize\" at the end");
}

} // namespace vael
