// vaelocity._core.Model: a loaded bundle, scored over numpy arrays where they lie.
#include "bind.h"

#include "isa.h"
#include "vaelocity/vaelocity.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

namespace py = pybind11;

namespace {

using Floats = py::array_t<float>;
using Bytes = py::array_t<uint8_t>;

/// One scratch buffer a thread, grown to the largest model it has scored with.
void *thread_workspace(size_t bytes) {
  struct Free {
    void operator()(void *p) const { ::operator delete(p, std::align_val_t{64}); }
  };
  thread_local std::unique_ptr<void, Free> memory;
  thread_local size_t size = 0;
  if (size < bytes) {
    memory.reset();
    size = 0;
    memory.reset(::operator new(bytes, std::align_val_t{64}));
    size = bytes;
  }
  return memory.get();
}

/// Lets go of the interpreter lock while so many rows are scored, unless they are few.
class Unlocked {
public:
  explicit Unlocked(size_t rows) {
    constexpr size_t few = 256; // less work than letting go
    if (rows > few)
      released_.emplace();
  }

private:
  std::optional<py::gil_scoped_release> released_;
};

/// Rows as the C ABI takes them; `columns` keeps the pointers alive.
struct View {
  const float *rows = nullptr;
  ptrdiff_t stride = 0;
  std::vector<const float *> columns;
  size_t n = 0;
};

std::string shape_text(const py::array &array) {
  return py::str(array.attr("shape")).cast<std::string>();
}

/// A stride in float32s; an element that does not lie on a multiple of 4 bytes is refused.
ptrdiff_t float_stride(ptrdiff_t bytes, const char *name) {
  if (bytes % static_cast<ptrdiff_t>(sizeof(float)))
    throw py::value_error(std::string(name) + ": strides must be multiples of 4 bytes");
  return bytes / static_cast<ptrdiff_t>(sizeof(float));
}

void require_float32(const py::array &array, const std::string &name) {
  if (!py::isinstance<Floats>(array))
    throw py::type_error(name + ": expected float32, got " +
                         py::str(array.dtype()).cast<std::string>() +
                         "; convert it yourself, so that a loss of precision is your decision");
  if (reinterpret_cast<uintptr_t>(array.data()) % alignof(float))
    throw py::value_error(name + ": the data must lie at a multiple of 4 bytes");
}

View view_rows(const py::array &rows, size_t n_features) {
  require_float32(rows, "rows");
  if (rows.ndim() != 2 || static_cast<size_t>(rows.shape(1)) != n_features)
    throw py::value_error("rows: expected shape (n, " + std::to_string(n_features) + "), got " +
                          shape_text(rows));
  View view;
  view.n = static_cast<size_t>(rows.shape(0));
  const float *data = static_cast<const float *>(rows.data());
  const ptrdiff_t row = float_stride(rows.strides(0), "rows");
  const ptrdiff_t column = float_stride(rows.strides(1), "rows");
  if (column == 1 || n_features == 1) {
    view.rows = data;
    view.stride = row;
    return view;
  }
  view.stride = row;
  for (size_t j = 0; j < n_features; ++j)
    view.columns.push_back(data + static_cast<ptrdiff_t>(j) * column);
  return view;
}

View view_columns(const std::vector<py::array> &columns, size_t n_features) {
  if (columns.size() != n_features)
    throw py::value_error("rows: expected " + std::to_string(n_features) + " columns, got " +
                          std::to_string(columns.size()));
  View view;
  for (size_t j = 0; j < n_features; ++j) {
    const std::string name = "rows: column " + std::to_string(j);
    require_float32(columns[j], name);
    if (columns[j].ndim() != 1 || columns[j].shape(0) != columns[0].shape(0))
      throw py::value_error(name + ": expected shape (" + std::to_string(columns[0].shape(0)) +
                            ",), got " + shape_text(columns[j]));
    const ptrdiff_t stride = float_stride(columns[j].strides(0), name.c_str());
    if (j && stride != view.stride && columns[0].shape(0) > 1)
      throw py::value_error(name + ": all columns must have the same stride");
    view.stride = stride;
    view.columns.push_back(static_cast<const float *>(columns[j].data()));
  }
  view.n = static_cast<size_t>(columns[0].shape(0));
  return view;
}

class Model {
public:
  explicit Model(vaelocity::Model model)
      : model_(std::move(model)), info_(model_.info()), kind_(info_.kind) {}

  const vael_info &info() const { return info_; }
  void verify() const { model_.verify(); }

  Floats score(const py::array &rows, const std::optional<Floats> &out) const {
    return score_view(view_rows(rows, info_.n_features), out);
  }
  Floats score_columns(const std::vector<py::array> &columns,
                       const std::optional<Floats> &out) const {
    return score_view(view_columns(columns, info_.n_features), out);
  }
  Floats features(const py::array &rows) const {
    return features_view(view_rows(rows, info_.n_features));
  }
  Floats features_columns(const std::vector<py::array> &columns) const {
    return features_view(view_columns(columns, info_.n_features));
  }
  Bytes flags(const py::array &rows) const { return flags_view(view_rows(rows, info_.n_features)); }
  Bytes flags_columns(const std::vector<py::array> &columns) const {
    return flags_view(view_columns(columns, info_.n_features));
  }
  /// Scores and flags of neighbouring arrays of rows, as of one.
  py::tuple score_flags(const std::vector<py::array> &parts) const {
    std::vector<View> views;
    for (const py::array &part : parts)
      views.push_back(view_rows(part, info_.n_features));
    return score_flags_views(views);
  }
  py::tuple score_flags_columns(const std::vector<py::array> &columns) const {
    return score_flags_views({view_columns(columns, info_.n_features)});
  }

private:
  Floats score_view(const View &view, const std::optional<Floats> &out) const {
    Floats scores = out ? checked_out(*out, view.n) : Floats(static_cast<py::ssize_t>(view.n));
    run(view, scores.mutable_data(), nullptr, nullptr);
    return scores;
  }

