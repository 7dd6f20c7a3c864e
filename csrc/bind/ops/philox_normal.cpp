#include "ops/philox_normal.h"

#include "ops/registry.h"
#include "ops/tensor.h"

VAEL_DECLARE_TABLES(vael::PhiloxNormalTable, vael_philox_normal_table);

namespace vael::bind {
namespace {

/// The shape and dtype are those of the output.
void philox_normal(py::handle, py::handle rng, py::handle, py::handle normals, size_t begin,
                   size_t end) {
  size_t elements;
  const Output out = flat_output(normals, "normals", &elements);
  const Span part = span(begin, end, elements);
  if (begin % 4)
    throw py::value_error("begin: expected a multiple of 4, got " + std::to_string(begin));
  const PhiloxNormal op{draw(rng), out.data, out.dtype};
  run(VAEL_TABLE(vael_philox_normal_table, isa()).forward, op, part, 1);
}

const Registrar registrar([](py::module_ &m) { m.def("philox_normal", philox_normal); });

} // namespace
} // namespace vael::bind
