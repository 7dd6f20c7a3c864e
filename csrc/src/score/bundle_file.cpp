#include "score/bundle_file.h"

#include "score/error.h"
#include "score/sha256.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace vael {
namespace {

using nlohmann::json;

constexpr int newest_format = 4;   // python/vaelocity/bundle.py tells what each has
constexpr size_t length_bytes = 8; // safetensors: the header's length, little endian
constexpr size_t checksum_digits = 64;
constexpr std::string_view checksum_mark = "\"checksum\":\"sha256:";
constexpr uint64_t largest_tensor = uint64_t{1} << 40;

uint64_t little_endian(const uint8_t *p) {
  uint64_t value = 0;
  for (size_t i = 0; i < length_bytes; ++i)
    value |= uint64_t{p[i]} << (8 * i);
  return value;
}

size_t item_size(const std::string &dtype) {
  static const std::map<std::string, size_t> sizes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"I16", 2}, {"U16", 2}, {"F16", 2}, {"BF16", 2},
      {"I32", 4},  {"U32", 4}, {"F32", 4}, {"I64", 8}, {"U64", 8}, {"F64", 8}};
  const auto found = sizes.find(dtype);
  return found == sizes.end() ? 0 : found->second;
}

std::string shape_text(const std::vector<int64_t> &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + (shape[i] < 0 ? std::string("any") : std::to_string(shape[i]));
  return text + "]";
}

/// Where the last tensor ends, as far as the header can be read; 0 if it cannot.
uint64_t promised_size(const json &header) {
  uint64_t end = 0;
  if (header.is_object())
    for (const auto &[name, entry] : header.items())
      if (name != "__metadata__" && entry.is_object() && entry.contains("data_offsets")) {
        const json &offsets = entry["data_offsets"];
        if (offsets.is_array() && offsets.size() == 2 && offsets[1].is_number_unsigned())
          end = std::max(end, offsets[1].get<uint64_t>());
      }
  return end;
}

/// Checks the digits at `digits` against all bytes with those digits read as zeros.
std::string verified_checksum(const uint8_t *bytes, size_t size, const uint8_t *digits) {
  const std::string zeros(checksum_digits, '0');
  Sha256 hash;
  hash.update(bytes, static_cast<size_t>(digits - bytes));
  hash.update(zeros.data(), zeros.size());
  const uint8_t *rest = digits + checksum_digits;
  hash.update(rest, static_cast<size_t>(bytes + size - rest));
  const std::string computed = hash.hex();
  if (std::memcmp(computed.data(), digits, checksum_digits) != 0)
    fail("checksum mismatch: the file was changed or damaged after it was written");
  return computed;
}

} // namespace

BundleFile::BundleFile(const uint8_t *bytes, size_t size) {
  if (size < length_bytes + 2)
    fail("not a .vael file: only " + std::to_string(size) + " bytes");
  const uint64_t header_size = little_endian(bytes);
  const uint8_t *header_begin = bytes + length_bytes;
  if (*header_begin != '{')
    fail("not a .vael file: it does not begin like a safetensors file");
  if (header_size > size - length_bytes)
    fail("truncated: the header alone promises " + std::to_string(header_size) +
         " bytes, the file has " + std::to_string(size));

  const uint8_t *header_end = header_begin + header_size;
  const uint8_t *data = header_end;
  const size_t data_size = static_cast<size_t>(bytes + size - data);
  const json header = json::parse(header_begin, header_end, nullptr, false);
  if (const uint64_t promised = promised_size(header); promised > data_size)
    fail("truncated: " + std::to_string(promised) + " bytes of tensors promised, " +
         std::to_string(data_size) + " present");
  const uint8_t *mark =
      std::search(header_begin, header_end, checksum_mark.begin(), checksum_mark.end());
  const uint8_t *digits = mark + std::min<size_t>(checksum_mark.size(), header_end - mark);
  if (static_cast<size_t>(header_end - digits) < checksum_digits)
    fail("not a .vael file: no checksum in its header");
  checksum_ = verified_checksum(bytes, size, digits);

  if (!header.is_object() || !header.contains("__metadata__") ||
      !header["__metadata__"].contains("vaelocity") ||
      !header["__metadata__"]["vaelocity"].is_string())
    fail("not a .vael file: a safetensors file without vaelocity's metadata");
  metadata_text_ = header["__metadata__"]["vaelocity"].get<std::string>();
  metadata_ = json::parse(metadata_text_, nullptr, false);
  if (!metadata_.is_object() || !metadata_.contains("format") ||
      !metadata_["format"].is_number_integer())
    fail("metadata: not a JSON object with an integer \"format\"");
  const json &format = metadata_["format"];
  if (format.is_number_unsigned() ? format.get<uint64_t>() > uint64_t{newest_format}
                                  : format.get<int64_t>() > newest_format)
    fail("written in format " + format.dump() + ", this vaelocity reads up to format " +
             std::to_string(newest_format) + ": upgrade vaelocity",
         VAEL_ERROR_VERSION);
  read_tensors(header, data, data_size);
}

void BundleFile::read_tensors(const json &header, const uint8_t *data, size_t size) {
  for (const auto &[name, entry] : header.items()) {
    if (name == "__metadata__")
      continue;
    const std::string what = "tensor " + name + ": ";
    try {
      Tensor tensor{entry.at("dtype").get<std::string>(),
                    entry.at("shape").get<std::vector<int64_t>>(), nullptr};
      const auto begin = entry.at("data_offsets").at(0).get<uint64_t>();
      const auto end = entry.at("data_offsets").at(1).get<uint64_t>();
      uint64_t bytes = item_size(tensor.dtype);
      if (!bytes)
        fail(what + "unknown dtype " + tensor.dtype);
      for (const int64_t extent : tensor.shape) {
        if (extent < 0 || (extent && bytes > largest_tensor / static_cast<uint64_t>(extent)))
          fail(what + "impossible shape " + shape_text(tensor.shape));
        bytes *= static_cast<uint64_t>(extent);
      }
      if (begin > end || end > size || end - begin != bytes)
        fail(what + "shape " + shape_text(tensor.shape) + " does not fit its bytes");
      tensor.data = data + begin;
      tensors_.emplace(name, tensor);
    } catch (const json::exception &) {
      fail(what + "entry without dtype, shape and data_offsets");
    }
  }
}

const Tensor &BundleFile::tensor(const std::string &name, const char *dtype,
                                 const std::vector<int64_t> &shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    fail("tensor " + name + " is missing");
  const Tensor &tensor = found->second;
  bool same = tensor.shape.size() == shape.size();
  for (size_t i = 0; same && i < shape.size(); ++i)
    same = shape[i] < 0 || shape[i] == tensor.shape[i];
  if (tensor.dtype != dtype || !same)
    fail("tensor " + name + ": got " + tensor.dtype + shape_text(tensor.shape) + ", expected " +
         dtype + shape_text(shape));
  return tensor;
}

} // namespace vael