  Floats features_view(const View &view) const {
    if (kind_ != "reconstruction")
      throw py::value_error("score_features: kind \"" + kind_ +
                            "\" has no scores per feature, only kind \"reconstruction\" has");
    Floats features({static_cast<py::ssize_t>(view.n), static_cast<py::ssize_t>(info_.n_features)});
    std::vector<float> scores(view.n);
    run(view, scores.data(), nullptr, features.mutable_data());
    return features;
  }

  Bytes flags_view(const View &view) const {
    Bytes flags(static_cast<py::ssize_t>(view.n));
    std::vector<float> scores(view.n);
    run(view, scores.data(), flags.mutable_data(), nullptr);
    return flags;
  }

  py::tuple score_flags_views(const std::vector<View> &views) const {
    size_t n = 0;
    for (const View &view : views)
      n += view.n;
    Floats scores(static_cast<py::ssize_t>(n));
    Bytes flags(static_cast<py::ssize_t>(n));
    float *score = scores.mutable_data();
    uint8_t *flag = flags.mutable_data();
    {
      const Unlocked unlocked(n);
      for (const View &view : views) {
        compute(view, score, flag, nullptr);
        score += view.n;
        flag += view.n;
      }
    }
    return py::make_tuple(scores, flags);
  }

  static Floats checked_out(Floats out, size_t n) {
    if (out.ndim() != 1 || static_cast<size_t>(out.shape(0)) != n || !out.writeable() ||
        (n > 1 && out.strides(0) != sizeof(float)))
      throw py::value_error("out: expected a writeable contiguous float32 array of shape (" +
                            std::to_string(n) + ",), got shape " + shape_text(out));
    return out;
  }

  void run(const View &view, float *scores, uint8_t *flags, float *features) const {
    const Unlocked unlocked(view.n);
    compute(view, scores, flags, features);
  }

  void compute(const View &view, float *scores, uint8_t *flags, float *features) const {
    void *workspace = thread_workspace(info_.workspace_bytes);
    if (view.rows)
      vael_score_features_rows(model_.get(), view.rows, view.stride, view.n, workspace, scores,
                               flags, features);
    else
      vael_score_features_columns(model_.get(), view.columns.data(), view.stride, view.n, workspace,
                                  scores, flags, features);
  }

  vaelocity::Model model_;
  vael_info info_;
  std::string kind_;
};

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (int i = 0; i < vael::isa_count; ++i)
    if (const auto isa = static_cast<vael::Isa>(i); vael::isa_available(isa))
      names.emplace_back(vael::isa_name(isa));
  return names;
}

} // namespace

void bind_model(py::module_ &m) {
  py::register_exception<vaelocity::Error>(m, "BundleError", PyExc_ValueError);
  m.def("available_isas", available_isas, "Instruction sets this machine runs, slowest first.");

  m.def("why_not_fast", vael::why_not_fast, "Why this machine has no fast mode; None if it has.");

  const auto load_file = [](const std::string &path, const std::string &kind,
                            const std::string &isa, bool verify, bool fast) {
    return std::make_unique<Model>(vaelocity::Model::load(path, {kind, isa, verify, fast}));
  };
  const auto load_bytes = [](const py::bytes &bytes, const std::string &kind,
                             const std::string &isa, bool verify, bool fast) {
    const std::string_view view = bytes;
    return std::make_unique<Model>(
        vaelocity::Model::load(view.data(), view.size(), {kind, isa, verify, fast}));
  };
  py::class_<Model>(m, "Model")
      .def_static("from_file", load_file, py::arg("path"), py::arg("kind") = "",
                  py::arg("isa") = "", py::arg("verify") = true, py::arg("fast") = false)
      .def_static("from_bytes", load_bytes, py::arg("data"), py::arg("kind") = "",
                  py::arg("isa") = "", py::arg("verify") = true, py::arg("fast") = false)
      .def("score", &Model::score, py::arg("rows"), py::arg("out") = py::none())
      .def("score_columns", &Model::score_columns, py::arg("columns"), py::arg("out") = py::none())
      .def("features", &Model::features, py::arg("rows"))
      .def("features_columns", &Model::features_columns, py::arg("columns"))
      .def("flags", &Model::flags, py::arg("rows"))
      .def("flags_columns", &Model::flags_columns, py::arg("columns"))
      .def("score_flags", &Model::score_flags, py::arg("parts"))
      .def("score_flags_columns", &Model::score_flags_columns, py::arg("columns"))
      .def("verify", &Model::verify)
      .def_property_readonly("n_features", [](const Model &s) { return s.info().n_features; })
      .def_property_readonly("latent", [](const Model &s) { return s.info().latent; })
      .def_property_readonly("kind", [](const Model &s) { return s.info().kind; })
      .def_property_readonly("isa", [](const Model &s) { return s.info().isa; })
      .def_property_readonly("checksum", [](const Model &s) { return s.info().checksum; })
      .def_property_readonly("metadata", [](const Model &s) { return s.info().metadata; })
      .def_property_readonly("workspace_bytes",
                             [](const Model &s) { return s.info().workspace_bytes; });
}
