// The fixed-point network of one instruction set: rows in the lanes, plain loops for the compiler.
#include "fixed/fixed.h"

#include "isa.h"
#include "simd/float_mode.h"
#include "simd/vec.h"

#include <math.h>
#include <string.h>

namespace vael::VAEL_ISA {
namespace {

constexpr size_t R = fixed_tile;

/// Assignment of an integer times 2^-fraction to a format. Sums are kept modulo 2^64, in unsigned
/// arithmetic; loading has checked that no value that matters leaves 62 bits.
class Assign {
  int right_, left_, unused_;
  int64_t half_, low_, high_;
  double range_;
  bool rounds_, saturates_, is_signed_;

public:
  Assign(const FixedFormat &to, int fraction)
      : right_(fraction > to.fraction ? fraction - to.fraction : 0),
        left_(fraction < to.fraction ? to.fraction - fraction : 0), unused_(64 - to.width),
        half_(right_ > 0 ? (int64_t{1} << (right_ - 1)) - 1 : 0),
        low_(to.is_signed ? -(int64_t{1} << (to.width - 1)) : 0),
        high_((int64_t{1} << (to.width - (to.is_signed ? 1 : 0))) - 1),
        range_(ldexp(1.0, to.width)), rounds_(to.rounds && right_ > 0), saturates_(to.saturates),
        is_signed_(to.is_signed) {}

  int64_t operator()(int64_t value) const {
    const int64_t whole = (rounds_ ? rounded<true>(value) : value) >> right_;
    return fit(static_cast<int64_t>(static_cast<uint64_t>(whole) << left_));
  }

  /// sum [R], from `least` on, to a format of at most 32 bits.
  void values(const int64_t *sum, int64_t least, int32_t *y) const {
    // Where the format's bits lie within the sum they need no arithmetic shift of 64 bits, which
    // AVX2 does not have.
    if (64 - unused_ + right_ > 62 || (saturates_ && left_ > 0)) {
      for (size_t r = 0; r < R; ++r)
        y[r] = static_cast<int32_t>((*this)(sum[r] < least ? least : sum[r]));
    } else if (saturates_) {
      rounds_ ? saturated<true>(sum, least, y) : saturated<false>(sum, least, y);
    } else {
      rounds_ ? wrapped<true>(sum, least, y) : wrapped<false>(sum, least, y);
    }
  }

  /// An integral double of any size.
  int64_t fit_double(double value) const {
    if (saturates_)
      return value <= static_cast<double>(low_)    ? low_
             : value >= static_cast<double>(high_) ? high_
                                                   : static_cast<int64_t>(value);
    // In units of the whole range: an integer of at most 32 bits is left, so nothing is rounded.
    const double turns = value / range_;
    return fit(static_cast<int64_t>((turns - floor(turns)) * range_));
  }

private:
  /// With half less one, and one where the bit that stays last is set: a tie goes up if that bit is
  /// odd.
  template <bool rounds> int64_t rounded(int64_t value) const {
    return rounds
               ? value + half_ + (static_cast<int64_t>(static_cast<uint64_t>(value) >> right_) & 1)
               : value;
  }

  int64_t fit(int64_t value) const {
    if (saturates_)
      return value < low_ ? low_ : value > high_ ? high_ : value;
    const uint64_t top = static_cast<uint64_t>(value) << unused_;
    return is_signed_ ? static_cast<int64_t>(top) >> unused_ : static_cast<int64_t>(top >> unused_);
  }

  template <bool rounds> void wrapped(const int64_t *sum, int64_t least, int32_t *y) const {
    uint32_t low[R];
    for (size_t r = 0; r < R; ++r) {
      const int64_t value = rounded<rounds>(sum[r] < least ? least : sum[r]);
      low[r] = static_cast<uint32_t>(static_cast<uint64_t>(value) >> right_ << left_);
    }
    const int unused = unused_ - 32;
    if (is_signed_)
      for (size_t r = 0; r < R; ++r)
        y[r] = static_cast<int32_t>(low[r] << unused) >> unused;
    else
      for (size_t r = 0; r < R; ++r)
        y[r] = static_cast<int32_t>(low[r] << unused >> unused);
  }

