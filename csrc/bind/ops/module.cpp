// vaelocity._core.ops: the fused CPU kernels, called name(*schema_args, *outputs, begin, end).
#include "bind.h"

#include "ops/registry.h"

void bind_ops(pybind11::module_ &m) {
  pybind11::module_ ops = m.def_submodule(
      "ops", "Fused CPU kernels over torch tensors; use them through vaelocity.ops.");
  vael::bind::Registrar::bind_all(ops);
}
