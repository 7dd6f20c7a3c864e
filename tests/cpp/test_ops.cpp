// The ops over buffers of exactly the size they may touch (a sanitizer sees one byte more), in
// every mixture of dtypes, and the same bits on every instruction set that runs here.
#include "isa.h"
#include "ops/corrupt.h"
#include "ops/denoising_loss.h"
#include "ops/diffuse.h"
#include "ops/elbo.h"
#include "ops/gaussian_kl.h"
#include "ops/philox_normal.h"
#include "ops/reconstruction_loss.h"
#include "ops/reparameterize.h"
#include "ops/reparameterize_kl.h"
#include "ops/sparsity.h"

#include <cinttypes>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

VAEL_DECLARE_TABLES(vael::CorruptTable, vael_corrupt_table);
VAEL_DECLARE_TABLES(vael::DenoisingLossTable, vael_denoising_loss_table);
VAEL_DECLARE_TABLES(vael::DiffuseTable, vael_diffuse_table);
VAEL_DECLARE_TABLES(vael::ElboTable, vael_elbo_table);
VAEL_DECLARE_TABLES(vael::GaussianKlTable, vael_gaussian_kl_table);
VAEL_DECLARE_TABLES(vael::PhiloxNormalTable, vael_philox_normal_table);
VAEL_DECLARE_TABLES(vael::ReconstructionLossTable, vael_reconstruction_loss_table);
VAEL_DECLARE_TABLES(vael::ReparameterizeKlTable, vael_reparameterize_kl_table);
VAEL_DECLARE_TABLES(vael::ReparameterizeTable, vael_reparameterize_table);
VAEL_DECLARE_TABLES(vael::SparsityTable, vael_sparsity_table);

using namespace vael;

namespace {

constexpr size_t size_of(DType dtype) { return dtype == DType::float32 ? 4 : 2; }

/// Owns what a run touches; every block is allocated to the byte.
class Memory {
public:
  char *block(size_t bytes) {
    blocks_.push_back({std::make_unique<char[]>(bytes), bytes});
    return blocks_.back().data.get();
  }

  /// Values in [-2, 2), exact in every dtype.
  Input input(size_t rows, size_t columns, DType dtype) {
    char *data = block(rows * columns * size_of(dtype));
    for (size_t i = 0; i < rows * columns; ++i) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      const float value = static_cast<float>(static_cast<int>(state_ >> 58) - 32) / 16.0f;
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof(bits));
      const uint16_t bfloat16 = static_cast<uint16_t>(bits >> 16);
      const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
      const uint16_t float16 =
          static_cast<uint16_t>(sign | (magnitude ? (magnitude - 0x38000000) >> 13 : 0));
      if (dtype == DType::float32)
        std::memcpy(data + 4 * i, &value, 4);
      else
        std::memcpy(data + 2 * i, dtype == DType::bfloat16 ? &bfloat16 : &float16, 2);
    }
    return {data, static_cast<ptrdiff_t>(columns), dtype};
  }
  Output output(size_t rows, size_t columns, DType dtype) {
    return {block(rows * columns * size_of(dtype)), static_cast<ptrdiff_t>(columns), dtype};
  }
  float *floats(size_t n) { return reinterpret_cast<float *>(block(4 * n)); }
  PerRow per_row(size_t rows) {
    return {static_cast<const float *>(input(rows, 1, DType::float32).data), 1};
  }

  std::vector<char> bytes() const {
    std::vector<char> all;
    for (const Block &b : blocks_)
      all.insert(all.end(), b.data.get(), b.data.get() + b.size);
    return all;
  }

private:
  struct Block {
    std::unique_ptr<char[]> data;
    size_t size;
  };
  std::vector<Block> blocks_;
  uint64_t state_ = 1;
};

struct Case {
  size_t rows, columns;
  DType a, b; // of every other argument
};

constexpr Draw draw{0x123456789abcdef0u, 0xfffffffdu};

ReconstructionLoss loss_arguments(const Case &c, LossKind kind, bool featured, Memory &m) {
  const size_t width = kind == LossKind::gaussian_nll ? 2 * c.columns : c.columns;
  ReconstructionLoss op{m.input(c.rows, c.columns, c.a),
                        m.input(c.rows, width, c.b),
                        c.columns,
                        kind,
                        0.75f,
                        {},
                        nullptr,
                        m.floats(c.rows)};
  if (featured) {
    char *mask = m.block(c.columns); // one row for all
    for (size_t j = 0; j < c.columns; ++j)
      mask[j] = j % 3 != 1;
    op.mask = {reinterpret_cast<uint8_t *>(mask), 0};
    op.weight = static_cast<const float *>(m.input(1, c.columns, DType::float32).data);
  }
  return op;
}

