# One translation unit for each instruction set: vaelocity_add_isa_sources(<target> <files>...)
# compiles every file once with each set of flags below and adds the objects to the target.
#
# Files are compiled with -ffp-contract=off: every fma is written out, so the bits do not depend on
# the compiler's mood. No -ffast-math of any kind: a NaN must come out as a NaN.

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  set(VAELOCITY_ISAS avx512 avx2 generic)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64|ARM64")
  set(VAELOCITY_ISAS neon generic)
else()
  set(VAELOCITY_ISAS generic)
endif()
set(VAELOCITY_ISA_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 warns of its own avx512fintrin.h (GCC PR 105593).
  list(APPEND VAELOCITY_ISA_FLAGS_avx512 -Wno-maybe-uninitialized -Wno-uninitialized)
endif()
# The unit of fast mode: dot products of bfloat16, for the scorer alone.
set(VAELOCITY_FAST_FLAGS ${VAELOCITY_ISA_FLAGS_avx512} -mavx512bf16)
set(VAELOCITY_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(VAELOCITY_ISA_FLAGS_neon "")
set(VAELOCITY_ISA_FLAGS_generic "")

# For tests on a machine without AVX-512: its unit is compiled against an emulation of the intrinsics
# by SIMDe (Debian's libsimde-dev), so that what it computes is tested and not only its grammar.
option(VAELOCITY_EMULATE_AVX512 "Tests only: emulate AVX-512 with AVX2" OFF)
if(VAELOCITY_EMULATE_AVX512)
  # -fwrapv: lanes wrap around in the machine, and SIMDe writes them as signed int.
  set(VAELOCITY_ISA_FLAGS_avx512
    -mavx2 -mfma -mf16c -fwrapv -isystem ${CMAKE_CURRENT_SOURCE_DIR}/tests/cpp/emulate)
  set(VAELOCITY_FAST_FLAGS ${VAELOCITY_ISA_FLAGS_avx512})
endif()

function(vaelocity_add_unit unit flags)
  add_library(${unit} OBJECT)
  target_compile_options(${unit} PRIVATE ${flags} -fno-exceptions -fno-rtti)
  target_link_libraries(${unit} PRIVATE vaelocity_flags)
endfunction()

function(vaelocity_add_isa_sources target)
  foreach(isa IN LISTS VAELOCITY_ISAS)
    string(TOUPPER ${isa} ISA)
    set(unit ${target}_${isa})
    if(NOT TARGET ${unit})
      vaelocity_add_unit(${unit} "${VAELOCITY_ISA_FLAGS_${isa}}")
      target_compile_definitions(${unit} PRIVATE VAEL_ISA_${ISA})
      target_sources(${target} PRIVATE $<TARGET_OBJECTS:${unit}>)
    endif()
    target_sources(${unit} PRIVATE ${ARGN})
  endforeach()
endfunction()

# vaelocity_add_fast_sources(<target> <files>...): the same for fast mode, where there is one.
function(vaelocity_add_fast_sources target)
  if("avx512" IN_LIST VAELOCITY_ISAS)
    set(unit ${target}_avx512_bf16)
    vaelocity_add_unit(${unit} "${VAELOCITY_FAST_FLAGS}")
    target_compile_definitions(${unit} PRIVATE VAEL_ISA_AVX512 VAEL_ISA_AVX512_BF16)
    target_sources(${unit} PRIVATE ${ARGN})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${unit}>)
  endif()
endfunction()
