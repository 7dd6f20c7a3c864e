// The floating-point mode that every result is defined in: round to nearest, subnormals kept, no
// traps.
#pragma once

#if defined(__SSE__)
#include <xmmintrin.h>
#endif
#include <stdint.h>

#include "simd/vec.h"

namespace vael::VAEL_ISA {

/// The caller's thread may flush subnormals, round another way or trap on floating-point
/// exceptions; the result must not notice. Puts the mode back as it was; a caller in the default
/// mode, nearly every one, pays for one read of it.
class DefaultFloatMode {
#if defined(__SSE__)
  static constexpr unsigned raised = 0x3f, usual = 0x1f80; // all exceptions masked, nothing else
  static unsigned read() { return _mm_getcsr(); }
  static void write(unsigned mode) { _mm_setcsr(mode); }
  unsigned saved_ = read();

public:
  DefaultFloatMode() {
    if ((saved_ & ~raised) != usual)
      write(usual);
  }
  ~DefaultFloatMode() {
    if ((saved_ & ~raised) != usual)
      write(saved_);
  }
#elif defined(__aarch64__)
  static uint64_t read() {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void write(uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
  uint64_t saved_ = read();

public:
  DefaultFloatMode() {
    if (saved_)
      write(0);
  }
  ~DefaultFloatMode() {
    if (saved_)
      write(saved_);
  }
#else
public:
  DefaultFloatMode() {}
#endif
  DefaultFloatMode(const DefaultFloatMode &) = delete;
  DefaultFloatMode &operator=(const DefaultFloatMode &) = delete;
};

} // namespace vael::VAEL_ISA
