// Rows of any dtype as chunks of float32, and the loops over a chunk.
//
// A float32 row is used where it lies; a half-precision one goes through a small buffer in L1. So
// an op is written once, over float32 chunks, for every mixture of dtypes. Nothing beyond a row is
// read or written.
#pragma once

#include "ops/matrix.h"
#include "simd/vec.h"

#include <float.h>
#include <string.h>

namespace vael::VAEL_ISA {

/// Elements taken from a row at once: a multiple of partial_sums.
constexpr int chunk_size = 256;

inline int chunk_length(size_t columns, size_t j) {
  return columns - j < chunk_size ? static_cast<int>(columns - j) : chunk_size;
}

/// All lanes of a vector take part.
struct AllLanes {
  Vec load(const float *p) const { return vael::VAEL_ISA::load(p); }
  void store(float *p, Vec a) const { vael::VAEL_ISA::store(p, a); }
  Mask load_mask(const uint8_t *p) const { return vael::VAEL_ISA::load_mask(p); }
  void store_bytes(uint8_t *p, IVec a) const { vael::VAEL_ISA::store_bytes(p, a); }
  /// `a` where the lane takes part, else `b`.
  Vec keep(Vec a, Vec) const { return a; }
};
/// Only the first `count` lanes do: the end of a row.
struct FirstLanes {
  int count;
  Vec load(const float *p) const { return load_first(p, count); }
  void store(float *p, Vec a) const { store_first(p, a, count); }
  Mask load_mask(const uint8_t *p) const {
    uint8_t bytes[Vec::lanes] = {};
    memcpy(bytes, p, static_cast<size_t>(count));
    return vael::VAEL_ISA::load_mask(bytes);
  }
  void store_bytes(uint8_t *p, IVec a) const {
    uint8_t bytes[Vec::lanes];
    vael::VAEL_ISA::store_bytes(bytes, a);
    memcpy(p, bytes, static_cast<size_t>(count));
  }
  Vec keep(Vec a, Vec b) const { return select(first_mask(count), a, b); }
};

/// f(lanes, i) for the vectors of elements 0 .. n - 1.
template <class F> inline void each_vector(int n, F f) {
  int i = 0;
  for (; i + Vec::lanes <= n; i += Vec::lanes)
    f(AllLanes{}, i);
  if (i < n)
    f(FirstLanes{n - i}, i);
}

inline void load_halves(const uint16_t *from, DType dtype, int n, float *to) {
  const auto convert = [&](auto load_half) {
    int i = 0;
    for (; i + Vec::lanes <= n; i += Vec::lanes)
      store(to + i, load_half(from + i));
    if (i < n) {
      uint16_t last[Vec::lanes] = {};
      memcpy(last, from + i, static_cast<size_t>(n - i) * sizeof(uint16_t));
      store_first(to + i, load_half(last), n - i);
    }
  };
  if (dtype == DType::bfloat16)
    convert([](const uint16_t *p) { return load_bfloat16(p); });
  else
    convert([](const uint16_t *p) { return load_float16(p); });
}

inline void store_halves(const float *from, DType dtype, int n, uint16_t *to) {
  const auto convert = [&](auto store_half) {
    int i = 0;
    for (; i + Vec::lanes <= n; i += Vec::lanes)
      store_half(to + i, load(from + i));
    if (i < n) {
      uint16_t last[Vec::lanes];
      store_half(last, load_first(from + i, n - i));
      memcpy(to + i, last, static_cast<size_t>(n - i) * sizeof(uint16_t));
    }
  };
  if (dtype == DType::bfloat16)
    convert([](uint16_t *p, Vec a) { store_bfloat16(p, a); });
  else
    convert([](uint16_t *p, Vec a) { store_float16(p, a); });
}

/// Elements to work on at once: whole rows if they are short, so that no vector is mostly empty, or
/// part of a single row. n = rows * columns, or n of the row's elements from `column` on.
struct Tile {
  size_t row, rows, column;
  int n;
  int row_length() const { return n / static_cast<int>(rows); }
};

/// f(tile) for all tiles of a span, in ascending order.
template <class F> inline void each_tile(Span rows, size_t columns, F f) {
  const size_t at_once = columns && columns < chunk_size ? chunk_size / columns : 1;
  for (size_t row = rows.begin; row < rows.end; row += at_once) {
    if (columns > chunk_size) {
      for (size_t j = 0; j < columns; j += chunk_size)
        f(Tile{row, 1, j, chunk_length(columns, j)});
      continue;
    }
    const size_t n = rows.end - row < at_once ? rows.end - row : at_once;
    f(Tile{row, n, 0, static_cast<int>(n * columns)});
  }
}

class RowReader {
public:
  explicit RowReader(const Input &matrix) : matrix_(matrix) {}

