/* qz/model.h - open, look inside, save, verify. One type before and after quantization. Immutable. */
#ifndef QZ_MODEL_H
#define QZ_MODEL_H
#include "context.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct qz_model_options {
  uint32_t struct_size;
  int32_t config_only; /* 1: config.json only; the model can be looked at, not run */
  int32_t strict;      /* 1: contradictions between config.json and the tensors are errors, not warnings */
  int32_t reserved;
  const char *arch_json; /* description of an architecture that is not in the table (docs/adding-an-architecture.md); NULL = none */
} qz_model_options;

typedef struct qz_model_info {
  uint32_t struct_size;
  qz_format format; /* PLAIN if nothing is quantized */
  qz_dtype dtype;   /* of the checkpoint */
  int32_t tied;     /* 1: the head is the embedding */
  char arch[32];    /* "llama" */
  int64_t parameters, layers, hidden, heads, kv_heads, head_dim, intermediate, vocab, max_seq;
  int64_t outputs;    /* numbers in a row of logits: vocab, or a classifier's labels */
  int32_t encoder;    /* 1: tokens see the whole text; no cache, no generation */
  int32_t classifier; /* 1: one row of logits a text */
} qz_model_info;

typedef struct qz_module_info {
  uint32_t struct_size;
  int32_t can_quantize; /* 0: a tied head */
  int32_t quantized;    /* 1: stored or held as codes */
  int32_t bits;         /* of its codes; 0 if not quantized */
  const char *name;     /* "model.layers.0.self_attn.q_proj" */
  const char *role;     /* "q" "k" "v" "o" "gate" "up" "down" "head"; fused: "qkv" "gate_up"; "other" */
  int64_t layer;        /* -1: the head, others */
  int64_t rows, cols;   /* output features, input features */
  int64_t group;        /* columns that share a scale; -1 row, -2 tensor; 0 if not quantized */
} qz_module_info;

typedef struct qz_save_options {
  uint32_t struct_size;
  qz_format format;        /* DEFAULT: the model's own if it is quantized */
  int32_t overwrite;       /* 1: replace an existing directory, atomically */
  int32_t allow_loss;      /* 1: what the target cannot hold exactly is rounded to the nearest that it can */
  uint64_t shard_bytes;    /* 0 = 5 GB; of GGUF one file */
  qz_progress_fn progress; /* may be NULL */
  void *user;
} qz_save_options;

/* path: a Hugging Face directory with config.json and safetensors. Reads headers only. Codes in GPTQ and compressed-tensors
 * directories are understood. opts may be NULL. */
QZ_API qz_status qz_model_open(const qz_context *ctx, const char *path, const qz_model_options *opts, qz_model **out);
/* The families that have a table: JSON [{"name", "hf_class", "model_type"}], zero-terminated; *need (may be NULL) its size with the zero.
 */
QZ_API qz_status qz_arch_list(char *buf, size_t cap, size_t *need);
/* The table of one of them as a description that arch_json takes. */
QZ_API qz_status qz_arch_show(const char *name, char *buf, size_t cap, size_t *need);
/* Whether the directory opens, and if not, what a description of its family must say: JSON {"known": name or "", "problem", "closest",
 * "missing": names of the closest table that the file lacks, "unused": names of the file that it lacks, "missing_keys" of config.json,
 * "arch_json": a description to start from, "still": what is wrong with that, "" if it opens the directory}. */
QZ_API qz_status qz_arch_check(const qz_context *ctx, const char *path, char *buf, size_t cap, size_t *need);
QZ_API qz_status qz_model_get_info(const qz_model *model, qz_model_info *out);
/* Linear layers: those outside the language part of a model that sees, then the others in the order of the forward pass, the head
 * last. */
QZ_API size_t qz_model_module_count(const qz_model *model);
/* Strings live as long as the model. */
QZ_API qz_status qz_model_get_module(const qz_model *model, size_t i, qz_module_info *out);
/* Writes dir: weights, config.json, index, and the source's tokenizer and other small files. open + save = convert: the same
 * numbers in the other format; what the target cannot hold is QZ_STATUS_UNSUPPORTED (without allow_loss) before anything is written. PLAIN
 * writes dequantized weights in the checkpoint's type. The directory appears complete or not at all. opts may be NULL. */
QZ_API qz_status qz_model_save(const qz_model *model, const char *dir, const qz_save_options *opts);
/* What saving as `format` would lose, before it is done: JSON {"format", "exact", "lost": [{"module", "words"}]}, zero-terminated;
 * *need (may be NULL) its size with the zero. QZ_STATUS_UNSUPPORTED if the format holds nothing near the model's codes. */
QZ_API qz_status qz_model_check_save(const qz_model *model, qz_format format, char *buf, size_t cap, size_t *need);
/* Reads dir back: headers, shapes, file hashes, and every decoded matrix against `model` (its matrices if it is quantized, else
 * only against the hashes that dir's report recorded when they were solved). buf receives JSON {"ok": ..., "checked": ...,
 * "findings": [{"severity", "file", "tensor", "text"}]}, zero-terminated; *need (may be NULL) its size with the zero. buf may be
 * NULL with cap 0 when only the status matters. QZ_STATUS_MISMATCH if there is a finding of severity "error" (buf is filled then too). */
QZ_API qz_status qz_model_verify(const qz_model *model, const char *dir, char *buf, size_t cap, size_t *need);
QZ_API void qz_model_free(qz_model *model);

#ifdef __cplusplus
}
#endif
#endif
