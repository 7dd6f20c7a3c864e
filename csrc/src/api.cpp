// The C ABI: exceptions end here, and nothing else happens here.
#include "vaelocity/vaelocity.h"

#include "score/error.h"
#include "score/model.h"

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

struct vael_model {
  std::unique_ptr<vael::Model> model;
};

namespace {

void write_message(const char *text, char *message, size_t size) {
  if (message && size)
    std::snprintf(message, size, "%s", text);
}

/// Runs f, which may throw, and turns what it throws into a status and a message.
template <class F> vael_status guarded(char *message, size_t size, F f) noexcept {
  try {
    f();
    write_message("", message, size);
    return VAEL_OK;
  } catch (const vael::LoadError &error) {
    write_message(error.what(), message, size);
    return error.status;
  } catch (const std::bad_alloc &) {
    write_message("out of memory", message, size);
    return VAEL_ERROR_MEMORY;
  } catch (const std::exception &error) {
    write_message(error.what(), message, size);
    return VAEL_ERROR_BUNDLE;
  }
}

vael_load_options checked(const vael_load_options *options) {
  vael_load_options copy{sizeof(vael_load_options), VAEL_ABI_VERSION, 0, nullptr, nullptr, 0};
  if (!options)
    return copy;
  constexpr size_t first_size = offsetof(vael_load_options, fast);
  if (options->struct_size == first_size && options->abi_version == 1) {
    std::memcpy(&copy, options, first_size);
    return copy;
  }
  if (options->struct_size != sizeof(*options) || options->abi_version != VAEL_ABI_VERSION)
    vael::fail("options: struct_size " + std::to_string(options->struct_size) + ", abi_version " +
                   std::to_string(options->abi_version) + "; this library has " +
                   std::to_string(sizeof(*options)) + " and " + std::to_string(VAEL_ABI_VERSION),
               VAEL_ERROR_ARGUMENT);
  return *options;
}

/// Fast mode has an instruction set of its own.
void check_fast(const vael_load_options &options) {
  if (options.isa && *options.isa)
    vael::fail(std::string("fast: it chooses the instruction set itself, and \"") + options.isa +
                   "\" was asked for",
               VAEL_ERROR_ISA);
  if (const char *why = vael::why_not_fast())
    vael::fail(std::string("fast: ") + why, VAEL_ERROR_ISA);
}

vael_model *load(const uint8_t *bytes, size_t size, const vael_load_options &options) {
  vael::Isa isa;
  if (!vael::isa_select(options.isa, &isa)) {
    const char *name = options.isa && *options.isa ? options.isa : std::getenv("VAELOCITY_ISA");
    vael::fail(std::string("instruction set \"") + (name ? name : "") +
                   "\": unknown, or not on this machine",
               VAEL_ERROR_ISA);
  }
  if (options.fast)
    check_fast(options);
  const vael::BundleFile file(bytes, size);
  auto model = vael::build_model(file, options.kind ? options.kind : "", isa, options.fast);
  if (!options.skip_verify)
    vael::verify_model(*model);
  return new vael_model{std::move(model)};
}

std::vector<uint8_t> read_file(const char *path) {
  constexpr size_t piece = size_t{1} << 20;
  struct Close {
    void operator()(std::FILE *file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Close> file(std::fopen(path, "rb"));
  std::vector<uint8_t> bytes;
  for (size_t read = piece; file && read == piece;) {
    const size_t before = bytes.size();
    bytes.resize(before + piece);
    read = std::fread(bytes.data() + before, 1, piece, file.get());
    bytes.resize(before + read);
  }
  if (!file || std::ferror(file.get()))
    vael::fail(std::string("cannot read the file: ") + std::strerror(errno), VAEL_ERROR_FILE);
  return bytes;
}

vael_status score(const vael_model *model, const vael::Rows &rows, size_t n, void *workspace,
                  const vael::Results &results) noexcept {
  if (!model || !workspace || !results.scores || (!rows.rows && !rows.columns))
    return n == 0 && model ? VAEL_OK : VAEL_ERROR_ARGUMENT;
  if (results.features && model->model->plan.kind != vael::ScoreKind::reconstruction)
    return VAEL_ERROR_KIND;
  model->model->table->score(model->model->plan, rows, 0, n, static_cast<float *>(workspace),
                             results);
  return VAEL_OK;
}

vael_status decide(const vael_model *model, size_t threshold, const vael::Rows &rows, size_t n,
                   void *workspace, float *scores, uint8_t *flags, uint8_t *anomalous) noexcept {
  if (!model || (!anomalous && n))
    return VAEL_ERROR_ARGUMENT;
  if (threshold >= model->model->thresholds.size())
    return VAEL_ERROR_THRESHOLD;
  const float value = model->model->thresholds[threshold].value;
  return score(model, rows, n, workspace, {scores, flags, nullptr, anomalous, value});
}

} // namespace

const char *vael_version() { return VAELOCITY_VERSION; }

uint32_t vael_abi_version() { return VAEL_ABI_VERSION; }

const char *vael_status_message(vael_status status) {
  switch (status) {
  case VAEL_OK:
    return "no error";
  case VAEL_ERROR_ARGUMENT:
    return "bad argument";
  case VAEL_ERROR_FILE:
    return "the file cannot be read";
  case VAEL_ERROR_BUNDLE:
    return "not a valid bundle";
  case VAEL_ERROR_VERSION:
    return "the bundle was written by a newer version";
  case VAEL_ERROR_KIND:
    return "the bundle has no such score";
  case VAEL_ERROR_ISA:
    return "no such instruction set here";
  case VAEL_ERROR_CONFORMANCE:
    return "the bundle's own rows do not get the bundle's own scores";
  case VAEL_ERROR_MEMORY:
    return "out of memory";
  case VAEL_ERROR_THRESHOLD:
    return "the bundle has no such threshold for the score";
  }
  return "unknown status";
}

vael_status vael_load_memory(const void *bytes, size_t size, const vael_load_options *options,
                             vael_model **model, char *message, size_t message_size) {
  return guarded(message, message_size, [&] {
    if (!model || !bytes)
      vael::fail(model ? "bytes is null" : "model is null", VAEL_ERROR_ARGUMENT);
    *model = nullptr;
    *model = load(static_cast<const uint8_t *>(bytes), size, checked(options));
  });
}

vael_status vael_load_file(const char *path, const vael_load_options *options, vael_model **model,
                           char *message, size_t message_size) {
  return guarded(message, message_size, [&] {
    if (!model || !path)
      vael::fail(model ? "path is null" : "model is null", VAEL_ERROR_ARGUMENT);
    *model = nullptr;
    const std::vector<uint8_t> bytes = read_file(path);
    *model = load(bytes.data(), bytes.size(), checked(options));
  });
}

void vael_free(vael_model *model) { delete model; }

vael_status vael_inspect(const vael_model *model, vael_info *info) {
  if (!model || !info || info->struct_size != sizeof(*info))
    return VAEL_ERROR_ARGUMENT;
  const vael::Model &m = *model->model;
  *info = {sizeof(*info),
           static_cast<uint32_t>(m.plan.n_features),
           static_cast<uint32_t>(m.plan.latent),
           m.kind.c_str(),
           m.fast ? vael::fast_isa_name : vael::isa_name(m.isa),
           m.checksum.c_str(),
           m.metadata.c_str(),
           m.workspace_bytes()};
  return VAEL_OK;
}

size_t vael_workspace_size(const vael_model *model) {
  return model ? model->model->workspace_bytes() : 0;
}

vael_status vael_score_rows(const vael_model *model, const float *rows, ptrdiff_t row_stride,
                            size_t n, void *workspace, float *scores, uint8_t *flags) {
  return score(model, {rows, row_stride, nullptr, 0}, n, workspace, {scores, flags, nullptr});
}

vael_status vael_score_columns(const vael_model *model, const float *const *columns,
                               ptrdiff_t stride, size_t n, void *workspace, float *scores,
                               uint8_t *flags) {
  return score(model, {nullptr, 0, columns, stride}, n, workspace, {scores, flags, nullptr});
}

vael_status vael_score_features_rows(const vael_model *model, const float *rows,
                                     ptrdiff_t row_stride, size_t n, void *workspace, float *scores,
                                     uint8_t *flags, float *features) {
  return score(model, {rows, row_stride, nullptr, 0}, n, workspace, {scores, flags, features});
}

vael_status vael_score_features_columns(const vael_model *model, const float *const *columns,
                                        ptrdiff_t stride, size_t n, void *workspace, float *scores,
                                        uint8_t *flags, float *features) {
  return score(model, {nullptr, 0, columns, stride}, n, workspace, {scores, flags, features});
}

size_t vael_threshold_count(const vael_model *model) {
  return model ? model->model->thresholds.size() : 0;
}

vael_status vael_threshold_at(const vael_model *model, size_t index, vael_threshold *threshold) {
  if (!model || !threshold || threshold->struct_size != sizeof(*threshold))
    return VAEL_ERROR_ARGUMENT;
  if (index >= model->model->thresholds.size())
    return VAEL_ERROR_THRESHOLD;
  const vael::Threshold &stored = model->model->thresholds[index];
  *threshold = {sizeof(*threshold), stored.name.c_str(), stored.value};
  return VAEL_OK;
}

vael_status vael_decide_rows(const vael_model *model, size_t threshold, const float *rows,
                             ptrdiff_t row_stride, size_t n, void *workspace, float *scores,
                             uint8_t *flags, uint8_t *anomalous) {
  return decide(model, threshold, {rows, row_stride, nullptr, 0}, n, workspace, scores, flags,
                anomalous);
}

vael_status vael_decide_columns(const vael_model *model, size_t threshold,
                                const float *const *columns, ptrdiff_t stride, size_t n,
                                void *workspace, float *scores, uint8_t *flags,
                                uint8_t *anomalous) {
  return decide(model, threshold, {nullptr, 0, columns, stride}, n, workspace, scores, flags,
                anomalous);
}

vael_status vael_verify(const vael_model *model, char *message, size_t message_size) {
  return guarded(message, message_size, [&] {
    if (!model)
      vael::fail("model is null", VAEL_ERROR_ARGUMENT);
    vael::verify_model(*model->model);
  });
}
