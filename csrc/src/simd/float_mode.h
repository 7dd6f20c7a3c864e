// The floating-point environment of a kernel: always the default one.
#pragma once

#include "simd/vec.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace vael::VAEL_ISA {

/// The caller's thread may flush subnormals or round another way; a result must not notice.
class DefaultFloatMode {
#if defined(__SSE__)
  static constexpr unsigned flush_to_zero = 0x8000, denormals_are_zero = 0x0040, rounding = 0x6000;
  unsigned saved_ = _mm_getcsr();

public:
  DefaultFloatMode() {
    if (saved_ & (flush_to_zero | denormals_are_zero | rounding))
      _mm_setcsr(saved_ & ~(flush_to_zero | denormals_are_zero | rounding));
  }
  ~DefaultFloatMode() {
    if (saved_ & (flush_to_zero | denormals_are_zero | rounding))
      _mm_setcsr(saved_);
  }
#else
public:
  DefaultFloatMode() {}
#endif
  DefaultFloatMode(const DefaultFloatMode &) = delete;
  DefaultFloatMode &operator=(const DefaultFloatMode &) = delete;
};

} // namespace vael::VAEL_ISA
