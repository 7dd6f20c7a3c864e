#include "ops/tensor.h"

#include "ops/dlpack.h"

#include <pybind11/gil_safe_call_once.h>

#include <string>

namespace vael::bind {
namespace {

enum class Element { float32, bfloat16, float16, int64, boolean, other };

/// What is looked up in torch once: attribute names, dtypes and the DLPack interface, if it has
/// one.
struct Torch {
  static constexpr int n_dtypes = 5;
  py::object dtype[n_dtypes]; // in the order of Element
  py::object tensor_type;
  int (*exchange)(void *, dlpack::Tensor *) = nullptr;
  py::str data_ptr{"data_ptr"}, shape{"shape"}, stride{"stride"}, dtype_name{"dtype"},
      is_cpu{"is_cpu"};

  Torch() {
    const py::module_ torch = py::module_::import("torch");
    const char *names[n_dtypes] = {"float32", "bfloat16", "float16", "int64", "bool"};
    for (int i = 0; i < n_dtypes; ++i)
      dtype[i] = torch.attr(names[i]);
    tensor_type = torch.attr("Tensor");
    const py::object capsule = py::getattr(tensor_type, "__dlpack_c_exchange_api__", py::none());
    if (PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api"))
      if (const auto *api = static_cast<const dlpack::ExchangeApi *>(
              PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
          api->major == 1)
        exchange = api->tensor_from_object;
  }
};

const Torch &torch() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<Torch> storage;
  return storage.call_once_and_store_result([] { return Torch(); }).get_stored();
}

/// What is read of a tensor. Strides in elements.
struct Tensor {
  static constexpr int max_dims = 2;
  char *data;
  Element element;
  int ndim; // may be more than max_dims
  size_t shape[max_dims];
  ptrdiff_t stride[max_dims];
  size_t elements;
};

/// The value of a Python call that returned a new reference, or the Python error.
py::object checked(PyObject *result) {
  if (!result)
    throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

std::string describe(py::handle tensor) {
  if (!py::hasattr(tensor, "dtype") || !py::hasattr(tensor, "shape"))
    return py::str(py::type::handle_of(tensor).attr("__name__")).cast<std::string>();
  return py::str(tensor.attr("dtype")).cast<std::string>() + " of shape " +
         py::str(checked(PySequence_Tuple(tensor.attr("shape").ptr()))).cast<std::string>();
}

[[noreturn]] void refuse(py::handle tensor, const char *name, const std::string &expected) {
  throw py::value_error(std::string(name) + ": expected " + expected + ", got " + describe(tensor));
}

Element element_of(py::handle tensor) {
  const Torch &names = torch();
  const py::object dtype = checked(PyObject_GetAttr(tensor.ptr(), names.dtype_name.ptr()));
  for (int i = 0; i < Torch::n_dtypes; ++i)
    if (dtype.is(names.dtype[i]))
      return static_cast<Element>(i);
  return Element::other;
}

size_t size_at(const py::object &tuple, int i) {
  return PyLong_AsSize_t(PyTuple_GET_ITEM(tuple.ptr(), i));
}

Element element_of(dlpack::DataType dtype) {
  const int kind = dtype.code << 8 | dtype.bits;
  return kind == (dlpack::floating << 8 | 32)         ? Element::float32
         : kind == (dlpack::bfloat << 8 | 16)         ? Element::bfloat16
         : kind == (dlpack::floating << 8 | 16)       ? Element::float16
         : kind == (dlpack::signed_integer << 8 | 64) ? Element::int64
         : kind == (dlpack::boolean << 8 | 8)         ? Element::boolean
                                                      : Element::other;
}

/// By DLPack. False if that did not work: read_attributes() finds out why.
bool read_exchanged(py::handle tensor, Tensor *view) {
  const Torch &names = torch();
  PyTypeObject *type = reinterpret_cast<PyTypeObject *>(names.tensor_type.ptr());
  if (!names.exchange || !PyObject_TypeCheck(tensor.ptr(), type))
    return false;
  dlpack::Tensor t;
  if (names.exchange(tensor.ptr(), &t)) {
    PyErr_Clear();
    return false;
  }
  if (t.device.type != dlpack::cpu || !t.strides)
    return false;
  view->data = static_cast<char *>(t.data) + t.byte_offset;
  view->element = element_of(t.dtype);
  view->ndim = t.ndim;
  view->elements = 1;
  for (int i = 0; i < t.ndim; ++i) {
    view->elements *= static_cast<size_t>(t.shape[i]);
    if (i < Tensor::max_dims) {
      view->shape[i] = static_cast<size_t>(t.shape[i]);
      view->stride[i] = static_cast<ptrdiff_t>(t.strides[i]);
    }
  }
  return true;
}

/// By attributes, as every torch has them.
Tensor read_attributes(py::handle tensor, const char *name) {
  const Torch &names = torch();
  PyObject *t = tensor.ptr();
  if (!py::hasattr(tensor, names.is_cpu))
    refuse(tensor, name, "a torch tensor");
  if (!checked(PyObject_GetAttr(t, names.is_cpu.ptr())).is(py::handle(Py_True)))
    refuse(tensor, name, "a tensor on the CPU");
  Tensor view{};
  view.element = element_of(tensor);
  const py::object shape = checked(PyObject_GetAttr(t, names.shape.ptr()));
  const py::object stride = checked(PyObject_CallMethodNoArgs(t, names.stride.ptr()));
  view.ndim = static_cast<int>(PyTuple_GET_SIZE(shape.ptr()));
  view.elements = 1;
  for (int i = 0; i < view.ndim; ++i) {
    const size_t n = size_at(shape, i);
    view.elements *= n;
    if (i < Tensor::max_dims) {
      view.shape[i] = n;
      view.stride[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(stride.ptr(), i));
    }
  }
  const py::object data = checked(PyObject_CallMethodNoArgs(t, names.data_ptr.ptr()));
  view.data = static_cast<char *>(PyLong_AsVoidPtr(data.ptr()));
  if (PyErr_Occurred())
    throw py::error_already_set();
  return view;
}

Tensor read(py::handle tensor, const char *name) {
  Tensor view{};
  return read_exchanged(tensor, &view) ? view : read_attributes(tensor, name);
}

std::string text(Shape shape) {
  return "[" + std::to_string(shape.rows) + ", " + std::to_string(shape.columns) + "]";
}

bool floating(Element element) { return element <= Element::float16; }
DType dtype_of(Element element) { return static_cast<DType>(element); }

Tensor matrix(py::handle tensor, const char *name) {
  const Tensor view = read(tensor, name);
  if (!floating(view.element) || view.ndim != 2)
    refuse(tensor, name, "a float32, bfloat16 or float16 tensor [B, D]");
  if (view.shape[1] > 1 && view.stride[1] != 1)
    refuse(tensor, name, "neighbouring columns side by side (stride 1)");
  return view;
}

Tensor matrix_like(py::handle tensor, const char *name, Shape shape) {
  const Tensor view = matrix(tensor, name);
  if (view.shape[0] != shape.rows || view.shape[1] != shape.columns)
    refuse(tensor, name, "shape " + text(shape));
  return view;
}

Tensor contiguous_vector(py::handle tensor, const char *name, size_t n, Element element,
                         const char *dtype) {
  const Tensor view = read(tensor, name);
  if (view.element != element || view.ndim != 1 || view.shape[0] != n ||
      (n > 1 && view.stride[0] != 1))
    refuse(tensor, name,
           "a contiguous " + std::string(dtype) + " tensor [" + std::to_string(n) + "]");
  return view;
}

} // namespace

Input input(py::handle tensor, const char *name, Shape *shape) {
  const Tensor view = matrix(tensor, name);
  *shape = {view.shape[0], view.shape[1]};
  return {view.data, view.stride[0], dtype_of(view.element)};
}

Input input_like(py::handle tensor, const char *name, Shape shape) {
  const Tensor view = matrix_like(tensor, name, shape);
  return {view.data, view.stride[0], dtype_of(view.element)};
}

Output output_like(py::handle tensor, const char *name, Shape shape) {
  const Tensor view = matrix_like(tensor, name, shape);
  if (view.shape[0] > 1 && view.stride[0] < static_cast<ptrdiff_t>(shape.columns))
    refuse(tensor, name, "rows that do not overlap");
  return {view.data, view.stride[0], dtype_of(view.element)};
}

Output flat_output(py::handle tensor, const char *name, size_t *elements) {
  const Tensor view = read(tensor, name);
  if (!floating(view.element) || !tensor.attr("is_contiguous")().cast<bool>())
    refuse(tensor, name, "a contiguous float32, bfloat16 or float16 tensor");
  *elements = view.elements;
  return {view.data, 0, dtype_of(view.element)};
}

const float *float32_vector(py::handle tensor, const char *name, size_t n) {
  return reinterpret_cast<const float *>(
      contiguous_vector(tensor, name, n, Element::float32, "float32").data);
}

const float *float32_vector(py::handle tensor, const char *name, size_t *n) {
  const Tensor view = read(tensor, name);
  if (view.element != Element::float32 || view.ndim != 1 ||
      (view.shape[0] > 1 && view.stride[0] != 1))
    refuse(tensor, name, "a contiguous float32 tensor [T]");
  *n = view.shape[0];
  return reinterpret_cast<const float *>(view.data);
}

float *float32_output(py::handle tensor, const char *name, size_t n) {
  return reinterpret_cast<float *>(
      contiguous_vector(tensor, name, n, Element::float32, "float32").data);
}

PerRow per_row(py::handle tensor, const char *name, size_t rows) {
  const Tensor view = read(tensor, name);
  if (view.element != Element::float32 || view.ndim != 1 || view.shape[0] != rows)
    refuse(tensor, name, "a float32 tensor [" + std::to_string(rows) + "]");
  return {reinterpret_cast<const float *>(view.data), view.stride[0]};
}

ElementMask element_mask(py::handle tensor, const char *name, Shape shape) {
  const Tensor view = read(tensor, name);
  if (view.element != Element::boolean || view.ndim != 2 || view.shape[0] != shape.rows ||
      view.shape[1] != shape.columns || (shape.columns > 1 && view.stride[1] != 1))
    refuse(tensor, name,
           "a bool tensor " + text(shape) + " with neighbouring columns side by side");
  return {reinterpret_cast<const uint8_t *>(view.data), view.stride[0]};
}

uint8_t *mask_output(py::handle tensor, const char *name, Shape shape) {
  const Tensor view = read(tensor, name);
  if (view.element != Element::boolean || view.ndim != 2 || view.shape[0] != shape.rows ||
      view.shape[1] != shape.columns ||
      (view.elements > 1 &&
       ((shape.columns > 1 && view.stride[1] != 1) ||
        (shape.rows > 1 && view.stride[0] != static_cast<ptrdiff_t>(shape.columns)))))
    refuse(tensor, name, "a contiguous bool tensor " + text(shape));
  return reinterpret_cast<uint8_t *>(view.data);
}

const int64_t *int64_vector(py::handle tensor, const char *name, size_t n, ptrdiff_t *stride) {
  const Tensor view = read(tensor, name);
  if (view.element != Element::int64 || view.ndim != 1 || view.shape[0] != n)
    refuse(tensor, name, "an int64 tensor [" + std::to_string(n) + "]");
  *stride = view.stride[0];
  return reinterpret_cast<const int64_t *>(view.data);
}

Draw draw(py::handle tensor) {
  const Tensor view = contiguous_vector(tensor, "rng", 2, Element::int64, "int64");
  const int64_t *words = reinterpret_cast<const int64_t *>(view.data);
  return {static_cast<uint64_t>(words[0]), static_cast<uint64_t>(words[1])};
}

Span span(size_t begin, size_t end, size_t rows) {
  if (begin > end || end > rows)
    throw py::value_error("begin, end: expected a span within 0 .. " + std::to_string(rows) +
                          ", got " + std::to_string(begin) + " .. " + std::to_string(end));
  return {begin, end};
}

Isa isa() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<Isa> storage;
  return storage
      .call_once_and_store_result([] {
        Isa chosen;
        if (!isa_select(nullptr, &chosen))
          throw py::value_error("VAELOCITY_ISA: this machine or this build does not run \"" +
                                std::string(getenv("VAELOCITY_ISA")) + "\"");
        return chosen;
      })
      .get_stored();
}

} // namespace vael::bind
