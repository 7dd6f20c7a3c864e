// The vector type of the instruction set this file is compiled for, and nothing else.
//
// Every unit below src/score/kernels and src/ops is compiled once per instruction set with one of
// VAEL_ISA_AVX512, VAEL_ISA_AVX2, VAEL_ISA_NEON or VAEL_ISA_GENERIC defined. All offer the same
// functions with the same rounding, lane by lane, so code written over Vec gives the same bits
// everywhere:
//
//   - every product-sum is an explicit fma (the units are built with -ffp-contract=off)
//   - min(a, b) and max(a, b) return b if either is NaN, as x86 does
//   - no function crosses lanes, except transpose() and interleave4(), which only move, and
//     sum_lanes(), whose order is that of halves: together with a tree of vectors before it, 16
//     partial sums are added in one order, however many lanes hold them
//
// VAEL_ISA_AVX512_BF16 is the unit of fast mode: the AVX-512 one with bfloat16_dot.h, which alone
// gives other bits.
//
// These units include C headers and intrinsics only. A template of the standard library compiled
// here could be the copy that the linker keeps, and would then crash older machines.
#pragma once

#if defined(VAEL_ISA_AVX512_BF16) // has VAEL_ISA_AVX512 defined as well
#define VAEL_ISA avx512_bf16
#include "simd/vec_avx512.h"
#elif defined(VAEL_ISA_AVX512)
#define VAEL_ISA avx512
#include "simd/vec_avx512.h"
#elif defined(VAEL_ISA_AVX2)
#define VAEL_ISA avx2
#include "simd/vec_avx2.h"
#elif defined(VAEL_ISA_NEON)
#define VAEL_ISA neon
#include "simd/vec_neon.h"
#elif defined(VAEL_ISA_GENERIC)
#define VAEL_ISA generic
#include "simd/vec_generic.h"
#else
#error "define VAEL_ISA_AVX512, VAEL_ISA_AVX2, VAEL_ISA_NEON or VAEL_ISA_GENERIC"
#endif

#define VAEL_CONCAT_(a, b) a##b
#define VAEL_CONCAT(a, b) VAEL_CONCAT_(a, b)
/// name_avx512, name_avx2, name_neon or name_generic: the one symbol a unit exports.
#define VAEL_ISA_NAME(name) VAEL_CONCAT(name##_, VAEL_ISA)
