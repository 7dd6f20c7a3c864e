// A thin C++ header over vaelocity.h: ownership and exceptions at load time, nothing while scoring.
// C++17.
#pragma once

#include "vaelocity/vaelocity.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace vaelocity {

/// Why a model could not be loaded or verified.
class Error : public std::runtime_error {
public:
  Error(vael_status status, const std::string &message)
      : std::runtime_error(message), status_(status) {}
  vael_status status() const noexcept { return status_; }

private:
  vael_status status_;
};

struct LoadOptions {
  std::string kind; ///< empty: the bundle's own
  std::string isa;  ///< empty: VAELOCITY_ISA, else the best
  bool verify = true;
  bool fast = false; ///< dot products of bfloat16: other scores, see vaelocity.h
};

/// A loaded model: immutable, shared by any number of threads, each with its own workspace.
class Model {
public:
  static Model load(const std::string &path, const LoadOptions &options = {}) {
    return with(options, [&](const vael_load_options *o, vael_model **m, char *why, size_t size) {
      return vael_load_file(path.c_str(), o, m, why, size);
    });
  }
  static Model load(const void *bytes, size_t count, const LoadOptions &options = {}) {
    return with(options, [&](const vael_load_options *o, vael_model **m, char *why, size_t size) {
      return vael_load_memory(bytes, count, o, m, why, size);
    });
  }

  vael_info info() const noexcept {
    vael_info info{};
    info.struct_size = sizeof(info);
    vael_inspect(get(), &info);
    return info;
  }
  /// The bundle's thresholds for this score; their places are what vael_decide_rows() takes.
  std::vector<vael_threshold> thresholds() const {
    std::vector<vael_threshold> all(vael_threshold_count(get()));
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i].struct_size = sizeof(all[i]);
      vael_threshold_at(get(), i, &all[i]);
    }
    return all;
  }
  const vael_model *get() const noexcept { return model_.get(); }

  void verify() const {
    char why[message_size] = "";
    if (const vael_status status = vael_verify(get(), why, sizeof(why)); status != VAEL_OK)
      throw Error(status, why);
  }

private:
  struct Free {
    void operator()(vael_model *model) const noexcept { vael_free(model); }
  };
  static constexpr size_t message_size = 512;

  explicit Model(vael_model *model) : model_(model) {}

  template <class Load> static Model with(const LoadOptions &options, Load load) {
    vael_load_options o{};
    o.struct_size = sizeof(o);
    o.abi_version = VAEL_ABI_VERSION;
    o.skip_verify = options.verify ? 0 : 1;
    o.kind = options.kind.empty() ? nullptr : options.kind.c_str();
    o.isa = options.isa.empty() ? nullptr : options.isa.c_str();
    o.fast = options.fast ? 1 : 0;
    char why[message_size] = "";
    vael_model *model = nullptr;
    if (const vael_status status = load(&o, &model, why, sizeof(why)); status != VAEL_OK)
      throw Error(status, why);
    return Model(model);
  }

  std::unique_ptr<vael_model, Free> model_;
};

} // namespace vaelocity
