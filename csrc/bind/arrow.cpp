// vaelocity._core.arrow_columns: float32 columns of an Arrow struct array as NumPy arrays, where
// they lie.
//
// By the Arrow C data interface (https://arrow.apache.org/docs/format/CDataInterface.html), which
// defines the two structs below and leaves it to everyone to declare them. One call for a batch,
// where pyarrow takes several for every column.
#include "bind.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace py = pybind11;

struct ArrowSchema {
  const char *format, *name, *metadata;
  int64_t flags, n_children;
  ArrowSchema **children;
  ArrowSchema *dictionary;
  void (*release)(ArrowSchema *);
  void *private_data;
};

struct ArrowArray {
  int64_t length, null_count, offset, n_buffers, n_children;
  const void **buffers;
  ArrowArray **children;
  ArrowArray *dictionary;
  void (*release)(ArrowArray *);
  void *private_data;
};

namespace {

/// What a capsule of this name holds; ValueError for another.
template <class T> const T &held(const py::capsule &capsule, const char *name) {
  const void *pointer = PyCapsule_GetPointer(capsule.ptr(), name);
  if (!pointer)
    throw py::error_already_set();
  return *static_cast<const T *>(pointer);
}

/// Is there a validity bitmap, so that a value may be null?
bool may_be_null(const ArrowArray &array) { return array.null_count != 0 && array.buffers[0]; }

/// The columns of these names, of [n] float32 each, read-only; None where one of them is absent, of
/// another type, or may have nulls. The arrays keep `array`, a capsule, and with it the memory.
py::object arrow_columns(const py::capsule &schema, const py::capsule &array,
                         const std::vector<std::string> &names) {
  const auto &type = held<ArrowSchema>(schema, "arrow_schema");
  const auto &batch = held<ArrowArray>(array, "arrow_array");
  if (std::strcmp(type.format, "+s") != 0 || may_be_null(batch))
    return py::none();
  std::unordered_map<std::string_view, int64_t> at;
  for (int64_t i = 0; i < type.n_children; ++i)
    if (const char *name = type.children[i]->name) // may be null: a column without a name
      at.insert_or_assign(name, i);
  const py::dtype float32 = py::dtype::of<float>();
  py::list columns;
  for (const std::string &name : names) {
    const auto found = at.find(name);
    if (found == at.end() || std::strcmp(type.children[found->second]->format, "f") != 0)
      return py::none();
    const ArrowArray &column = *batch.children[found->second];
    if (may_be_null(column))
      return py::none();
    const float *values = static_cast<const float *>(column.buffers[1]);
    py::array view(float32, {batch.length}, {sizeof(float)},
                   values ? values + column.offset + batch.offset : nullptr, array);
    py::detail::array_proxy(view.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    columns.append(std::move(view));
  }
  return columns;
}

} // namespace

void bind_arrow(py::module_ &m) {
  m.def("arrow_columns", &arrow_columns, py::arg("schema"), py::arg("array"), py::arg("names"));
}
