#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string>

namespace vael {

/// SHA-256 (FIPS 180-4). Own code, 60 lines, because a trigger should not need OpenSSL to load a
/// file.
class Sha256 {
public:
  void update(const void *bytes, size_t size);
  /// 64 lower-case hex digits; the object is spent afterwards.
  std::string hex();

private:
  void block(const uint8_t *bytes);

  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint8_t pending_[64];
  size_t pending_size_ = 0;
  uint64_t total_ = 0;
};

} // namespace vael
