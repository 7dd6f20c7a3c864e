#include "isa.h"

#include <stdlib.h>
#include <string.h>

namespace vael {

const char *isa_name(Isa isa) {
  switch (isa) {
  case Isa::avx512:
    return "avx512";
  case Isa::avx2:
    return "avx2";
  case Isa::neon:
    return "neon";
  case Isa::generic:
    return "generic";
  }
  return "unknown";
}

bool isa_available(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
  case Isa::avx512:
#if defined(VAEL_EMULATE_AVX512)
    return isa_available(Isa::avx2);
#endif
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  case Isa::avx2:
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
#elif defined(__aarch64__)
  case Isa::neon:
    return true;
#endif
  case Isa::generic:
    return true;
  default:
    return false;
  }
}

const char *why_not_fast() {
#if defined(VAEL_EMULATE_AVX512)
  return isa_available(Isa::avx512) ? nullptr : "the emulation needs AVX2";
#elif defined(__x86_64__)
  return isa_available(Isa::avx512) && __builtin_cpu_supports("avx512bf16")
             ? nullptr
             : "this processor has no AVX512_BF16";
#else
  return "only x86-64 processors with AVX512_BF16 have it";
#endif
}

bool isa_select(const char *name, Isa *isa) {
  if (!name || !*name)
    name = getenv("VAELOCITY_ISA");
  const bool any = !name || !*name;
  for (int i = isa_count - 1; i >= 0; --i) {
    const Isa candidate = static_cast<Isa>(i);
    if ((any || !strcmp(name, isa_name(candidate))) && isa_available(candidate)) {
      *isa = candidate;
      return true;
    }
  }
  return false;
}

} // namespace vael