  /// Elements column .. column + n - 1 of a row, n <= chunk_size; valid until the next call.
  const float *read(size_t row, size_t column, int n) {
    const ptrdiff_t at =
        static_cast<ptrdiff_t>(row) * matrix_.row_stride + static_cast<ptrdiff_t>(column);
    if (matrix_.dtype == DType::float32)
      return static_cast<const float *>(matrix_.data) + at;
    load_halves(static_cast<const uint16_t *>(matrix_.data) + at, matrix_.dtype, n, buffer_);
    return buffer_;
  }

  /// The elements of a tile, valid until the next call.
  const float *read(const Tile &tile) {
    const int length = tile.row_length();
    if (tile.rows == 1 || matrix_.row_stride == length)
      return read(tile.row, tile.column, tile.n);
    for (size_t r = 0; r < tile.rows; ++r)
      copy(tile.row + r, length, buffer_ + static_cast<int>(r) * length);
    return buffer_;
  }

  /// No NaN and no inf among a row's elements.
  bool finite(size_t row, size_t columns) {
    Vec bad = zero();
    for (size_t j = 0; j < columns; j += chunk_size) {
      const int n = chunk_length(columns, j);
      const float *a = read(row, j, n);
      each_vector(n, [&](auto lanes, int i) { bad = fma(lanes.load(a + i), zero(), bad); });
    }
    return all_zero(bad);
  }

private:
  void copy(size_t row, int n, float *to) const {
    const ptrdiff_t at = static_cast<ptrdiff_t>(row) * matrix_.row_stride;
    if (matrix_.dtype == DType::float32)
      memcpy(to, static_cast<const float *>(matrix_.data) + at,
             static_cast<size_t>(n) * sizeof(float));
    else
      load_halves(static_cast<const uint16_t *>(matrix_.data) + at, matrix_.dtype, n, to);
  }

  Input matrix_;
  alignas(64) float buffer_[chunk_size];
};

class RowWriter {
public:
  explicit RowWriter(const Output &matrix) : matrix_(matrix) {}

  /// Where elements column, column + 1, ... of a row are to be stored, before done() is called.
  float *write(size_t row, size_t column) {
    return matrix_.dtype == DType::float32 ? static_cast<float *>(matrix_.data) + at(row, column)
                                           : buffer_;
  }
  void done(size_t row, size_t column, int n) {
    if (matrix_.dtype != DType::float32)
      store_halves(buffer_, matrix_.dtype, n,
                   static_cast<uint16_t *>(matrix_.data) + at(row, column));
  }

  /// The same for a tile.
  float *write(const Tile &tile) {
    return tile.rows == 1 || matrix_.row_stride == tile.row_length() ? write(tile.row, tile.column)
                                                                     : buffer_;
  }
  void done(const Tile &tile) {
    const int length = tile.row_length();
    if (tile.rows == 1 || matrix_.row_stride == length)
      return done(tile.row, tile.column, tile.n);
    for (size_t r = 0; r < tile.rows; ++r)
      copy(buffer_ + static_cast<int>(r) * length, tile.row + r, length);
  }

private:
  void copy(const float *from, size_t row, int n) {
    if (matrix_.dtype == DType::float32)
      memcpy(static_cast<float *>(matrix_.data) + at(row, 0), from,
             static_cast<size_t>(n) * sizeof(float));
    else
      store_halves(from, matrix_.dtype, n, static_cast<uint16_t *>(matrix_.data) + at(row, 0));
  }

  ptrdiff_t at(size_t row, size_t column) const {
    return static_cast<ptrdiff_t>(row) * matrix_.row_stride + static_cast<ptrdiff_t>(column);
  }
  Output matrix_;
  alignas(64) float buffer_[chunk_size];
};

} // namespace vael::VAEL_ISA
