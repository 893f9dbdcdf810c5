# Written by `./dev gen` from include/qz; do not edit.
"""The C declarations of libqz 0.1.0, for cffi's ABI mode."""

VERSION = (0, 1, 0)

CDEF = """
typedef int32_t qz_status;
enum {
  QZ_STATUS_OK = 0,
  QZ_STATUS_INVALID_ARGUMENT = 1,
  QZ_STATUS_UNSUPPORTED = 2,
  QZ_STATUS_OUT_OF_MEMORY = 3,
  QZ_STATUS_IO = 4,
  QZ_STATUS_BAD_FILE = 5,
  QZ_STATUS_DEVICE = 6,
  QZ_STATUS_NUMERIC = 7,
  QZ_STATUS_CANCELLED = 8,
  QZ_STATUS_BUFFER_TOO_SMALL = 9,
  QZ_STATUS_BUSY = 10,
  QZ_STATUS_MISMATCH = 11,
  QZ_STATUS_INTERNAL = 12
};
typedef int32_t qz_dtype;
enum {
  QZ_DTYPE_NONE = 0,
  QZ_DTYPE_F32 = 1,
  QZ_DTYPE_F16 = 2,
  QZ_DTYPE_BF16 = 3,
  QZ_DTYPE_I64 = 4,
  QZ_DTYPE_I32 = 5,
  QZ_DTYPE_I16 = 6,
  QZ_DTYPE_I8 = 7,
  QZ_DTYPE_U8 = 8,
  QZ_DTYPE_BOOL = 9,
  QZ_DTYPE_F8_E4M3 = 10
};
typedef int32_t qz_code;
enum {
  QZ_CODE_INT = 0,
  QZ_CODE_NF4 = 1,
  QZ_CODE_FP4 = 2,
  QZ_CODE_FP8 = 3,
  QZ_CODE_LLM_INT8 = 4
};
typedef int32_t qz_grouping;
enum {
  QZ_GROUPING_DEFAULT = 0,
  QZ_GROUPING_ROW = 1,
  QZ_GROUPING_FLAT = 2,
  QZ_GROUPING_STRIDED = 3,
  QZ_GROUPING_TILE = 4
};
typedef int32_t qz_activations;
enum {
  QZ_ACTIVATIONS_DEFAULT = 0,
  QZ_ACTIVATIONS_TOKEN = 1,
  QZ_ACTIVATIONS_TENSOR = 2,
  QZ_ACTIVATIONS_OUTLIERS = 3
};
typedef int32_t qz_method;
enum {
  QZ_METHOD_DEFAULT = 0,
  QZ_METHOD_KEEP = 1,
  QZ_METHOD_RTN = 2,
  QZ_METHOD_GPTQ = 3,
  QZ_METHOD_HQQ = 4
};
typedef int32_t qz_format;
enum {
  QZ_FORMAT_DEFAULT = 0,
  QZ_FORMAT_GPTQ = 1,
  QZ_FORMAT_GPTQ_V2 = 2,
  QZ_FORMAT_GPTQ_PLANAR = 3,
  QZ_FORMAT_COMPRESSED = 4,
  QZ_FORMAT_AWQ = 5,
  QZ_FORMAT_BITSANDBYTES = 6,
  QZ_FORMAT_HQQ = 7,
  QZ_FORMAT_PLAIN = 8,
  QZ_FORMAT_GGUF = 9
};
typedef struct qz_device {
  int32_t kind, index;
} qz_device;
typedef struct qz_tensor {
  void *data;
  int64_t shape[4], stride[4];
  int32_t ndim;
  qz_dtype dtype;
  qz_device device;
} qz_tensor;
typedef struct qz_context qz_context;
typedef struct qz_model qz_model;
typedef struct qz_calib qz_calib;
typedef struct qz_plan qz_plan;
typedef struct qz_packed qz_packed;
typedef struct qz_session qz_session;
uint32_t qz_version(void);
const char *qz_status_name(qz_status status);
const char *qz_last_error(void);
typedef struct qz_progress {
  uint32_t struct_size;
  int32_t layer, layers, reserved;
  const char *phase;
  const char *module;
  double fraction;
  double eta_s;
  uint64_t host_bytes;
  uint64_t device_bytes;
} qz_progress;
typedef int32_t (*qz_progress_fn)(void *user, const qz_progress *progress);
typedef void (*qz_log_fn)(void *user, int32_t level, const char *text);
typedef void (*qz_task_fn)(void *task, uint32_t index, uint32_t worker);
typedef int32_t (*qz_parallel_fn)(void *user, void *task, qz_task_fn fn, uint32_t count);
typedef struct qz_context_options {
  uint32_t struct_size;
  int32_t threads;
  void *user;
  qz_log_fn log;
  qz_parallel_fn parallel;
} qz_context_options;
qz_status qz_context_create(const qz_context_options *opts, qz_context **out);
qz_status qz_context_set(qz_context *ctx, const char *key, const char *value);
void qz_context_free(qz_context *ctx);
typedef struct qz_device_info {
  uint32_t struct_size;
  int32_t units;
  qz_device device;
  char name[64];
  char arch[16];
  uint64_t memory_total;
  uint64_t memory_free;
  uint64_t bandwidth;
  int32_t int4, int8, bf16, fp8, fp4;
  int32_t reserved;
} qz_device_info;
typedef struct qz_memory_usage {
  uint32_t struct_size, reserved;
  uint64_t host, host_peak;
  uint64_t cgroup, cgroup_peak;
  uint64_t device;
} qz_memory_usage;
size_t qz_device_count(const qz_context *ctx);
qz_status qz_device_get(const qz_context *ctx, size_t i, qz_device_info *out);
qz_status qz_device_measure(const qz_context *ctx, size_t i, uint64_t *bandwidth);
qz_status qz_device_to_json(const qz_context *ctx, char *buf, size_t cap, size_t *need);
qz_status qz_device_usage(const qz_context *ctx, qz_memory_usage *out);
typedef struct qz_model_options {
  uint32_t struct_size;
  int32_t config_only;
  int32_t strict;
  int32_t reserved;
  const char *arch_json;
} qz_model_options;
typedef struct qz_model_info {
  uint32_t struct_size;
  qz_format format;
  qz_dtype dtype;
  int32_t tied;
  char arch[32];
  int64_t parameters, layers, hidden, heads, kv_heads, head_dim, intermediate, vocab, max_seq;
  int64_t outputs;
  int32_t encoder;
  int32_t classifier;
} qz_model_info;
typedef struct qz_module_info {
  uint32_t struct_size;
  int32_t can_quantize;
  int32_t quantized;
  int32_t bits;
  const char *name;
  const char *role;
  int64_t layer;
  int64_t rows, cols;
  int64_t group;
} qz_module_info;
typedef struct qz_save_options {
  uint32_t struct_size;
  qz_format format;
  int32_t overwrite;
  int32_t allow_loss;
  uint64_t shard_bytes;
  qz_progress_fn progress;
  void *user;
} qz_save_options;
qz_status qz_model_open(const qz_context *ctx, const char *path, const qz_model_options *opts, qz_model **out);
qz_status qz_arch_list(char *buf, size_t cap, size_t *need);
qz_status qz_arch_show(const char *name, char *buf, size_t cap, size_t *need);
qz_status qz_arch_check(const qz_context *ctx, const char *path, char *buf, size_t cap, size_t *need);
qz_status qz_model_get_info(const qz_model *model, qz_model_info *out);
size_t qz_model_module_count(const qz_model *model);
qz_status qz_model_get_module(const qz_model *model, size_t i, qz_module_info *out);
qz_status qz_model_save(const qz_model *model, const char *dir, const qz_save_options *opts);
qz_status qz_model_check_save(const qz_model *model, qz_format format, char *buf, size_t cap, size_t *need);
qz_status qz_model_verify(const qz_model *model, const char *dir, char *buf, size_t cap, size_t *need);
void qz_model_free(qz_model *model);
qz_status qz_calib_create(const qz_context *ctx, qz_calib **out);
qz_status qz_calib_add_tokens(qz_calib *calib, const int32_t *ids, size_t count);
qz_status qz_calib_add_embeddings(qz_calib *calib, const qz_tensor *x);
qz_status qz_calib_add_generated(qz_calib *calib, const qz_model *model, int64_t sequences, int64_t length, uint64_t seed,
                                        qz_progress_fn progress, void *user);
int64_t qz_calib_sequences(const qz_calib *calib);
int64_t qz_calib_tokens(const qz_calib *calib);
qz_status qz_calib_get(const qz_calib *calib, int64_t i, const int32_t **ids, size_t *count);
qz_status qz_calib_load(const qz_context *ctx, const char *path, qz_calib **out);
qz_status qz_calib_save(const qz_calib *calib, const char *path);
void qz_calib_free(qz_calib *calib);
typedef struct qz_scheme {
  uint32_t struct_size;
  qz_code code;
  int32_t bits;
  int32_t group;
  int32_t asymmetric;
  qz_dtype scale;
  int32_t float_zero;
  qz_grouping grouping;
  int32_t nested;
  qz_activations activations;
} qz_scheme;
typedef int32_t qz_order;
enum {
  QZ_ORDER_DEFAULT = 0,
  QZ_ORDER_NONE = 1,
  QZ_ORDER_STATIC = 2,
  QZ_ORDER_GIDX = 3
};
typedef struct qz_gptq_options {
  uint32_t struct_size;
  int32_t block;
  qz_order order;
  int32_t sweeps;
  int32_t search;
  int32_t signed_grid;
  int32_t refit;
  int32_t allow_rtn_fallback;
  int32_t metric;
  int32_t reserved;
  double metric_ridge;
  double damp;
  double drift;
  double residual;
} qz_gptq_options;
typedef struct qz_rule {
  uint32_t struct_size;
  qz_method method;
  const qz_scheme *scheme;
  const qz_gptq_options *gptq;
} qz_rule;
typedef struct qz_run_options {
  uint32_t struct_size;
  qz_format format;
  const char *stream_to;
  int32_t overwrite;
  int32_t strict;
  uint64_t shard_bytes;
  uint64_t seed;
  qz_progress_fn progress;
  void *user;
} qz_run_options;
typedef struct qz_module_report {
  uint32_t struct_size;
  qz_method method;
  int32_t fell_back;
  int32_t damp_steps;
  const char *name;
  int32_t bits, group, asymmetric, reserved;
  double weight_error;
  double output_error;
  double rtn_output_error;
  double damp;
  double drift, residual;
  double seconds;
  uint64_t tokens, bytes_before, bytes_after;
} qz_module_report;
qz_status qz_scheme_preset(const char *name, qz_scheme *out);
qz_status qz_rtn_run(const qz_model *model, const qz_scheme *scheme, const qz_run_options *run, qz_model **out);
qz_status qz_gptq_run(const qz_model *model, const qz_calib *calib, const qz_scheme *scheme, const qz_gptq_options *opts,
                             const qz_run_options *run, qz_model **out);
qz_status qz_plan_create(const qz_model *model, qz_plan **out);
qz_status qz_plan_from_json(const qz_model *model, const char *json, size_t bytes, qz_plan **out);
qz_status qz_plan_to_json(const qz_plan *plan, char *buf, size_t cap, size_t *need);
qz_status qz_plan_add_rule(qz_plan *plan, const char *glob, const qz_rule *rule);
qz_status qz_plan_run(const qz_plan *plan, const qz_calib *calib, const qz_run_options *run, qz_model **out);
void qz_plan_free(qz_plan *plan);
size_t qz_report_count(const qz_model *quantized);
qz_status qz_report_get(const qz_model *quantized, size_t i, qz_module_report *out);
qz_status qz_report_to_json(const qz_model *quantized, char *buf, size_t cap, size_t *need);
typedef int32_t qz_goal;
enum {
  QZ_GOAL_INFER = 0,
  QZ_GOAL_QUANTIZE = 1,
  QZ_GOAL_TRAIN_FULL = 2,
  QZ_GOAL_TRAIN_LORA = 3,
  QZ_GOAL_TRAIN_QLORA = 4
};
typedef int32_t qz_optimizer;
enum { QZ_OPTIMIZER_ADAM = 0, QZ_OPTIMIZER_ADAM_F32 = 1, QZ_OPTIMIZER_ADAM_8BIT = 2, QZ_OPTIMIZER_SGD = 3 };
typedef int32_t qz_offload;
enum { QZ_OFFLOAD_NONE = 0, QZ_OFFLOAD_OPTIMIZER = 1, QZ_OFFLOAD_PARAMETERS = 2 };
typedef struct qz_memory_query {
  uint32_t struct_size;
  qz_goal goal;
  int64_t batch;
  int64_t seq_len;
  int64_t prefill;
  qz_dtype compute;
  qz_dtype kv_cache;
  qz_optimizer optimizer;
  qz_offload offload;
  int32_t lora_rank;
  int32_t keep_activations;
  int32_t zero_stage;
  int32_t devices;
  qz_format format;
  int32_t in_memory;
  const char *weights;
  const char *tool;
  const qz_plan *plan;
} qz_memory_query;
typedef struct qz_memory {
  uint32_t struct_size, reserved;
  uint64_t weights, scales, kv_cache, activations, logits, gradients, optimizer, workspace, runtime;
  uint64_t device_total, host_total, disk_total;
} qz_memory;
typedef int32_t qz_fit_ask;
enum {
  QZ_FIT_CONTEXT = 0,
  QZ_FIT_BATCH = 1,
  QZ_FIT_BITS = 2
};
typedef struct qz_fit {
  uint32_t struct_size, reserved;
  int64_t value;
  uint64_t needed;
  char weights[32];
} qz_fit;
qz_status qz_memory_estimate(const qz_model *model, const qz_memory_query *query, qz_memory *out);
qz_status qz_memory_to_json(const qz_model *model, const qz_memory_query *query, char *buf, size_t cap, size_t *need);
qz_status qz_memory_fit(const qz_model *model, const qz_memory_query *query, const qz_device_info *device, qz_fit_ask ask,
                               qz_fit *out);
qz_status qz_memory_deepspeed(const qz_memory_query *query, char *buf, size_t cap, size_t *need);
typedef struct qz_check_options {
  uint32_t struct_size;
  int32_t tensor_parallel;
  int32_t capability;
  qz_format format;
  const char *loader;
} qz_check_options;
qz_status qz_plan_check(const qz_plan *plan, const qz_check_options *opts, char *buf, size_t cap, size_t *need);
qz_status qz_model_check(const qz_model *model, const qz_check_options *opts, char *buf, size_t cap, size_t *need);
typedef struct qz_part {
  const char *name;
  qz_tensor tensor;
} qz_part;
qz_status qz_packed_quantize(const qz_context *ctx, const qz_tensor *w, const qz_rule *rule, const qz_tensor *hessian,
                                    qz_packed **out);
qz_status qz_packed_import(const qz_context *ctx, qz_format format, const qz_scheme *scheme, int64_t rows, int64_t cols,
                                  const qz_part *parts, size_t count, qz_packed **out);
qz_status qz_packed_export(qz_packed *p, qz_format format, qz_part *parts, size_t *count);
qz_status qz_packed_dequantize(const qz_packed *p, const qz_tensor *w);
void qz_packed_free(qz_packed *p);
typedef struct qz_eval_options {
  uint32_t struct_size;
  int32_t window;
  int32_t stride;
  int32_t reserved;
  qz_progress_fn progress;
  void *user;
} qz_eval_options;
typedef struct qz_eval {
  uint32_t struct_size, reserved;
  double perplexity;
  double perplexity_error;
  double kl_to_reference;
  double kl_p99;
  double top1_agreement;
  double tokens_per_s;
  int64_t tokens;
  char protocol[32];
  char token_hash[72];
} qz_eval;
typedef struct qz_generate_options {
  uint32_t struct_size;
  int32_t max_tokens;
  int32_t top_k;
  int32_t greedy;
  double temperature;
  double top_p;
  double repetition_penalty;
  uint64_t seed;
} qz_generate_options;
typedef int32_t (*qz_token_fn)(void *user, int32_t token);
qz_status qz_eval_perplexity(const qz_model *model, const qz_model *reference, const qz_calib *text, const qz_eval_options *opts,
                                    qz_eval *out);
qz_status qz_session_create(const qz_model *model, int64_t max_seq, qz_session **out);
qz_status qz_session_logits(qz_session *session, const int32_t *ids, size_t n, const qz_tensor *logits);
qz_status qz_session_logits_embeddings(qz_session *session, const qz_tensor *x, const qz_tensor *logits);
qz_status qz_session_generate(qz_session *session, const int32_t *prompt, size_t n, const qz_generate_options *opts, qz_token_fn fn,
                                     void *user);
qz_status qz_session_reset(qz_session *session);
void qz_session_free(qz_session *session);
"""
