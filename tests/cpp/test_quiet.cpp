// test_quiet BUNDLE...: scoring does nothing but score, for each instruction set of this machine.
//
//   no allocation       the C library's allocator is interposed and counts, first call included
//   no system call      a child process in seccomp's strict mode would be killed at the first one
//   no exception trap   with every floating-point trap armed, on any input
//   no exception flag   invalid, division by zero, overflow: none for finite ordinary rows; lanes
//   of
//                       an image's steps that no row uses may raise some after extreme rows
//   no mode left behind rounding, flushing and traps are as the caller had them, and do not matter
#include "isa.h"
#include "vaelocity/vaelocity.hpp"

#include <cerrno>
#include <cfenv>
#include <cfloat>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNT_ALLOCATIONS 1
static size_t allocations = 0;
extern "C" {
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);
void *malloc(size_t size) { return ++allocations, __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return ++allocations, __libc_calloc(n, size); }
void *realloc(void *p, size_t size) { return ++allocations, __libc_realloc(p, size); }
void *memalign(size_t to, size_t size) { return ++allocations, __libc_memalign(to, size); }
void *aligned_alloc(size_t to, size_t size) { return ++allocations, __libc_memalign(to, size); }
int posix_memalign(void **p, size_t to, size_t size) {
  *p = (++allocations, __libc_memalign(to, size));
  return *p ? 0 : ENOMEM;
}
void free(void *p) {
  allocations += p != nullptr;
  __libc_free(p);
}
}
#else
#define COUNT_ALLOCATIONS 0
static size_t allocations = 0;
#endif

namespace {

int failures = 0;

void expect(bool good, const std::string &what) {
  if (!good && ++failures <= 20)
    std::printf("FAILED: %s\n", what.c_str());
}

constexpr size_t n_rows = 97;
constexpr int errors = FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW;

/// A model with everything a caller owns, made before the silence begins.
struct Caller {
  explicit Caller(const vaelocity::Model &m)
      : model(m.get()), d(m.info().n_features), rows(n_rows * d), scores(n_rows),
        features(n_rows * d), flags(n_rows), anomalous(n_rows),
        workspace(m.info().workspace_bytes / sizeof(float)),
        reconstruction(!std::strcmp(m.info().kind, "reconstruction")),
        thresholds(m.thresholds().size()) {
    for (size_t i = 0; i < rows.size(); ++i)
      rows[i] = static_cast<float>(static_cast<int>(static_cast<uint32_t>(i) * 2654435761u >> 20) -
                                   2048) /
                1024;
    for (size_t j = 0; j < d; ++j)
      columns.push_back(&rows[j]);
  }

  /// Every way to score, one row and many.
  void call_all() {
    const auto stride = static_cast<ptrdiff_t>(d);
    for (const size_t n : {size_t{1}, size_t{3}, n_rows}) {
      vael_score_columns(model, columns.data(), stride, n, workspace.data(), scores.data(),
                         flags.data());
      if (reconstruction)
        vael_score_features_rows(model, rows.data(), stride, n, workspace.data(), scores.data(),
                                 flags.data(), features.data());
      if (thresholds)
        vael_decide_rows(model, 0, rows.data(), stride, n, workspace.data(), scores.data(),
                         flags.data(), anomalous.data());
      vael_score_rows(model, rows.data(), stride, n, workspace.data(), scores.data(), flags.data());
    }
  }

  void call_one(size_t i) {
    vael_score_rows(model, &rows[i % n_rows * d], 0, 1, workspace.data(), &scores[i % n_rows],
                    &flags[i % n_rows]);
  }

  /// Rows a detector should never send.
  void add_extreme_rows() {
    const float values[] = {NAN, INFINITY, -INFINITY, 1e30f, -FLT_MAX, 1e-40f, -1e-45f, -0.0f, 0};
    for (size_t i = 0; i < n_rows; i += 2)
      for (size_t j = i % 4 ? 0 : i % d; j < d; j += i % 4 ? 1 : d)
        rows[i * d + j] = values[i / 2 % std::size(values)];
  }

  const vael_model *model;
  size_t d;
  std::vector<float> rows, scores, features;
  std::vector<uint8_t> flags, anomalous;
  std::vector<float> workspace;
  std::vector<const float *> columns;
  bool reconstruction;
  size_t thresholds;
};

/// True if f, run in a child process, leaves by the exit system call and no other way.
template <class F> bool child_exits(F f) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    f();
    syscall(SYS_exit, 0); // not exit_group, which strict mode does not allow
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void check_allocations(Caller &caller, size_t calls, const std::string &where) {
  const size_t before = allocations;
  caller.call_all();
  for (size_t i = 0; i < calls; ++i)
    caller.call_one(i);
  const size_t allocated = allocations - before;
  expect(allocated == 0, where + "scoring called the allocator");
}

void check_system_calls(Caller &caller, size_t calls, const std::string &where) {
  const bool silent = child_exits([&] {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
      _exit(1);
    caller.call_all();
    for (size_t i = 0; i < calls; ++i)
      caller.call_one(i);
  });
  expect(silent, where + "scoring made a system call");
  const bool caught = !child_exits([] {
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    getppid();
  });
  expect(caught, where + "a system call would not have been noticed");
}

void check_flags(Caller &caller, const std::string &where) {
  std::feclearexcept(FE_ALL_EXCEPT);
  caller.call_all();
  for (size_t i = 0; i < n_rows; ++i)
    caller.call_one(i);
  const int raised = std::fetestexcept(errors);
  expect(raised == 0, where + "ordinary rows raise floating-point flags " + std::to_string(raised));
}

void check_traps_and_modes(Caller &caller, const std::string &where) {
  caller.call_all();
  const std::vector<float> expected = caller.scores;
  const auto same = [&] {
    caller.call_all();
    return !std::memcmp(caller.scores.data(), expected.data(), n_rows * sizeof(float));
  };
  const bool survived = child_exits([&] {
    feenableexcept(FE_ALL_EXCEPT);
    const bool good = same() && fegetexcept() == FE_ALL_EXCEPT;
    if (!good)
      _exit(1);
  });
  expect(survived, where + "a floating-point trap was sprung, or the traps were not kept");
  std::fesetround(FE_UPWARD);
  const bool rounded = same() && std::fegetround() == FE_UPWARD;
  std::fesetround(FE_TONEAREST);
  expect(rounded, where + "the caller's rounding mode matters, or was not kept");
}

} // namespace

int main(int argc, char **argv) {
  for (int i = 1; i < argc; ++i)
    for (int isa = 0; isa < vael::isa_count; ++isa) {
      if (!vael::isa_available(static_cast<vael::Isa>(isa)))
        continue;
      const char *name = vael::isa_name(static_cast<vael::Isa>(isa));
      const std::string where = std::string(argv[i]) + " on " + name + ": ";
      const vaelocity::Model model = vaelocity::Model::load(argv[i], {"", name, false});
      Caller caller(model);
      const bool fast = isa != static_cast<int>(vael::Isa::generic);
      check_allocations(caller, fast ? 1000000 : 1000, where);
      check_system_calls(caller, fast ? 100000 : 1000, where);
      check_flags(caller, where);
      caller.add_extreme_rows();
      check_traps_and_modes(caller, where);
    }
  std::printf("%d bundles, %d failures, allocations %s\n", argc - 1, failures,
              COUNT_ALLOCATIONS ? "counted" : "not counted");
  return failures || argc < 2 ? 1 : 0;
}
