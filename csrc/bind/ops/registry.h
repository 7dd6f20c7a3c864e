// How an op's binding announces itself: a static Registrar in its own file, no list anywhere.
#pragma once

#include <pybind11/pybind11.h>

namespace vael::bind {

class Registrar {
public:
  explicit Registrar(void (*bind)(pybind11::module_ &)) : bind_(bind), next_(first) {
    first = this;
  }

  static void bind_all(pybind11::module_ &m) {
    for (const Registrar *r = first; r; r = r->next_)
      r->bind_(m);
  }

private:
  inline static const Registrar *first = nullptr;
  void (*bind_)(pybind11::module_ &);
  const Registrar *next_;
};

} // namespace vael::bind
