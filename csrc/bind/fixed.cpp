// vaelocity._core.FixedNetwork: a dense network in fixed point; vaelocity.fixed checks the formats.
#include "bind.h"

#include "fixed/fixed.h"
#include "isa.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

namespace py = pybind11;

VAEL_DECLARE_TABLES(vael::FixedTable, vael_fixed_table);

namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Int32s = py::array_t<int32_t, py::array::c_style>;
using Int64s = py::array_t<int64_t, py::array::c_style>;
using Format = std::tuple<int, int, bool, bool, bool>;
/// weight, bias, the sum's format, its product_fraction, at_once, wraps, chunk, relu, the
/// result's format
using Layer = std::tuple<Int32s, Int64s, Format, int, bool, bool, size_t, bool, Format>;

vael::FixedFormat format_of(const Format &of) {
  const auto [width, fraction, is_signed, rounds, saturates] = of;
  return {width, fraction, is_signed, rounds, saturates};
}

class FixedNetwork {
  std::vector<float> mean_, inverse_scale_;
  std::vector<std::vector<int32_t>> weights_;
  std::vector<std::vector<int64_t>> biases_;
  std::vector<vael::FixedLayer> layers_;
  vael::FixedNetwork network_;
  const vael::FixedTable *table_;

public:
  FixedNetwork(const Floats &mean, const Floats &inverse_scale, const Format &input,
               const std::vector<Layer> &layers, bool reconstruction, int x_shift, int y_shift,
               const Format &score, int square_fraction, bool score_at_once, const std::string &isa)
      : mean_(mean.data(), mean.data() + mean.size()),
        inverse_scale_(inverse_scale.data(), inverse_scale.data() + inverse_scale.size()) {
    size_t width = mean_.size(), widest = width;
    if (layers.empty() || inverse_scale_.size() != width)
      throw py::value_error("layers: expected at least one, and a scale for every mean");
    for (const Layer &of : layers) {
      add(of, width);
      width = layers_.back().outputs;
      widest = std::max(widest, width);
    }
    if (reconstruction && width != mean_.size())
      throw py::value_error("layers: expected as many values as features at the end");
    network_ = {
        mean_.size(),     layers_.size(),  widest,         mean_.data(), inverse_scale_.data(),
        format_of(input), layers_.data(),  reconstruction, x_shift,      y_shift,
        format_of(score), square_fraction, score_at_once};
    vael::Isa found;
    if (!vael::isa_select(isa.c_str(), &found))
      throw py::value_error("isa: this machine has no " + isa);
    table_ = &VAEL_TABLE(vael_fixed_table, found);
  }
  // network_ points into the vectors.
  FixedNetwork(const FixedNetwork &) = delete;
  FixedNetwork &operator=(const FixedNetwork &) = delete;

  py::tuple run(const Floats &rows) const {
    if (rows.ndim() != 2 || static_cast<size_t>(rows.shape(1)) != network_.features)
      throw py::value_error("rows: expected shape (n, " + std::to_string(network_.features) +
                            "), got " + py::str(rows.attr("shape")).cast<std::string>());
    const auto n = static_cast<size_t>(rows.shape(0));
    Int32s values({n, layers_.back().outputs});
    py::array_t<double> scores(static_cast<py::ssize_t>(n));
    std::vector<int32_t> workspace(vael::fixed_workspace(network_));
    const float *from = rows.data();
    int32_t *into = values.mutable_data();
    double *scored = scores.mutable_data();
    {
      py::gil_scoped_release released;
      table_->run(network_, from, n, workspace.data(), into, scored);
    }
    return py::make_tuple(values, scores);
  }

private:
  void add(const Layer &of, size_t inputs) {
    const auto &[weight, bias, sum, product_fraction, at_once, wraps, chunk, relu, result] = of;
    if (weight.ndim() != 2 || static_cast<size_t>(weight.shape(1)) != inputs ||
        bias.size() != weight.shape(0))
      throw py::value_error("weight: expected shape (out, " + std::to_string(inputs) +
                            ") and a bias for every output");
    weights_.emplace_back(weight.data(), weight.data() + weight.size());
    biases_.emplace_back(bias.data(), bias.data() + bias.size());
    // A vector of vectors that grows moves them: their data stay where they lie.
    layers_.push_back({inputs,
                       biases_.back().size(),
                       weights_.back().data(),
                       biases_.back().data(),
                       {format_of(sum), product_fraction, at_once, wraps, chunk},
                       relu,
                       format_of(result)});
  }
};

} // namespace

void bind_fixed(py::module_ &m) {
  py::class_<FixedNetwork>(m, "FixedNetwork")
      .def(py::init<const Floats &, const Floats &, const Format &, const std::vector<Layer> &,
                    bool, int, int, const Format &, int, bool, const std::string &>(),
           py::arg("mean"), py::arg("inverse_scale"), py::arg("input"), py::arg("layers"),
           py::arg("reconstruction"), py::arg("x_shift"), py::arg("y_shift"), py::arg("score"),
           py::arg("square_fraction"), py::arg("score_at_once"), py::arg("isa") = "")
      .def("run", &FixedNetwork::run, py::arg("rows").noconvert(),
           "(values of the last layer, raw int32 [n, out]; scores float64 [n]).");
}
