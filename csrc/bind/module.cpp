// Table of contents of the extension vaelocity._core.
#include "bind.h"

#include "vaelocity/version.h"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.doc() = "The compiled part of vaelocity; use it through vaelocity.load().";
  m.attr("__version__") = VAELOCITY_VERSION;
  bind_arrow(m);
  bind_fixed(m);
  bind_histogram(m);
  bind_model(m);
  bind_ops(m);
}
