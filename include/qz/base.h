/* qz/base.h - export, version, status, shared types.
 *
 * Dialect: C99; only stddef.h and stdint.h; enums are int32_t typedefs plus an anonymous enum with explicit values, 0 = default; no
 * bool, long, bit-field, union, inline function or function-like macro except QZ_INIT; callbacks have `void *user` first.
 *
 * Growth: a struct that starts with `struct_size` may grow at its end. All-zero means every default. The library reads
 * min(struct_size, its own size); a longer struct whose unknown tail is not zero gets QZ_STATUS_UNSUPPORTED. `reserved` must be 0.
 *
 * Threads: `const T *` may be used by many threads at once, `T *` by one; any thread may make any call.
 * Ownership: a pointer-to-pointer output is yours to _free, in any order; a returned `const` pointer lives as long as the handle
 * it came from. On failure outputs are untouched, handles NULL. Every _free accepts NULL.
 */
#ifndef QZ_BASE_H
#define QZ_BASE_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define QZ_VERSION_MAJOR 0
#define QZ_VERSION_MINOR 1
#define QZ_VERSION_PATCH 0

#define QZ_API __attribute__((visibility("default")))

/* Initializer of a versioned struct: all defaults. qz_rule rule = QZ_INIT(qz_rule); */
#ifdef __cplusplus
}
template <class T>
struct qz_init_of {
  static T make() {
    T t = T();
    t.struct_size = sizeof(T);
    return t;
  }
};
extern "C" {
#define QZ_INIT(T) (qz_init_of<T>::make())
#else
#define QZ_INIT(T) {.struct_size = sizeof(T)}
#endif

/* What a call came to. Values are frozen and never reused; callers must accept new ones. */
typedef int32_t qz_status;
enum {
  QZ_STATUS_OK = 0,
  QZ_STATUS_INVALID_ARGUMENT = 1, /* the caller's mistake: a value, a shape, a token id, an existing target */
  QZ_STATUS_UNSUPPORTED = 2,      /* well formed, but not something this library can do; the words say what would be */
  QZ_STATUS_OUT_OF_MEMORY = 3,
  QZ_STATUS_IO = 4,       /* the system refused: missing file, full disk, no permission, file changed while read */
  QZ_STATUS_BAD_FILE = 5, /* a file is not what it must be; the words name file, tensor or key, expected, found */
  QZ_STATUS_DEVICE = 6,
  QZ_STATUS_NUMERIC = 7,          /* NaN or infinity, a Hessian that no damping made positive definite */
  QZ_STATUS_CANCELLED = 8,        /* a progress callback returned non-zero; nothing is left behind */
  QZ_STATUS_BUFFER_TOO_SMALL = 9, /* *need says how many bytes; nothing was written */
  QZ_STATUS_BUSY = 10,            /* another run holds this target, or this handle is inside a callback */
  QZ_STATUS_MISMATCH = 11,        /* verification found a difference */
  QZ_STATUS_INTERNAL = 12         /* a bug of ours */
};

/* Element types. */
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

/* What a stored number stands for. */
typedef int32_t qz_code;
enum {
  QZ_CODE_INT = 0,     /* an integer on a grid: w = scale * (code - zero) */
  QZ_CODE_NF4 = 1,     /* a place in a table: w = scale * table[code]; Dettmers et al. 2023, arXiv 2305.14314 */
  QZ_CODE_FP4 = 2,     /* the same with bitsandbytes' 4-bit floats */
  QZ_CODE_FP8 = 3,     /* the same with the floats of E4M3 */
  QZ_CODE_LLM_INT8 = 4 /* w = scale * code / 127, scale the row's largest magnitude; Dettmers et al. 2022, arXiv 2208.07339 */
};

/* Which weights share a scale. */
typedef int32_t qz_grouping;
enum {
  QZ_GROUPING_DEFAULT = 0, /* ROW; of NF4 and FP4 FLAT */
  QZ_GROUPING_ROW = 1,     /* `group` columns of a row */
  QZ_GROUPING_FLAT = 2,    /* `group` elements of the matrix read row by row: blocks may cross rows */
  QZ_GROUPING_STRIDED = 3, /* element i of the matrix read row by row is in group i modulo their number (HQQ's axis 0) */
  QZ_GROUPING_TILE = 4     /* a square of `group` rows and columns (FP8) */
};

/* What a loader does with the inputs of a layer. */
typedef int32_t qz_activations;
enum {
  QZ_ACTIVATIONS_DEFAULT = 0, /* they stay floats; of LLM_INT8 OUTLIERS */
  QZ_ACTIVATIONS_TOKEN = 1,   /* 8 bits, one scale per token, found while running */
  QZ_ACTIVATIONS_TENSOR = 2,  /* 8 bits, one scale for all tokens, stored with the weights */
  QZ_ACTIVATIONS_OUTLIERS = 3 /* 8 bits per token, columns with a magnitude of 6.0 or more apart in 16 bits */
};

/* How codes are chosen. */
typedef int32_t qz_method;
enum {
  QZ_METHOD_DEFAULT = 0, /* GPTQ when there are calibration tokens, else RTN; HQQ for float zero points */
  QZ_METHOD_KEEP = 1,    /* leave the module as it is */
  QZ_METHOD_RTN = 2,     /* round to nearest */
  QZ_METHOD_GPTQ = 3,    /* Frantar et al. 2022, arXiv 2210.17323, with the levers of qz_gptq_options */
  QZ_METHOD_HQQ = 4,     /* half-quadratic zero points, no data: Badri and Shaji 2023 */
  QZ_METHOD_MSE = 5      /* round to nearest within the range of each group that leaves the least error, no data; integer grids */
};

/* How a quantized model is stored. */
typedef int32_t qz_format;
enum {
  QZ_FORMAT_DEFAULT = 0,      /* COMPRESSED */
  QZ_FORMAT_GPTQ = 1,         /* qweight, qzeros - 1, scales, g_idx: "gptq" */
  QZ_FORMAT_GPTQ_V2 = 2,      /* the same with true zero points: "gptq_v2" */
  QZ_FORMAT_GPTQ_PLANAR = 3,  /* GPTQModel\'s bit planes, for 3, 5, 6 and 7 bits: "gptq_p" */
  QZ_FORMAT_COMPRESSED = 4,   /* compressed-tensors: packed integers, 8-bit integers, FP8 */
  QZ_FORMAT_AWQ = 5,          /* AutoAWQ\'s GEMM layout */
  QZ_FORMAT_BITSANDBYTES = 6, /* NF4, FP4, LLM.int8() as transformers saves them */
  QZ_FORMAT_HQQ = 7,          /* integers with float zero points */
  QZ_FORMAT_PLAIN = 8,        /* 16- or 32-bit safetensors, nothing quantized */
  QZ_FORMAT_GGUF = 9,         /* llama.cpp's files, with block codes */
  QZ_FORMAT_EETQ = 10         /* int8 rows in the order of EETQ's kernels for sm75 to sm89 */
};

/* DLPack device codes: kind 1 = CPU. Frozen layout. */
typedef struct qz_device {
  int32_t kind, index;
} qz_device;

/* A borrowed view of an array; strides in elements. Never kept past the call, never freed. Frozen layout. */
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

/* Version of the loaded library: major * 1000000 + minor * 1000 + patch. */
QZ_API uint32_t qz_version(void);
/* "QZ_STATUS_IO"; static storage; "QZ_STATUS_UNKNOWN" for a value it does not know. */
QZ_API const char *qz_status_name(qz_status status);
/* This thread's last failure in one line of words: call, file, tensor, expected, found. "" if none. Valid until the same thread's
 * next call into the library. */
QZ_API const char *qz_last_error(void);

#ifdef __cplusplus
}
#endif
#endif
