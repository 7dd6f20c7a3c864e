// The fixed-point network of one instruction set: rows in the lanes, plain loops for the compiler.
#include "fixed/fixed.h"

#include "isa.h"
#include "simd/float_mode.h"
#include "simd/vec.h"

#include <math.h>

namespace vael::VAEL_ISA {
namespace {

constexpr size_t R = fixed_tile;

/// Assignment of an integer times 2^-fraction to a format. Sums are kept modulo 2^64, in unsigned
/// arithmetic; loading has checked that no value that matters leaves 62 bits.
class Assign {
  int right_, left_, unused_;
  int64_t half_, low_, high_;
  bool rounds_, saturates_, is_signed_;

public:
  Assign(const FixedFormat &to, int fraction)
      : right_(fraction > to.fraction ? fraction - to.fraction : 0),
        left_(fraction < to.fraction ? to.fraction - fraction : 0), unused_(64 - to.width),
        half_(right_ > 0 ? (int64_t{1} << (right_ - 1)) - 1 : 0),
        low_(to.is_signed ? -(int64_t{1} << (to.width - 1)) : 0),
        high_((int64_t{1} << (to.width - (to.is_signed ? 1 : 0))) - 1),
        rounds_(to.rounds && right_ > 0), saturates_(to.saturates), is_signed_(to.is_signed) {}

  int64_t operator()(int64_t value) const {
    // Half less one, and one where the bit that stays last is set: a tie goes up if that bit is
    // odd.
    const int64_t up = rounds_ ? half_ + ((value >> right_) & 1) : 0;
    return fit(static_cast<int64_t>(static_cast<uint64_t>((value + up) >> right_) << left_));
  }

  /// An integral double of any size.
  int64_t fit_double(double value) const {
    if (saturates_)
      return value <= static_cast<double>(low_)    ? low_
             : value >= static_cast<double>(high_) ? high_
                                                   : static_cast<int64_t>(value);
    // In units of the whole range: an integer of at most 32 bits is left, so nothing is rounded.
    const double range = ldexp(1.0, 64 - unused_);
    const double turns = value / range;
    return fit(static_cast<int64_t>((turns - floor(turns)) * range));
  }

private:
  int64_t fit(int64_t value) const {
    if (saturates_)
      return value < low_ ? low_ : value > high_ ? high_ : value;
    const uint64_t top = static_cast<uint64_t>(value) << unused_;
    return is_signed_ ? static_cast<int64_t>(top) >> unused_ : static_cast<int64_t>(top >> unused_);
  }
};

// Eight lanes of a sum that stays in registers; plain loops over all rows keep it in memory.
typedef uint32_t Narrow __attribute__((vector_size(32)));
typedef uint32_t Unaligned __attribute__((vector_size(32), aligned(4), may_alias));

void add_products(const int32_t *x, const int32_t *weight, size_t n, uint32_t *sum) {
  for (size_t r = 0; r < R; r += 8) {
    Narrow lanes = {};
    for (size_t k = 0; k < n; ++k)
      lanes +=
          *reinterpret_cast<const Unaligned *>(x + k * R + r) * static_cast<uint32_t>(weight[k]);
    *reinterpret_cast<Unaligned *>(sum + r) = lanes;
  }
}

void add_products(const int32_t *x, const int32_t *weight, size_t n, uint64_t *sum) {
  for (size_t k = 0; k < n; ++k)
    for (size_t r = 0; r < R; ++r)
      sum[r] += static_cast<uint64_t>(int64_t{x[k * R + r]} * weight[k]);
}

/// sum [R] = bias + weight x, modulo 2^64, in the sum's fraction.
void sum_at_once(const FixedLayer &layer, const int32_t *x, size_t j, int64_t *sum) {
  const int left = layer.sum.format.fraction - layer.sum.product_fraction;
  const int32_t *weight = layer.weight + j * layer.inputs;
  const auto bias = static_cast<uint64_t>(layer.bias[j]);
  if (layer.sum.narrow) {
    uint32_t products[R] = {};
    add_products(x, weight, layer.inputs, products);
    for (size_t r = 0; r < R; ++r) {
      const auto wide = static_cast<uint64_t>(int64_t{static_cast<int32_t>(products[r])});
      sum[r] = static_cast<int64_t>((wide << left) + bias);
    }
    return;
  }
  uint64_t products[R] = {};
  add_products(x, weight, layer.inputs, products);
  for (size_t r = 0; r < R; ++r)
    sum[r] = static_cast<int64_t>((products[r] << left) + bias);
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
  for (size_t j = 0; j < layer.outputs; ++j) {
    int64_t sum[R];
    if (layer.sum.at_once)
      sum_at_once(layer, x, j, sum);
    else
      sum_in_steps(layer, x, j, sum);
    for (size_t r = 0; r < R; ++r) {
      const int64_t value = whole(sum[r]);
      y[j * R + r] = static_cast<int32_t>(result(layer.relu && value < 0 ? 0 : value));
    }
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
  const int64_t sum_unit = int64_t{1} << (common - format.fraction);
  const int64_t unit = int64_t{1} << (common - network.square_fraction);
  const int64_t x_unit = int64_t{1} << network.x_shift, y_unit = int64_t{1} << network.y_shift;
  const Assign assign(format, common);
  for (size_t r = 0; r < R; ++r)
    sums[r] = 0;
  for (size_t k = 0; k < n; ++k)
    for (size_t r = 0; r < R; ++r) {
      const int64_t d = y[k * R + r] * y_unit - (x ? x[k * R + r] * x_unit : 0);
      sums[r] = assign(sums[r] * sum_unit + d * d * unit);
    }
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
