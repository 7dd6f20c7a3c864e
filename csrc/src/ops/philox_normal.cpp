#include "ops/philox_normal.h"

#include "ops/philox.h"
#include "ops/rows.h"
#include "simd/float_mode.h"

namespace vael::VAEL_ISA {
namespace {

void forward(const PhiloxNormal &op, Span elements) {
  const DefaultFloatMode mode;
  const PhiloxKeys keys(op.draw.seed);
  size_t i = elements.begin;
  const bool in_place = op.dtype == DType::float32;
  float *out = static_cast<float *>(op.normals);
  for (; in_place && elements.end - i >= noise_step; i += noise_step)
    make_normals(op.draw.offset + i / 4, keys, out + i);
  for (; i < elements.end; i += noise_step) {
    alignas(64) float normals[noise_step];
    make_normals(op.draw.offset + i / 4, keys, normals);
    const size_t left = elements.end - i < noise_step ? elements.end - i : noise_step;
    if (in_place)
      memcpy(out + i, normals, left * sizeof(float));
    else
      store_halves(normals, op.dtype, static_cast<int>(left),
                   static_cast<uint16_t *>(op.normals) + i);
  }
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::PhiloxNormalTable VAEL_ISA_NAME(vael_philox_normal_table);
extern "C" const vael::PhiloxNormalTable VAEL_ISA_NAME(vael_philox_normal_table) = {
    vael::VAEL_ISA::forward};
