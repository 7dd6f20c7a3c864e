// Which instruction sets were built in, which this machine has, and the choice between them.
#pragma once

namespace vael {

enum class Isa { generic = 0, neon = 1, avx2 = 2, avx512 = 3 };
constexpr int isa_count = 4;

const char *isa_name(Isa isa);

/// Built in, and the CPU and operating system run it.
bool isa_available(Isa isa);

/// The set called name; null or "" asks VAELOCITY_ISA, and where that is unset the best available.
/// False if there is no such set or this machine does not run it.
bool isa_select(const char *name, Isa *isa);

/// The name of the unit that computes with dot products of bfloat16.
constexpr const char *fast_isa_name = "avx512_bf16";

/// Why this build on this machine has no fast mode; null where it has.
const char *why_not_fast();

} // namespace vael

// Declares and indexes the tables that the units of csrc/src export, one for each instruction set:
//   VAEL_DECLARE_TABLES(ScoreTable, vael_score_table)      at namespace scope
//   VAEL_TABLE(vael_score_table, isa)                      the table for isa
// A set that was not built in answers with the generic one; isa_available() keeps it from being
// asked.
// VAEL_DECLARE_FAST_TABLE(ScoreTable, vael_score_table) and VAEL_FAST_TABLE(vael_score_table) are
// the same for the unit of fast mode, which is asked where why_not_fast() is null.
#if defined(__x86_64__)
#define VAEL_DECLARE_FAST_TABLE(Type, name) extern "C" const Type name##_avx512_bf16
#define VAEL_FAST_TABLE(name) name##_avx512_bf16
#else
#define VAEL_DECLARE_FAST_TABLE(Type, name) static_assert(true)
#define VAEL_FAST_TABLE(name) name##_generic
#endif
#if defined(__x86_64__)
#define VAEL_DECLARE_TABLES(Type, name)                                                            \
  extern "C" const Type name##_generic;                                                            \
  extern "C" const Type name##_avx2;                                                               \
  extern "C" const Type name##_avx512
#define VAEL_TABLE(name, isa)                                                                      \
  ((isa) == ::vael::Isa::avx512 ? name##_avx512                                                    \
   : (isa) == ::vael::Isa::avx2 ? name##_avx2                                                      \
                                : name##_generic)
#elif defined(__aarch64__)
#define VAEL_DECLARE_TABLES(Type, name)                                                            \
  extern "C" const Type name##_generic;                                                            \
  extern "C" const Type name##_neon
#define VAEL_TABLE(name, isa) ((isa) == ::vael::Isa::neon ? name##_neon : name##_generic)
#else
#define VAEL_DECLARE_TABLES(Type, name) extern "C" const Type name##_generic
#define VAEL_TABLE(name, isa) (static_cast<void>(isa), name##_generic)
#endif
