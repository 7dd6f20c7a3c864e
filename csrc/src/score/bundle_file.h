// A .vael file as bytes: a safetensors file whose checksum has been verified.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace vael {

struct Tensor {
  std::string dtype; // F32, U8, ...
  std::vector<int64_t> shape;
  const uint8_t *data;
};

/// Refers to the bytes it was made from.
class BundleFile {
public:
  /// Throws LoadError naming the cause: no bundle, truncated, checksum, newer format, bad tensor
  /// table.
  BundleFile(const uint8_t *bytes, size_t size);

  const nlohmann::json &metadata() const { return metadata_; }
  const std::string &metadata_text() const { return metadata_text_; }
  const std::string &checksum() const { return checksum_; }

  /// Throws LoadError if it is missing or has another dtype or shape; -1 in shape takes any extent.
  const Tensor &tensor(const std::string &name, const char *dtype,
                       const std::vector<int64_t> &shape) const;

private:
  void read_tensors(const nlohmann::json &header, const uint8_t *data, size_t size);

  nlohmann::json metadata_;
  std::string metadata_text_, checksum_;
  std::map<std::string, Tensor> tensors_;
};

} // namespace vael
