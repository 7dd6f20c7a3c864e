/* vaelocity: anomaly scores from a frozen autoencoder or variational autoencoder (C ABI).
 *
 * Load a .vael file once, ask for the size of the workspace, give one to each thread, score:
 *
 *   vael_model* model;
 *   char why[256];
 *   if (vael_load_file("jets.vael", NULL, &model, why, sizeof why) != VAEL_OK) ...why...
 *   void* workspace = aligned_alloc(64, vael_workspace_size(model));
 *   vael_score_rows(model, rows, stride, n, workspace, scores, flags);
 *
 * Loading allocates and reads files. Scoring does not allocate, lock, throw, print, read a file or
 * start a thread. A model is immutable: any number of threads may score with it, each with its own
 * workspace. The same row gets the same bits whatever n, its place, the layout, the thread and the
 * instruction set.
 */
#ifndef VAELOCITY_H
#define VAELOCITY_H

#include "vaelocity/version.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VAEL_API __attribute__((visibility("default")))
#else
#define VAEL_API
#endif

/* Grows when a struct below does. Every struct carries its size, so older callers keep working. */
#define VAEL_ABI_VERSION 2u

/* Those of the library that runs; VAELOCITY_VERSION and VAEL_ABI_VERSION are those of the headers
 * that were compiled. */
VAEL_API const char *vael_version(void); /* "1.2.3" */
VAEL_API uint32_t vael_abi_version(void);

typedef enum vael_status {
  VAEL_OK = 0,
  VAEL_ERROR_ARGUMENT = 1,    /* a null pointer, a negative size, an unknown struct size */
  VAEL_ERROR_FILE = 2,        /* the file cannot be read */
  VAEL_ERROR_BUNDLE = 3,      /* no bundle, truncated, a flipped bit, a wrong shape, ... */
  VAEL_ERROR_VERSION = 4,     /* written by a newer vaelocity */
  VAEL_ERROR_KIND = 5,        /* the bundle has no score of that kind */
  VAEL_ERROR_ISA = 6,         /* no such instruction set, or not on this machine */
  VAEL_ERROR_CONFORMANCE = 7, /* the bundle's own rows do not get the bundle's own scores */
  VAEL_ERROR_MEMORY = 8,
  VAEL_ERROR_THRESHOLD = 9 /* the bundle has no such threshold for the score */
} vael_status;

/* A sentence for each status. */
VAEL_API const char *vael_status_message(vael_status status);

/* Flags of a row, in the byte beside its score. */
#define VAEL_FLAG_NONFINITE 1u /* a NaN or inf among its features: its score is NaN */
#define VAEL_FLAG_SATURATED 2u /* its score overflowed: it is FLT_MAX */
#define VAEL_FLAG_MISSING 4u   /* a missing value was left out of its score, or replaced */

typedef struct vael_model vael_model;

typedef struct vael_load_options {
  size_t struct_size;   /* sizeof(vael_load_options) */
  uint32_t abi_version; /* VAEL_ABI_VERSION */
  uint32_t skip_verify; /* 1: do not re-score the bundle's conformance rows */
  const char *kind;     /* reconstruction, kl, mu2, rz, elbo, ...; NULL: the bundle's own */
  const char *isa;      /* avx512, avx2, generic; NULL: VAELOCITY_ISA, else the best */
  uint32_t fast;        /* since version 2. 1: dot products of bfloat16, see below */
} vael_load_options;

/* Fast mode: the inputs and weights of dense layers are rounded to bfloat16 and multiplied by
 * AVX512_BF16's dot products, sums stay float32. Only where it is asked for, and VAEL_ERROR_ISA
 * where the machine has none. The scores are not those of other machines: a row still gets the same
 * bits whatever n, its place, the layout and the thread, and the conformance rows come out with
 * their flags and within 0.1 of (the score + the median score). */

/* Reads, checks (every byte, by checksum), packs and re-scores. options may be NULL. On failure
 * *model is NULL and message, if not NULL, holds one line with the cause (cut to message_size). */
