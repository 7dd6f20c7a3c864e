#include "ops/corrupt.h"

#include "ops/philox.h"
#include "simd/float_mode.h"

namespace vael::VAEL_ISA {
namespace {

/// The bit patterns 1 (kept) and 0 (dropped).
struct MakeKept {
  PhiloxKeys keys;
  uint64_t offset, threshold;

  explicit MakeKept(const Dropping &op)
      : keys(op.draw.seed), offset(op.draw.offset + (op.rows * op.columns + 3) / 4),
        threshold(op.threshold) {}

  void operator()(uint64_t i, float *out) const {
    if (threshold == 0 || threshold >> 32) { // no word decides anything
      for (int k = 0; k < noise_step; k += Vec::lanes)
        store(out + k, from_bits(iset(threshold == 0)));
      return;
    }
    Block c[noise_groups];
    make_blocks(offset + i / 4, keys, c);
    const IVec least = uset(static_cast<uint32_t>(threshold));
#pragma GCC unroll 16
    for (int g = 0; g < noise_groups; ++g) {
      Vec kept[4];
      for (int k = 0; k < 4; ++k)
        kept[k] = from_bits(iset(1) - less_unsigned(c[g].w[k], least));
      interleave4(kept);
      for (int k = 0; k < 4; ++k)
        store(out + (4 * g + k) * Vec::lanes, kept[k]);
    }
  }
};

class KeptStream : public Stream<MakeKept> {
public:
  KeptStream(const Dropping &op, Span rows) : Stream(MakeKept(op), rows.end * op.columns) {}
};

void forward(const Corrupt &op, Span rows) {
  const DefaultFloatMode mode;
  const size_t columns = op.dropping.columns;
  RowReader x(op.x);
  RowWriter corrupted(op.corrupted);
  Noise noise(op.dropping.draw, rows.end * columns);
  KeptStream kept(op.dropping, rows);
  const Vec scale = set(op.noise);
  for (size_t row = rows.begin; row < rows.end; ++row)
    for (size_t j = 0; j < columns; j += chunk_size) {
      const int n = chunk_length(columns, j);
      const float *a = x.read(row, j, n);
      const float *eps = op.noise == 0.0f ? nullptr : noise.at(row * columns + j, n);
      const float *keep = kept.at(row * columns + j, n);
      float *out = corrupted.write(row, j);
      uint8_t *bytes = op.kept + row * columns + j;
      each_vector(n, [&](auto lanes, int i) {
        const Vec value = lanes.load(a + i);
        const Vec noisy = eps ? fma(scale, lanes.load(eps + i), value) : value;
        const IVec k = bits(lanes.load(keep + i));
        lanes.store(out + i, select(negative(shift_left<31>(k)), noisy, zero()));
        lanes.store_bytes(bytes + i, k);
      });
      corrupted.done(row, j, n);
    }
}

void backward(const CorruptBackward &op, Span rows) {
  const DefaultFloatMode mode;
  const size_t columns = op.dropping.columns;
  RowReader grad(op.grad);
  RowWriter grad_x(op.grad_x);
  KeptStream kept(op.dropping, rows);
  for (size_t row = rows.begin; row < rows.end; ++row)
    for (size_t j = 0; j < columns; j += chunk_size) {
      const int n = chunk_length(columns, j);
      const float *g = grad.read(row, j, n), *keep = kept.at(row * columns + j, n);
      float *out = grad_x.write(row, j);
      each_vector(n, [&](auto lanes, int i) {
        const IVec k = bits(lanes.load(keep + i));
        lanes.store(out + i, select(negative(shift_left<31>(k)), lanes.load(g + i), zero()));
      });
      grad_x.done(row, j, n);
    }
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::CorruptTable VAEL_ISA_NAME(vael_corrupt_table);
extern "C" const vael::CorruptTable VAEL_ISA_NAME(vael_corrupt_table) = {vael::VAEL_ISA::forward,
                                                                         vael::VAEL_ISA::backward};
