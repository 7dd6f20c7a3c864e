// replay FILE...: the fuzzer's target over files that are there, and over mutations of each that
// are the same every time: cut, bytes flipped, digits of the JSON exchanged.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

constexpr size_t largest_to_mutate = 8192;
size_t runs = 0;

void feed(const Bytes &bytes) {
  // Exactly their size on the heap, so that the address sanitizer sees a read beyond them.
  const Bytes exact(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  ++runs;
}

uint32_t next(uint32_t &state) { // xorshift32
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

void mutate(const Bytes &original) {
  constexpr int mutations = 400;
  constexpr size_t length_bytes = 8;
  size_t header = 0;
  for (size_t i = 0; i < length_bytes && i < original.size(); ++i)
    header |= size_t{original[i]} << (8 * i);
  const size_t text = header < original.size() ? header + length_bytes : original.size();
  uint32_t state = 2463534242u;
  for (int i = 0; i < mutations; ++i) {
    Bytes bytes = original;
    const uint32_t how = next(state) % 4;
    for (uint32_t n = 1 + next(state) % 3; n && !bytes.empty(); --n) {
      uint8_t &byte = bytes[next(state) % (how == 3 ? bytes.size() : text)];
      if (how == 0)
        byte = static_cast<uint8_t>(next(state));
      else if (how == 1 && byte >= '0' && byte <= '9')
        byte = static_cast<uint8_t>("0123456789-.e"[next(state) % 13]);
      else if (how == 1)
        byte = static_cast<uint8_t>("[]{}\",:0n"[next(state) % 9]);
      else if (how == 2)
        byte ^= static_cast<uint8_t>(1u << next(state) % 8);
      else
        bytes.resize(next(state) % bytes.size());
    }
    feed(bytes);
  }
}

} // namespace

int main(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) {
    std::ifstream stream(argv[i], std::ios::binary);
    const Bytes bytes{std::istreambuf_iterator<char>(stream), {}};
    feed(bytes);
    if (bytes.size() > 8 && bytes.size() < largest_to_mutate)
      mutate(bytes);
  }
  std::printf("%zu inputs\n", runs);
  return argc > 1 ? 0 : 1;
}
