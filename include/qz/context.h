/* qz/context.h - threads, log, limits. A context is shared freely between threads; handles made from it keep it alive. */
#ifndef QZ_CONTEXT_H
#define QZ_CONTEXT_H
#include "base.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Where a long call is. Strings live during the callback. */
typedef struct qz_progress {
  uint32_t struct_size;
  int32_t layer, layers, reserved; /* block at hand and number of blocks */
  const char *phase;               /* "measure" "scale" "calibrate" "solve" "write" "evaluate" "sample" "verify" */
  const char *module;              /* full module name, or "" */
  double fraction;                 /* of the whole call, 0 ... 1 */
  double eta_s;                    /* seconds left, 0 while unknown */
  uint64_t host_bytes;             /* resident memory of the process now */
  uint64_t device_bytes;           /* 0 on the CPU */
} qz_progress;

/* Called on the thread that made the call, at least once per stage and about ten times a second. Non-zero cancels: the call ends
 * within two seconds with QZ_STATUS_CANCELLED and leaves nothing behind. */
typedef int32_t (*qz_progress_fn)(void *user, const qz_progress *progress);
/* level: 1 error, 2 warning, 3 information, 4 debug. Called on the calling thread or on a worker, never on two at once. */
typedef void (*qz_log_fn)(void *user, int32_t level, const char *text);
typedef void (*qz_task_fn)(void *task, uint32_t index, uint32_t worker);
/* The host's own thread pool: call fn(task, i, worker) for every i in [0, count), worker < 64 and unique among concurrent calls;
 * return when all are done; non-zero = could not. */
typedef int32_t (*qz_parallel_fn)(void *user, void *task, qz_task_fn fn, uint32_t count);

typedef struct qz_context_options {
  uint32_t struct_size;
  int32_t threads;         /* 0 = the affinity mask, limited by the cgroup's quota */
  void *user;              /* given to every hook */
  qz_log_fn log;           /* NULL = silent */
  qz_parallel_fn parallel; /* NULL = libqz's own threads */
  /* Where backends (libqz_*.so, docs/backends.md) are looked for after the folder that libqz was loaded from; NULL = what the
   * environment variable QZ_BACKEND_DIR says. Copied. */
  const char *backend_dir;
} qz_context_options;

/* opts may be NULL. */
QZ_API qz_status qz_context_create(const qz_context_options *opts, qz_context **out);
/* Keys: "limits.header_bytes" "limits.config_bytes" "limits.index_bytes" "limits.json_depth" "limits.tensors_per_file"
 * "limits.tensors_per_model" "limits.dims" "limits.name_bytes" "limits.layers" "limits.hidden" "limits.vocab" "limits.heads" (decimal
 * numbers), "cpu" ("avx512_amx" "avx512_bf16" "avx512_vnni" "avx512" "avx2" "ref" "", on Arm "neon_i8mm_bf16" "neon_dot" "neon" "ref" "":
 * the instruction set of the kernels, for tests; process-wide). An unknown key or value is QZ_STATUS_INVALID_ARGUMENT. Not while another
 * thread uses the context. */
QZ_API qz_status qz_context_set(qz_context *ctx, const char *key, const char *value);
QZ_API void qz_context_free(qz_context *ctx);

#ifdef __cplusplus
}
#endif
#endif