  template <bool rounds> void saturated(const int64_t *sum, int64_t least, int32_t *y) const {
    const int64_t low = low_ << right_, high = ((high_ + 1) << right_) - 1;
    for (size_t r = 0; r < R; ++r) {
      int64_t value = rounded<rounds>(sum[r] < least ? least : sum[r]);
      value = value < low ? low : value > high ? high : value;
      y[r] = static_cast<int32_t>(static_cast<uint32_t>(static_cast<uint64_t>(value) >> right_));
    }
  }
};

// Eight lanes of a sum that stays in registers; plain loops over all rows keep it in memory.
typedef int32_t Narrow __attribute__((vector_size(32)));
typedef int32_t Unaligned __attribute__((vector_size(32), aligned(4), may_alias));

typedef int32_t Quarter __attribute__((vector_size(16)));
typedef int64_t Wide __attribute__((vector_size(32)));
typedef int64_t WideUnaligned __attribute__((vector_size(32), aligned(8), may_alias));

/// sum [R] = weight x, from products of `chunk` inputs that 32 bits hold together.
void add_products(const int32_t *x, const int32_t *weight, size_t n, size_t chunk, int64_t *sum) {
  static_assert(R == 16);
  const auto at = [x](size_t i) { return *reinterpret_cast<const Unaligned *>(x + i); };
  Wide total[4] = {};
  for (size_t k = 0; k < n;) {
    Narrow low = {}, high = {};
    for (const size_t end = n - k < chunk ? n : k + chunk; k < end; ++k) {
      low += at(k * R) * weight[k];
      high += at(k * R + 8) * weight[k];
    }
    // By way of memory: C++ has no word for one half of a vector.
    Quarter part[4];
    memcpy(part, &low, sizeof(low));
    memcpy(part + 2, &high, sizeof(high));
    for (int i = 0; i < 4; ++i)
      total[i] += __builtin_convertvector(part[i], Wide);
  }
  for (int i = 0; i < 4; ++i)
    *reinterpret_cast<WideUnaligned *>(sum + 4 * i) = total[i];
}

/// The same where 32 bits may not hold a product.
void add_products(const int32_t *x, const int32_t *weight, size_t n, int64_t *sum) {
  uint64_t products[R] = {};
  for (size_t k = 0; k < n; ++k)
    for (size_t r = 0; r < R; ++r)
      products[r] += static_cast<uint64_t>(int64_t{x[k * R + r]} * weight[k]);
  for (size_t r = 0; r < R; ++r)
    sum[r] = static_cast<int64_t>(products[r]);
}

/// sum [R] = bias + weight x, modulo 2^64, in the sum's fraction.
void sum_at_once(const FixedLayer &layer, const int32_t *x, size_t j, int64_t *sum) {
  const int left = layer.sum.format.fraction - layer.sum.product_fraction;
  const int32_t *weight = layer.weight + j * layer.inputs;
  const auto bias = static_cast<uint64_t>(layer.bias[j]);
  if (layer.sum.chunk)
    add_products(x, weight, layer.inputs, layer.sum.chunk, sum);
  else
    add_products(x, weight, layer.inputs, sum);
  for (size_t r = 0; r < R; ++r)
    sum[r] = static_cast<int64_t>((static_cast<uint64_t>(sum[r]) << left) + bias);
}

/// The same with an assignment after every addition.
void sum_in_steps(const FixedLayer &layer, const int32_t *x, size_t j, int64_t *sum) {
  const FixedFormat &format = layer.sum.format;
  const int common =
      format.fraction > layer.sum.product_fraction ? format.fraction : layer.sum.product_fraction;
  const int sum_left = common - format.fraction, left = common - layer.sum.product_fraction;
  const Assign assign(format, common);
  for (size_t r = 0; r < R; ++r)
    sum[r] = layer.bias[j];
  for (size_t k = 0; k < layer.inputs; ++k) {
    const int64_t weight = layer.weight[j * layer.inputs + k];
    for (size_t r = 0; r < R; ++r)
      sum[r] =
          assign(sum[r] * (int64_t{1} << sum_left) + x[k * R + r] * weight * (int64_t{1} << left));
  }
}

/// y [outputs][R] of x [inputs][R].
void dense(const FixedLayer &layer, const int32_t *x, int32_t *y) {
  const FixedFormat &format = layer.sum.format;
  const Assign whole(format, format.fraction), result(layer.result, format.fraction);
  const int64_t least = layer.relu ? 0 : INT64_MIN;
  for (size_t j = 0; j < layer.outputs; ++j) {
    int64_t sum[R];
    if (layer.sum.at_once)
      sum_at_once(layer, x, j, sum);
    else
      sum_in_steps(layer, x, j, sum);
    if (layer.sum.wraps)
      for (size_t r = 0; r < R; ++r)
        sum[r] = whole(sum[r]);
    result.values(sum, least, y + j * R);
  }
}

/// x [features][R] of n rows, zeros behind them; finite [R].
void load(const FixedNetwork &network, const float *rows, size_t n, int32_t *x, bool *finite) {
  const Assign assign(network.input, network.input.fraction);
  const double unit = ldexp(1.0, network.input.fraction);
  for (size_t r = 0; r < R; ++r)
    finite[r] = true;
  for (size_t k = 0; k < network.features; ++k)
    for (size_t r = 0; r < R; ++r) {
      const float row = r < n ? rows[r * network.features + k] : network.mean[k];
      const double scaled = double{(row - network.mean[k]) * network.inverse_scale[k]} * unit;
      finite[r] &= isfinite(row) && isfinite(scaled);
      const double whole = network.input.rounds ? rint(scaled) : floor(scaled);
      x[k * R + r] = finite[r] ? static_cast<int32_t>(assign.fit_double(whole)) : 0;
    }
}

/// sums [R] of squares of y - x, or of y where there is no x; y [n][R].
void sum_squares(const FixedNetwork &network, const int32_t *x, const int32_t *y, size_t n,
                 int64_t *sums) {
  const FixedFormat &format = network.score;
  const int common =
      format.fraction > network.square_fraction ? format.fraction : network.square_fraction;
  const int sum_left = common - format.fraction, left = common - network.square_fraction;
  const int x_left = network.x_shift, y_left = network.y_shift;
  const Assign assign(format, common);
  const bool every = !network.score_at_once;
  for (size_t r = 0; r < R; ++r)
    sums[r] = 0;
  for (size_t k = 0; k < n; ++k) {
    for (size_t r = 0; r < R; ++r) {
      const int64_t d =
          (int64_t{y[k * R + r]} << y_left) - (x ? int64_t{x[k * R + r]} << x_left : 0);
      const uint64_t square = static_cast<uint64_t>(d) * static_cast<uint64_t>(d);
      const uint64_t sum = static_cast<uint64_t>(sums[r]) << sum_left;
      sums[r] = static_cast<int64_t>(sum + (square << left));
    }
    if (every)
      for (size_t r = 0; r < R; ++r)
        sums[r] = assign(sums[r]);
  }
  if (!every)
    for (size_t r = 0; r < R; ++r)
      sums[r] = assign(sums[r]);
}

void run(const FixedNetwork &network, const float *rows, size_t n, int32_t *workspace,
         int32_t *values, double *scores) {
  const DefaultFloatMode mode;
  int32_t *x = workspace, *from = x, *into = x + R * network.features,
          *other = into + R * network.widest;
  const size_t outputs = network.layer[network.layers - 1].outputs;
  const double unit = ldexp(network.reconstruction ? 0.5 : 1.0, -network.score.fraction);
  for (size_t first = 0; first < n; first += R) {
    const size_t here = n - first < R ? n - first : R;
    bool finite[R];
    int64_t sums[R];
    load(network, rows + first * network.features, here, x, finite);
    from = x;
    for (size_t i = 0; i < network.layers; ++i) {
      int32_t *to = from == into ? other : into;
      dense(network.layer[i], from, to);
      from = to;
    }
    sum_squares(network, network.reconstruction ? x : nullptr, from, outputs, sums);
    for (size_t r = 0; r < here; ++r) {
      scores[first + r] = finite[r] ? static_cast<double>(sums[r]) * unit : NAN;
      for (size_t j = 0; j < outputs; ++j)
        values[(first + r) * outputs + j] = from[j * R + r];
    }
  }
}

} // namespace
} // namespace vael::VAEL_ISA

extern "C" const vael::FixedTable VAEL_ISA_NAME(vael_fixed_table);
extern "C" const vael::FixedTable VAEL_ISA_NAME(vael_fixed_table) = {vael::VAEL_ISA::run};
