// vaelocity._core.histogram_count: scores counted into arrays that vaelocity.histogram owns.
#include "bind.h"

#include "histogram.h"

#include <pybind11/numpy.h>

#include <string>

namespace py = pybind11;

namespace {

using Counts = py::array_t<uint64_t>;
using Doubles = py::array_t<double>;

template <class T> T *checked(py::array_t<T> &array, size_t size, const char *name) {
  if (array.ndim() != 1 || static_cast<size_t>(array.shape(0)) != size || !array.writeable() ||
      array.strides(0) != sizeof(T))
    throw py::value_error(std::string(name) + ": expected a writeable contiguous array of " +
                          std::to_string(size));
  return array.mutable_data();
}

template <class T> const T *contiguous(const py::array_t<T> &array, size_t n, const char *name) {
  if (array.ndim() != 1 || static_cast<size_t>(array.shape(0)) != n ||
      (n > 1 && array.strides(0) != sizeof(T)))
    throw py::value_error(std::string(name) + ": expected a contiguous array of " +
                          std::to_string(n));
  return array.data();
}

py::tuple as_tuple(const vael::HistogramTally &found) {
  return py::make_tuple(found.nan, found.first, found.last);
}

py::tuple count(const py::array_t<float> &scores, Counts counts) {
  const auto n = static_cast<size_t>(scores.size());
  const float *from = contiguous(scores, n, "scores");
  uint64_t *into = checked(counts, vael::histogram_bins, "counts");
  vael::HistogramTally found;
  {
    py::gil_scoped_release released;
    found = vael::histogram_count(from, n, into);
  }
  return as_tuple(found);
}

py::tuple count_weighted(const py::array_t<float> &scores, const Doubles &weights, Counts counts,
                         Doubles sums, Doubles squares, Doubles nan_sums) {
  const auto n = static_cast<size_t>(scores.size());
  const float *from = contiguous(scores, n, "scores");
  const double *weight = contiguous(weights, n, "weights");
  uint64_t *into = checked(counts, vael::histogram_bins, "counts");
  double *sum = checked(sums, vael::histogram_bins, "sums");
  double *square = checked(squares, vael::histogram_bins, "squares");
  double *nan_sum = checked(nan_sums, 2, "nan_sums");
  vael::HistogramTally found;
  {
    py::gil_scoped_release released;
    found = vael::histogram_count_weighted(from, weight, n, into, sum, square, nan_sum);
  }
  return as_tuple(found);
}

} // namespace

void bind_histogram(py::module_ &m) {
  m.attr("HISTOGRAM_BITS") = vael::histogram_bits;
  // noconvert: a copy of `counts` would be counted into and thrown away.
  m.def("histogram_count", count, py::arg("scores").noconvert(), py::arg("counts").noconvert(),
        "Count scores in place; (NaN scores, lowest bin, highest bin).");
  m.def("histogram_count_weighted", count_weighted, py::arg("scores").noconvert(),
        py::arg("weights").noconvert(), py::arg("counts").noconvert(), py::arg("sums").noconvert(),
        py::arg("squares").noconvert(), py::arg("nan_sums").noconvert(),
        "histogram_count with sums of weights and of their squares.");
}
