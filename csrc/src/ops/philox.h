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
  const IVec high = uset(static_cast<uint32_t>(block >> 32)) + less_unsigned(low, first);
  return {{low, high, iset(0), iset(0)}};
}

// ---- Words to normals, N vectors in step
//
// The polynomials are chains of dependent fma. One vector after another, a core finds too few
// independent operations ahead (a third slower on Zen 3); N at a time they stand side by side.

/// u = ln u for a normal u > 0: u = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)).
template <int N> inline void log_unit(Vec (&u)[N]) {
  Vec e[N], f[N], p[N];
#pragma GCC unroll 16
  for (int k = 0; k < N; ++k) {
    const IVec b = bits(u[k]);
    const IVec exponent = shift_right<23>(b - iset(0x3f3504f3));
    e[k] = to_float(exponent);
    f[k] = from_bits(b - shift_left<23>(exponent)) - set(1.0f);
    p[k] = set(0x1.24d1fep-4f);
  }
  const auto horner = [&](float coefficient) {
#pragma GCC unroll 16
    for (int k = 0; k < N; ++k)
      p[k] = fma(p[k], f[k], set(coefficient));
  };
  horner(-0x1.d9f82p-4f);
  horner(0x1.ddacf6p-4f);
  horner(-0x1.fc5afep-4f);
  horner(0x1.23d65ep-3f);
  horner(-0x1.555ed8p-3f);
  horner(0x1.999d52p-3f);
  horner(-0x1.fffff2p-3f);
  horner(0x1.555554p-2f);
#pragma GCC unroll 16
  for (int k = 0; k < N; ++k) {
    const Vec f2 = f[k] * f[k];
    const Vec tail = fma(e[k], set(-2.12194440e-4f), set(-0.5f) * f2);
    u[k] = fma(e[k], set(0.693359375f), fma(f2 * f[k], p[k], tail) + f[k]);
  }
}

/// Of the angles 2 pi word / 2^32: the quarter turn comes from the upper bits, exactly.
template <int N> inline void sincos_turn(const IVec (&word)[N], Vec (&sin)[N], Vec (&cos)[N]) {
  IVec quarter[N];
  Vec t[N], t2[N], s[N], c[N];
#pragma GCC unroll 16
  for (int k = 0; k < N; ++k) {
    quarter[k] = shift_right_logical<30>(word[k] + uset(1u << 29));
    t[k] = to_float(word[k] - shift_left<30>(quarter[k])) * set(0x1p-30f);
    t2[k] = t[k] * t[k];
    s[k] = set(-0x1.2d9b7cp-8f);
    c[k] = set(0x1.d9c326p-11f);
  }
  const auto horner = [&](Vec(&p)[N], float coefficient) {
#pragma GCC unroll 16
    for (int k = 0; k < N; ++k)
      p[k] = fma(p[k], t2[k], set(coefficient));
  };
  horner(s, 0x1.465ec4p-4f);
  horner(s, -0x1.4abbbap-1f);
  horner(s, 0x1.921fb6p+0f);
  horner(c, -0x1.55c57ap-6f);
  horner(c, 0x1.03c1dcp-2f);
  horner(c, -0x1.3bd3ccp+0f);
  horner(c, 1.0f);
#pragma GCC unroll 16
  for (int k = 0; k < N; ++k) {
    s[k] = s[k] * t[k];
    const Mask swap = negative(shift_left<31>(quarter[k]));
    const IVec cos_sign = shift_left<30>((quarter[k] + iset(1)) & iset(2));
    const IVec sin_sign = shift_left<30>(quarter[k] & iset(2));
    sin[k] = from_bits(bits(select(swap, c[k], s[k])) ^ sin_sign);
    cos[k] = from_bits(bits(select(swap, s[k], c[k])) ^ cos_sign);
  }
}

/// Two words to two normals: first[k] and second[k] from radius_word[k] and angle_word[k].
template <int N>
inline void box_muller(const IVec (&radius_word)[N], const IVec (&angle_word)[N], Vec (&first)[N],
                       Vec (&second)[N]) {
  Vec radius[N];
#pragma GCC unroll 16
  for (int k = 0; k < N; ++k)
    radius[k] = fma(unsigned_to_float(radius_word[k]), set(0x1p-32f), set(0x1p-33f));
  log_unit(radius);
#pragma GCC unroll 16
  for (int k = 0; k < N; ++k)
    radius[k] = sqrt(set(-2.0f) * radius[k]);
  Vec sin[N], cos[N];
  sincos_turn(angle_word, sin, cos);
#pragma GCC unroll 16
  for (int k = 0; k < N; ++k) {
    first[k] = radius[k] * cos[k];
    second[k] = radius[k] * sin[k];
  }
}

