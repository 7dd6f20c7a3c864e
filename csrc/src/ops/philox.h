// The noise contract, version 1: standard normals that a name (seed, offset) and an index give, the
// same bits in every instruction set, in Triton and in the torch reference.
//
// Element i of a draw belongs to block offset + i / 4. A block is four words of Philox4x32-10 with
// the counter (block, 0) and the key seed; words (0, 1) and words (2, 3) give one pair of normals
// each, by Box and Muller. Only correctly rounded operations, every product-sum a fma.
#pragma once

#include "ops/rows.h"

namespace vael::VAEL_ISA {

inline IVec uset(uint32_t x) { return iset(static_cast<int32_t>(x)); }

// ---- Integers: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011)

/// The keys of the ten rounds.
struct PhiloxKeys {
  static constexpr int rounds = 10;
  IVec low[rounds], high[rounds];

  explicit PhiloxKeys(uint64_t seed) {
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    for (int i = 0; i < rounds; ++i, k0 += 0x9e3779b9u, k1 += 0xbb67ae85u) {
      low[i] = uset(k0);
      high[i] = uset(k1);
    }
  }
};

/// Four words a lane.
struct Block {
  IVec w[4];
};

/// Philox4x32-10 of G counters in turn: one round has too few operations to keep the units busy.
template <int G> inline void philox(Block (&c)[G], const PhiloxKeys &keys) {
  const IVec m0 = uset(0xd2511f53u), m1 = uset(0xcd9e8d57u);
#pragma GCC unroll 16
  for (int round = 0; round < PhiloxKeys::rounds; ++round)
#pragma GCC unroll 16
    for (int g = 0; g < G; ++g) {
      const Wide a = multiply_wide(c[g].w[0], m0), b = multiply_wide(c[g].w[2], m1);
      c[g] = {{b.high ^ c[g].w[1] ^ keys.low[round], b.low, a.high ^ c[g].w[3] ^ keys.high[round],
               a.low}};
    }
}

/// The counters of Vec::lanes blocks from `block` on, in the order of group_of_lane().
inline Block counters(uint64_t block) {
  const IVec first = uset(static_cast<uint32_t>(block));
  const IVec low = first + group_of_lane();
  const IVec high = uset(static_cast<uint32_t>(block >> 32)) + carry(low, first);
  return {{low, high, iset(0), iset(0)}};
}

// ---- Words to normals

/// ln u for a normal u > 0: u = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)).
inline Vec log_unit(Vec u) {
  const IVec b = bits(u);
  const IVec exponent = shift_right<23>(b - iset(0x3f3504f3));
  const Vec e = to_float(exponent);
  const Vec f = from_bits(b - shift_left<23>(exponent)) - set(1.0f);
  const Vec f2 = f * f;
  Vec p = set(0x1.24d1fep-4f);
  p = fma(p, f, set(-0x1.d9f82p-4f));
  p = fma(p, f, set(0x1.ddacf6p-4f));
  p = fma(p, f, set(-0x1.fc5afep-4f));
  p = fma(p, f, set(0x1.23d65ep-3f));
  p = fma(p, f, set(-0x1.555ed8p-3f));
  p = fma(p, f, set(0x1.999d52p-3f));
  p = fma(p, f, set(-0x1.fffff2p-3f));
  p = fma(p, f, set(0x1.555554p-2f));
  const Vec l = fma(f2 * f, p, fma(e, set(-2.12194440e-4f), set(-0.5f) * f2));
  return fma(e, set(0.693359375f), l + f);
}

struct SinCos {
  Vec sin, cos;
};
/// Of the angle 2 pi word / 2^32: the quarter turn comes from the upper bits, exactly.
inline SinCos sincos_turn(IVec word) {
  const IVec quarter = shift_right_logical<30>(word + uset(1u << 29));
  const Vec t = to_float(word - shift_left<30>(quarter)) * set(0x1p-30f);
  const Vec t2 = t * t;
  Vec s = set(-0x1.2d9b7cp-8f);
  s = fma(s, t2, set(0x1.465ec4p-4f));
  s = fma(s, t2, set(-0x1.4abbbap-1f));
  s = fma(s, t2, set(0x1.921fb6p+0f));
  s = s * t;
  Vec c = set(0x1.d9c326p-11f);
  c = fma(c, t2, set(-0x1.55c57ap-6f));
  c = fma(c, t2, set(0x1.03c1dcp-2f));
  c = fma(c, t2, set(-0x1.3bd3ccp+0f));
  c = fma(c, t2, set(1.0f));
  const Mask swap = negative(shift_left<31>(quarter));
  const IVec cos_sign = shift_left<30>((quarter + iset(1)) & iset(2));
  const IVec sin_sign = shift_left<30>(quarter & iset(2));
  return {from_bits(bits(select(swap, c, s)) ^ sin_sign),
          from_bits(bits(select(swap, s, c)) ^ cos_sign)};
}

/// Two words to two normals.
inline void box_muller(IVec radius_word, IVec angle_word, Vec *normals) {
  const Vec u = fma(unsigned_to_float(radius_word), set(0x1p-32f), set(0x1p-33f));
  const Vec radius = sqrt(set(-2.0f) * log_unit(u));
  const SinCos turn = sincos_turn(angle_word);
  normals[0] = radius * turn.cos;
  normals[1] = radius * turn.sin;
}

// ---- Many normals

/// Blocks made at once, and their normals.
constexpr int noise_groups = 2;
constexpr int noise_blocks = noise_groups * Vec::lanes;
constexpr int noise_step = 4 * noise_blocks;

/// The noise_step normals of the blocks from `block` on.
inline void make_normals(uint64_t block, const PhiloxKeys &keys, float *out) {
  Block c[noise_groups];
#pragma GCC unroll 16
  for (int g = 0; g < noise_groups; ++g)
    c[g] = counters(block + static_cast<uint64_t>(g * Vec::lanes));
  philox(c, keys);
#pragma GCC unroll 16
  for (int g = 0; g < noise_groups; ++g) {
    Vec normals[4];
    box_muller(c[g].w[0], c[g].w[1], normals);
    box_muller(c[g].w[2], c[g].w[3], normals + 2);
    interleave4(normals);
#pragma GCC unroll 16
    for (int k = 0; k < 4; ++k)
      store(out + (4 * g + k) * Vec::lanes, normals[k]);
  }
}

/// The normals of a draw in ascending order, made a tile ahead in L1: rows need not begin where a
/// block does.
class Noise {
public:
  /// Elements before `end` may be asked for.
  Noise(const Draw &draw, uint64_t end) : keys_(draw.seed), offset_(draw.offset), end_(end) {}

  /// Elements i .. i + n - 1, valid until the next call; i never decreases, n <= chunk_size.
  const float *at(uint64_t i, int n) {
    if (i + static_cast<uint64_t>(n) > made_)
      make(i);
    return tile_ + (i - first_);
  }

private:
  void make(uint64_t i) {
    const uint64_t first = i & ~uint64_t{3};
    uint64_t next = first; // what is made already is moved, not made twice
    if (made_ > first) {
      memmove(tile_, tile_ + (first - first_), (made_ - first) * sizeof(float));
      next = made_;
    }
    first_ = first;
    const uint64_t stop = end_ - next < ahead ? end_ : next + ahead;
    for (; next < stop; next += noise_step)
      make_normals(offset_ + next / 4, keys_, tile_ + (next - first));
    made_ = next;
  }

  static constexpr int ahead = 1024;
  PhiloxKeys keys_;
  uint64_t offset_, end_, first_ = 0, made_ = 0; // the tile holds elements first_ .. made_ - 1
  alignas(64) float tile_[chunk_size + ahead + noise_step];
};

} // namespace vael::VAEL_ISA
