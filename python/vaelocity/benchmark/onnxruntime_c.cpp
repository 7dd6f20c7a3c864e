// ONNX Runtime through its C API, one row a call, for peers/onnxruntime_c.py.
//
// The wheel of onnxruntime has the library and no header. Its table of functions keeps its order
// from release to release (entries are only ever added), so that the few that are needed here are
// named by their place in `OrtApi` of onnxruntime_c_api.h.
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include <dlfcn.h>

namespace {

enum Place {
  get_error_message = 2,
  create_env = 3,
  create_session_from_array = 8,
  run = 9,
  create_session_options = 10,
  set_optimization = 23,
  set_intra_threads = 24,
  set_inter_threads = 25,
  create_tensor = 49,
  create_cpu_memory = 69,
};

struct Base {
  void *const *(*api)(uint32_t version);
  const char *(*version)();
};

constexpr uint32_t api_version = 16;
constexpr int float_type = 1;
constexpr int all_optimizations = 99;
constexpr int error_level = 3;

void *const *api = nullptr;

/// Function `place` of the table, which returns null or a status.
template <class... Arguments> void *call(Place place, Arguments... arguments) {
  return reinterpret_cast<void *(*)(Arguments...)>(api[place])(arguments...);
}

struct Row {
  void *input;
  void *output;
};

struct Session {
  void *session;
  void *memory;
};

} // namespace

extern "C" {

/// A session of one thread over the ONNX model in model[bytes]; null, and the reason in why[n],
/// where it can't be had. It stays until the process ends.
void *open_session(const char *library, const void *model, size_t bytes, char *why, size_t n) {
  void *opened = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  void *found = opened ? dlsym(opened, "OrtGetApiBase") : nullptr;
  if (!found) {
    std::snprintf(why, n, "%s", dlerror());
    return nullptr;
  }
  api = reinterpret_cast<const Base *(*)()>(found)()->api(api_version);
  if (!api) {
    std::snprintf(why, n, "has no API of version %u", api_version);
    return nullptr;
  }
  void *environment = nullptr, *options = nullptr;
  Session *made = new Session{};
  void *status = call(create_env, error_level, "benchmark", &environment);
  status = status ? status : call(create_session_options, &options);
  status = status ? status : call(set_optimization, options, all_optimizations);
  status = status ? status : call(set_intra_threads, options, 1);
  status = status ? status : call(set_inter_threads, options, 1);
  status =
      status ? status
             : call(create_session_from_array, environment, model, bytes, options, &made->session);
  status = status ? status : call(create_cpu_memory, 0, 0, &made->memory);
  if (!status)
    return made;
  const auto message = reinterpret_cast<const char *(*)(const void *)>(api[get_error_message]);
  std::snprintf(why, n, "%s", message(status));
  return nullptr;
}

/// Tensors over row i and score i of memory that stays, for run_each; null where they can't be had.
void *bind_rows(const void *opened, float *rows, size_t n, size_t n_features, float *scores) {
  const auto *session = static_cast<const Session *>(opened);
  const int64_t shape[2] = {1, static_cast<int64_t>(n_features)}, one[1] = {1};
  Row *made = new Row[n];
  for (size_t i = 0; i < n; ++i) {
    const size_t bytes = n_features * sizeof(float);
    void *row = rows + i * n_features, *score = scores + i;
    if (call(create_tensor, session->memory, row, bytes, &shape[0], size_t{2}, float_type,
             &made[i].input) ||
        call(create_tensor, session->memory, score, sizeof(float), &one[0], size_t{1}, float_type,
             &made[i].output))
      return nullptr;
  }
  return made;
}

/// 0, or the number of the first row that could not be scored, from 1.
size_t run_each(const void *opened, void *bound, size_t n) {
  const auto *session = static_cast<const Session *>(opened);
  Row *rows = static_cast<Row *>(bound);
  const char *const inputs[1] = {"rows"}, *const outputs[1] = {"score"};
  const void *no_options = nullptr;
  for (size_t i = 0; i < n; ++i) {
    const void *const input[1] = {rows[i].input};
    if (call(run, session->session, no_options, &inputs[0], &input[0], size_t{1}, &outputs[0],
             size_t{1}, &rows[i].output))
      return i + 1;
  }
  return 0;
}
}