VAEL_API vael_status vael_load_file(const char *path, const vael_load_options *options,
                                    vael_model **model, char *message, size_t message_size);
VAEL_API vael_status vael_load_memory(const void *bytes, size_t size,
                                      const vael_load_options *options, vael_model **model,
                                      char *message, size_t message_size);
VAEL_API void vael_free(vael_model *model);

typedef struct vael_info {
  size_t struct_size;     /* in: sizeof(vael_info) */
  uint32_t n_features;    /* columns of a row */
  uint32_t latent;        /* size of the latent space */
  const char *kind;       /* the score it computes */
  const char *isa;        /* the instruction set it computes with */
  const char *checksum;   /* SHA-256 of the file, 64 hex digits: the model's identity */
  const char *metadata;   /* the bundle's JSON: features, steps, thresholds, provenance */
  size_t workspace_bytes; /* as vael_workspace_size() */
} vael_info;

/* The strings live as long as the model. */
VAEL_API vael_status vael_inspect(const vael_model *model, vael_info *info);

/* Bytes of scratch memory a call needs; it should be aligned to 64. */
VAEL_API size_t vael_workspace_size(const vael_model *model);

/* Scores n rows of n_features float32s; row i begins at rows + i * row_stride (in float32s).
 * scores: [n]; flags: [n] or NULL. */
VAEL_API vael_status vael_score_rows(const vael_model *model, const float *rows,
                                     ptrdiff_t row_stride, size_t n, void *workspace, float *scores,
                                     uint8_t *flags);

/* The same from columns: feature j of row i is columns[j][i * stride]. */
VAEL_API vael_status vael_score_columns(const vael_model *model, const float *const *columns,
                                        ptrdiff_t stride, size_t n, void *workspace, float *scores,
                                        uint8_t *flags);

/* The loss of every feature, in the standardised space, 1/2 (y_j - x_j)^2 where the bundle names no
 * other, 0 where it leaves the loss: features is [n][n_features] and sums to the scores. For kind
 * reconstruction only. */
VAEL_API vael_status vael_score_features_rows(const vael_model *model, const float *rows,
                                              ptrdiff_t row_stride, size_t n, void *workspace,
                                              float *scores, uint8_t *flags, float *features);
VAEL_API vael_status vael_score_features_columns(const vael_model *model,
                                                 const float *const *columns, ptrdiff_t stride,
                                                 size_t n, void *workspace, float *scores,
                                                 uint8_t *flags, float *features);

/* A threshold that the bundle holds for the score the model computes. The name lives as long as the
 * model. */
typedef struct vael_threshold {
  size_t struct_size; /* in: sizeof(vael_threshold) */
  const char *name;   /* "fpr=0.01" */
  float value;        /* a row is anomalous unless its score is <= value: a NaN is anomalous */
} vael_threshold;

VAEL_API size_t vael_threshold_count(const vael_model *model);
VAEL_API vael_status vael_threshold_at(const vael_model *model, size_t index,
                                       vael_threshold *threshold);

/* Scores and decides: anomalous[i] is 1 if row i is anomalous by threshold number `threshold`, else
 * 0. scores: [n]; flags: [n] or NULL; anomalous: [n]. */
VAEL_API vael_status vael_decide_rows(const vael_model *model, size_t threshold, const float *rows,
                                      ptrdiff_t row_stride, size_t n, void *workspace,
                                      float *scores, uint8_t *flags, uint8_t *anomalous);
VAEL_API vael_status vael_decide_columns(const vael_model *model, size_t threshold,
                                         const float *const *columns, ptrdiff_t stride, size_t n,
                                         void *workspace, float *scores, uint8_t *flags,
                                         uint8_t *anomalous);

/* Scores the bundle's conformance rows again and compares every bit. Allocates. */
VAEL_API vael_status vael_verify(const vael_model *model, char *message, size_t message_size);

#ifdef __cplusplus
}
#endif
#endif
