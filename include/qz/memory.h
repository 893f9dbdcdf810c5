/* qz/memory.h - how much memory something will take, before it is done: arithmetic on shapes, nothing is loaded or allocated. A model that
 * was opened from config.json alone is enough. */
#ifndef QZ_MEMORY_H
#define QZ_MEMORY_H
#include "device.h"
#include "quantize.h"
#ifdef __cplusplus
extern "C" {
#endif

/* What the memory is for. */
typedef int32_t qz_goal;
enum {
  QZ_GOAL_INFER = 0,
  QZ_GOAL_QUANTIZE = 1, /* a run of libqz itself, on the host */
  QZ_GOAL_TRAIN_FULL = 2,
  QZ_GOAL_TRAIN_LORA = 3, /* adapters on every linear layer in a block, the base as `weights` says */
  QZ_GOAL_TRAIN_QLORA = 4 /* the same; the base is nf4-dq where `weights` is NULL */
};

/* Bytes per trained parameter for weights, gradients, states: 2 + 2 + 12, 4 + 4 + 8, 2 + 2 + 6, 2 + 2 + 8. */
typedef int32_t qz_optimizer;
enum { QZ_OPTIMIZER_ADAM = 0, QZ_OPTIMIZER_ADAM_F32 = 1, QZ_OPTIMIZER_ADAM_8BIT = 2, QZ_OPTIMIZER_SGD = 3 };

/* What lies in host memory instead of the device's while training. */
typedef int32_t qz_offload;
enum { QZ_OFFLOAD_NONE = 0, QZ_OFFLOAD_OPTIMIZER = 1, QZ_OFFLOAD_PARAMETERS = 2 };

typedef struct qz_memory_query {
  uint32_t struct_size;
  qz_goal goal;
  int64_t batch;     /* sequences at a time; QUANTIZE: calibration sequences; 0 = 1, QUANTIZE: 128 */
  int64_t seq_len;   /* tokens of each; 0 = 2048 or the model's positions if they are fewer */
  int64_t prefill;   /* tokens of a prompt that are run at once; 0 = 2048 */
  qz_dtype compute;  /* of activations; NONE = BF16 */
  qz_dtype kv_cache; /* NONE = compute; I8 = 8 bits */
  qz_optimizer optimizer;
  qz_offload offload;
  int32_t lora_rank;        /* 0 = 16 */
  int32_t keep_activations; /* training: 1 = all of them, 0 = one checkpoint a layer, recomputed */
  int32_t zero_stage;       /* 0 ... 3 */
  int32_t devices;          /* INFER: tensor-parallel degree; training: data-parallel ranks; 0 = 1 */
  qz_format format;         /* with plan, and of QUANTIZE */
  int32_t in_memory;        /* QUANTIZE: 1 = the result stays in memory, it is not streamed to a directory */
  const char *weights;      /* "bf16" "f32" or [FORMAT:]SCHEME: "w4g128" "gptq:w4g128" "nf4-dq" "q4_k"; NULL = as the model is stored */
  const char *tool;    /* "vllm" "transformers" "llama.cpp": what it adds; "accelerate" "deepspeed" "deepspeed-docs" "gguf-parser": its own
                          formulas; NULL = neither */
  const qz_plan *plan; /* what becomes of each module, instead of weights; NULL = none; QUANTIZE: a new plan's */
  qz_device device;    /* QUANTIZE: the one of qz_run_options; zeros or (1, 0): the CPU. It need not be there */
} qz_memory_query;

/* Bytes. The kinds are of the device, or of the host for QUANTIZE. */
typedef struct qz_memory {
  uint32_t struct_size, reserved;
  uint64_t weights, scales, kv_cache, activations, logits, gradients, optimizer, workspace, runtime;
  uint64_t device_total, host_total, disk_total; /* typical; qz_memory_to_json() has ranges */
} qz_memory;

/* What is asked of a device. */
typedef int32_t qz_fit_ask;
enum {
  QZ_FIT_CONTEXT = 0, /* the longest seq_len */
  QZ_FIT_BATCH = 1,   /* the largest batch */
  QZ_FIT_BITS = 2     /* the most bits of weights: of 16, w8, w4g128, w3g128, w2g64, in the format that `weights` begins with */
};
typedef struct qz_fit {
  uint32_t struct_size, reserved;
  int64_t value;    /* tokens, sequences or bits; 0 = not even the smallest fits */
  uint64_t needed;  /* device bytes at that value, or at the smallest */
  char weights[32]; /* FIT_BITS: what fits, as qz_memory_query.weights has it */
} qz_fit;

/* query may be NULL: inference, one sequence. Sums that 64 bits cannot hold: QZ_STATUS_UNSUPPORTED. */
QZ_API qz_status qz_memory_estimate(const qz_model *model, const qz_memory_query *query, qz_memory *out);
/* The same item by item: {"items": [{"what", "where", "kind", "bytes", "low", "high", "formula", "source"}], "totals", "notes"}.
 * Zero-terminated; *need with the zero. */
QZ_API qz_status qz_memory_to_json(const qz_model *model, const qz_memory_query *query, char *buf, size_t cap, size_t *need);
/* device->memory_free is the room; the other fields are not read. */
QZ_API qz_status qz_memory_fit(const qz_model *model, const qz_memory_query *query, const qz_device_info *device, qz_fit_ask ask,
                               qz_fit *out);
/* A configuration file for DeepSpeed that does what the query says (zero_stage 1 ... 3). */
QZ_API qz_status qz_memory_deepspeed(const qz_memory_query *query, char *buf, size_t cap, size_t *need);

#ifdef __cplusplus
}
#endif
#endif