// ---- Many normals

/// Vectors of blocks made at once, their blocks, and their normals. Four of 8 lanes spill a few
/// registers and are faster than three all the same.
#if defined(VAEL_ISA_AVX512)
constexpr int noise_groups = 2;
#elif defined(VAEL_ISA_AVX2)
constexpr int noise_groups = 4;
#else
constexpr int noise_groups = 1;
#endif
constexpr int noise_blocks = noise_groups * Vec::lanes;
constexpr int noise_step = 4 * noise_blocks;

inline void make_blocks(uint64_t block, const PhiloxKeys &keys, Block (&c)[noise_groups]) {
#pragma GCC unroll 16
  for (int g = 0; g < noise_groups; ++g)
    c[g] = counters(block + static_cast<uint64_t>(g * Vec::lanes));
  philox(c, keys);
}

/// The noise_step normals of the blocks from `block` on.
inline void make_normals(uint64_t block, const PhiloxKeys &keys, float *out) {
  Block c[noise_groups];
  make_blocks(block, keys, c);
  constexpr int pairs = 2 * noise_groups;
  IVec radius[pairs], angle[pairs];
#pragma GCC unroll 16
  for (int k = 0; k < pairs; ++k) {
    radius[k] = c[k / 2].w[2 * (k % 2)];
    angle[k] = c[k / 2].w[2 * (k % 2) + 1];
  }
  Vec first[pairs], second[pairs];
  box_muller(radius, angle, first, second);
#pragma GCC unroll 16
  for (int g = 0; g < noise_groups; ++g) {
    Vec normals[4] = {first[2 * g], second[2 * g], first[2 * g + 1], second[2 * g + 1]};
    interleave4(normals);
#pragma GCC unroll 16
    for (int k = 0; k < 4; ++k)
      store(out + (4 * g + k) * Vec::lanes, normals[k]);
  }
}

/// What make(i, out) writes for noise_step elements from i on (a multiple of 4), as one sequence:
/// made a tile ahead in L1, because rows need not begin where a block does.
template <class Make> class Stream {
public:
  /// Elements before `end` may be asked for.
  Stream(const Make &make, uint64_t end) : make_(make), end_(end) {}

  /// Elements i .. i + n - 1, valid until the next call; i never decreases, n <= chunk_size.
  const float *at(uint64_t i, int n) {
    if (i + static_cast<uint64_t>(n) > made_)
      advance(i);
    return tile_ + (i - first_);
  }
  const float *at(const Tile &tile, size_t columns) {
    return at(tile.row * columns + tile.column, tile.n);
  }

private:
  void advance(uint64_t i) {
    const uint64_t first = i & ~uint64_t{3};
    uint64_t next = first;
    if (made_ > first) { // what is made already is moved, not made twice
      memmove(tile_, tile_ + (first - first_), (made_ - first) * sizeof(float));
      next = made_;
    }
    first_ = first;
    const uint64_t stop = end_ - next < ahead ? end_ : next + ahead;
    for (; next < stop; next += noise_step)
      make_(next, tile_ + (next - first));
    made_ = next;
  }

  static constexpr int ahead = 1024;
  Make make_;
  uint64_t end_, first_ = 0, made_ = 0; // the tile holds elements first_ .. made_ - 1
  alignas(64) float tile_[chunk_size + ahead + noise_step];
};

struct MakeNormals {
  PhiloxKeys keys;
  uint64_t offset;
  explicit MakeNormals(const Draw &draw) : keys(draw.seed), offset(draw.offset) {}
  void operator()(uint64_t i, float *out) const { make_normals(offset + i / 4, keys, out); }
};

/// The normals of a draw.
class Noise : public Stream<MakeNormals> {
public:
  Noise(const Draw &draw, uint64_t end) : Stream(MakeNormals(draw), end) {}
};

} // namespace vael::VAEL_ISA
