/* qz/backend.h - for those who write a backend: a shared library that computes on devices of one kind. Not part of qz/qz.h; its version
 * is QZ_BACKEND_ABI. docs/backends.md says how one is written, found and tested.
 *
 * A plug-in is a file libqz_<name>.so that exports one function, qz_backend_open, and nothing else. It is opened when a list of devices
 * or an operation first needs it, and never closed. It prints nothing, ends no process and throws nothing through this interface.
 *
 * Growth: append-only, here as in qz/base.h. A plug-in fills as much of qz_backend_api as it knows and says so in struct_size; what is
 * missing behind is taken as NULL. Functions that may be NULL say so.
 *
 * Threads: functions of one backend may be called by several threads at once.
 * Errors: a function that fails calls host->fail() with one line of words and returns what that returns.
 */
#ifndef QZ_BACKEND_H
#define QZ_BACKEND_H
#include "device.h"
#ifdef __cplusplus
extern "C" {
#endif

#define QZ_BACKEND_ABI 1

/* What libqz lends a backend: until destroy() has returned, or qz_backend_open with a failure. */
typedef struct qz_host_api {
  uint32_t struct_size, reserved;
  void *host; /* first argument of the functions */
  /* level as in qz_log_fn. One line, no newline; copied. */
  void (*log)(void *host, int32_t level, const char *text);
  /* Remembers the words of this thread's failure and returns status. Copied. */
  qz_status (*fail)(void *host, qz_status status, const char *text);
} qz_host_api;

/* A quantized matrix in bricks (docs/backends.md), in the memory of the device that computes. w = scale * (code - zero). */
typedef struct qz_bricks {
  uint32_t struct_size;
  qz_code code;         /* INT */
  int32_t bits;         /* of a stored code: 4 */
  int32_t group;        /* columns that share a scale, a power of two from 16; 0 = the whole row */
  int32_t zero;         /* of all weights where zeros is NULL */
  qz_dtype scale;       /* F16, BF16 or F32 */
  int64_t rows, cols;   /* of the matrix; in memory both are filled up to multiples of 64 */
  const void *codes;    /* [rows / 64][cols / 64][512] words of 8 codes; 16-byte aligned */
  const void *scales;   /* [rows / 64][groups][64] of type scale; 16-byte aligned */
  const uint8_t *zeros; /* [rows / 64][groups][64]; 16-byte aligned; NULL: symmetric */
} qz_bricks;

/* What can be asked for. Values are frozen; a backend answers 0 to kinds that it does not know. */
typedef int32_t qz_op_kind;
enum {
  QZ_OP_NONE = 0,
  QZ_OP_DEQUANTIZE = 1, /* operands: out [rows, cols] F16, BF16 or F32, written; columns next to each other. Each weight is
                           scale * (code - zero), rounded once */
  QZ_OP_GEMM = 2,       /* operands: x [m, cols] F16 or BF16; y [m, rows] of the same type or F32, written; bias [rows] F32, or left out.
                           y = x w^T + bias; columns of x and y next to each other, rows of x at multiples of 16 bytes. Sums are
                           float32 and do not change from run to run; y is rounded once */
  /* GPTQ. Operands of these lie dense, row by row, but for rows of x. */
  QZ_OP_HESSIAN = 3,      /* operands: x [m, n] F16 or BF16, rows at multiples of 16 bytes; h [n, n] F32. h += x^T x on and below the
                             diagonal; what is above it has no meaning afterwards. Products are exact, sums float32 */
  QZ_OP_GPTQ_COLUMNS = 4, /* the loop over columns with the scales given by `grid`. operands: target [rows, n] F32; lower [n, n] F32, the
                            Cholesky factor of the Hessian whose rows and columns stand in the order of solving, the first one last,
                            nothing above the diagonal is read; order [n] I32, the target's column for each of the factor's; scale and
                            zero [rows, groups] F32; codes [rows, n] U8, written, as the target's columns stand; errors [rows, n] F32,
                            written, as the factor's stand: the target minus what the codes stand for */
  QZ_OP_CHOLESKY = 5, /* operands: a [n, n] F32; info [1] I32, written. a becomes L with a = L L^T, of which nothing above the diagonal is
                         read or has a meaning afterwards. info: 0, or the number, from 1, of the first column whose pivot is not
                         positive; a has no meaning then */
  QZ_OP_CHOLESKY_SOLVE = 6 /* operands: lower [n, n] F32, such an L; x [m, n] F32, which becomes x (L L^T)^-1 */
};

/* What GPTQ_COLUMNS may choose from: scale * (code - zero) of the column's group. */
typedef struct qz_op_grid {
  uint32_t struct_size;
  int32_t most;  /* codes are 0 to most, 255 at most */
  int64_t group; /* columns of the target that share a scale; the last group may have fewer */
} qz_op_grid;

/* One request. Pointers live during the call; what they point to lives until the stream has passed it. */
typedef struct qz_op {
  uint32_t struct_size;
  qz_op_kind kind;
  const qz_bricks *w; /* NULL where the kind has none */
  const qz_tensor *operands;
  size_t count; /* of operands */
  /* Scratch on the device: at least what workspace() asked for, 256-byte aligned. Zero-filled before its first use; a backend leaves it
   * so that the next operation on the same stream can have it as it is. */
  void *workspace;
  uint64_t workspace_bytes;
  const qz_op_grid *grid; /* GPTQ_COLUMNS; NULL for others */
} qz_op;

typedef struct qz_backend_api {
  uint32_t struct_size, reserved;
  const char *name;            /* "cuda"; lives as long as the process */
  void *self;                  /* first argument of the functions */
  void (*destroy)(void *self); /* may be NULL */
  size_t (*device_count)(void *self);
  /* i < device_count. out->struct_size says how much room there is; out->device is what tensors of this device carry. */
  qz_status (*device_info)(void *self, size_t i, qz_device_info *out);
  /* Memory of the device, 256-byte aligned, not initialized. size 0 gives NULL. The following eight may be NULL, all of them: a backend
   * that only lists. index: qz_device.index. stream: the device's own kind of queue, NULL = its default one. */
  qz_status (*alloc)(void *self, int32_t index, uint64_t size, void **out);
  void (*release)(void *self, int32_t index, void *pointer); /* NULL is fine; waits for what still uses it */
  /* Between the host (device kind 1) and a device, or within one; both dense, of one type and number of elements. In stream order; host
   * memory may be used again when synchronize() has returned. */
  qz_status (*copy)(void *self, void *stream, const qz_tensor *to, const qz_tensor *from);
  qz_status (*fill_zero)(void *self, void *stream, int32_t index, void *pointer, uint64_t size);
  /* 0 = cannot, else it can; of two backends for one device the first found is taken. Reads shapes, types and scheme, never memory. */
  int32_t (*supports)(void *self, const qz_op *op);
  uint64_t (*workspace)(void *self, const qz_op *op); /* bytes that run() needs; op->workspace is not read */
  /* Enqueues the operation: no allocation, no waiting, so that a stream that is being captured takes it; but CHOLESKY may take memory of
   * the host, and wait for the stream. What supports() refuses fails with words, before anything is enqueued or the workspace is read. */
  qz_status (*run)(void *self, void *stream, const qz_op *op);
  qz_status (*synchronize)(void *self, void *stream, int32_t index);
} qz_backend_api;

/* The one symbol. abi: the version that the host speaks; a backend that does not speak it returns QZ_STATUS_UNSUPPORTED without a word
 * and is asked again for older ones. out: zero but for struct_size, the room there is. QZ_STATUS_DEVICE with words: there is nothing
 * to compute on. */
typedef qz_status (*qz_backend_open_fn)(uint32_t abi, const qz_host_api *host, qz_backend_api *out);

#ifdef __cplusplus
}
#endif
#endif