void run_losses(const Case &c, Isa isa, Memory &m) {
  const Span all{0, c.rows};
  constexpr size_t latent = 5;
  for (int kind = 0; kind < 5; ++kind)
    for (const bool featured : {false, true}) {
      const auto loss = loss_arguments(c, static_cast<LossKind>(kind), featured, m);
      const size_t width = static_cast<size_t>(loss.y.row_stride);
      const Input mu = m.input(c.rows, latent, c.b), logvar = m.input(c.rows, latent, c.a);
      const auto &table = VAEL_TABLE(vael_reconstruction_loss_table, isa);
      table.forward(loss, all);
      table.backward({m.per_row(c.rows), {}, loss, m.output(c.rows, width, c.b)}, all);
      const auto &elbo = VAEL_TABLE(vael_elbo_table, isa);
      elbo.forward({loss, {mu, logvar, latent, m.floats(c.rows)}, 0.5f, m.floats(c.rows)}, all);
      const PerRow of_total = m.per_row(c.rows);
      elbo.backward({{m.per_row(c.rows), of_total, loss, m.output(c.rows, width, c.b)},
                     {m.per_row(c.rows), of_total, 0.5f, mu, logvar, latent,
                      m.output(c.rows, latent, c.b), m.output(c.rows, latent, c.a)}},
                    all);
    }
}

void run_latent(const Case &c, Isa isa, Memory &m) {
  const Span all{0, c.rows};
  const size_t d = c.columns;
  const Input mu = m.input(c.rows, d, c.a), logvar = m.input(c.rows, d, c.b);
  const Input grad = m.input(c.rows, d, c.a);
  const auto out = [&](DType dtype) { return m.output(c.rows, d, dtype); };
  const auto &kl = VAEL_TABLE(vael_gaussian_kl_table, isa);
  kl.forward({mu, logvar, d, m.floats(c.rows)}, all);
  kl.backward({m.per_row(c.rows), {}, 0.0f, mu, logvar, d, out(c.a), out(c.b)}, all);
  const auto &z = VAEL_TABLE(vael_reparameterize_table, isa);
  z.forward({mu, logvar, draw, d, out(c.a)}, all);
  z.backward({grad, logvar, draw, d, out(c.b)}, all);
  const auto &both = VAEL_TABLE(vael_reparameterize_kl_table, isa);
  both.forward({mu, logvar, draw, d, out(c.a), m.floats(c.rows)}, all);
  both.backward({grad, m.per_row(c.rows), mu, logvar, draw, d, out(c.a), out(c.b)}, all);
  const auto &sparsity = VAEL_TABLE(vael_sparsity_table, isa);
  sparsity.forward({mu, d, m.floats(c.rows)}, all);
  sparsity.backward({m.per_row(c.rows), mu, d, out(c.a)}, all);
}

void run_noise(const Case &c, Isa isa, Memory &m) {
  const Span all{0, c.rows};
  const size_t d = c.columns, n = c.rows * d;
  const Input x = m.input(c.rows, d, c.a);
  const auto out = [&](DType dtype) { return m.output(c.rows, d, dtype); };
  const auto &normal = VAEL_TABLE(vael_philox_normal_table, isa);
  normal.forward({draw, m.block(n * size_of(c.a)), c.a}, {0, n});
  const Dropping dropping{draw, c.rows, d, uint64_t{1} << 30};
  uint8_t *kept = reinterpret_cast<uint8_t *>(m.block(n));
  const auto &corrupt = VAEL_TABLE(vael_corrupt_table, isa);
  corrupt.forward({x, dropping, 0.25f, out(c.b), kept}, all);
  corrupt.backward({x, dropping, out(c.b)}, all);
  float *alpha_bar = m.floats(2);
  alpha_bar[0] = 0.75f;
  alpha_bar[1] = 0.25f;
  int64_t *t = reinterpret_cast<int64_t *>(m.block(8 * c.rows));
  for (size_t row = 0; row < c.rows; ++row)
    t[row] = static_cast<int64_t>(row % 2);
  const auto &diffuse = VAEL_TABLE(vael_diffuse_table, isa);
  diffuse.forward({x, {t, 1, alpha_bar}, draw, d, out(c.b)}, all);
  diffuse.backward({x, {t, 1, alpha_bar}, d, out(c.b)}, all);
  const auto &denoising = VAEL_TABLE(vael_denoising_loss_table, isa);
  denoising.forward({x, draw, d, m.floats(c.rows)}, all);
  denoising.backward({m.per_row(c.rows), x, draw, d, out(c.a)}, all);
}

std::vector<char> bits(const Case &c, Isa isa) {
  Memory memory;
  run_losses(c, isa, memory);
  run_latent(c, isa, memory);
  run_noise(c, isa, memory);
  return memory.bytes();
}

} // namespace

int main() {
  int failures = 0;
  uint64_t hash = 1469598103934665603u; // FNV-1a: other machines must print the same
  const DType dtypes[] = {DType::float32, DType::bfloat16, DType::float16};
  for (const size_t columns : {1u, 3u, 16u, 17u, 59u, 257u, 600u})
    for (const DType a : dtypes)
      for (const DType b : dtypes) {
        const Case c{3, columns, a, b};
        const std::vector<char> expected = bits(c, Isa::generic);
        for (const char byte : expected)
          hash = (hash ^ static_cast<uint8_t>(byte)) * 1099511628211u;
        for (int i = 1; i < isa_count; ++i)
          if (const Isa isa = static_cast<Isa>(i); isa_available(isa) && bits(c, isa) != expected) {
            std::printf("%s differs: columns %zu, dtypes %d %d\n", isa_name(isa), columns,
                        static_cast<int>(a), static_cast<int>(b));
            ++failures;
          }
      }
  std::printf("%d failures, hash %016" PRIx64 "\n", failures, hash);
  return failures != 0;
}
