/* qz/packed.h - one quantized matrix: made, taken from named tensors, given back as named tensors, dequantized, multiplied. */
#ifndef QZ_PACKED_H
#define QZ_PACKED_H
#include "quantize.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct qz_part {
  const char *name; /* "qweight", "scales", ... of one module */
  qz_tensor tensor;
} qz_part;

/* w: [rows, cols] F32, F16 or BF16 on the CPU. rule: NULL = RTN at 4 bit, group 128. hessian: [cols, cols] F32, X^T X of the inputs,
 * needed for GPTQ (drift and residual corrections need whole models and are not made here). */
QZ_API qz_status qz_packed_quantize(const qz_context *ctx, const qz_tensor *w, const qz_rule *rule, const qz_tensor *hessian,
                                    qz_packed **out);
/* From a format's tensors (copied). rows, cols: the matrix's. scheme->scale is ignored. g_idx is taken if a part of that name is there. */
QZ_API qz_status qz_packed_import(const qz_context *ctx, qz_format format, const qz_scheme *scheme, int64_t rows, int64_t cols,
                                  const qz_part *parts, size_t count, qz_packed **out);
/* *count: room in parts on entry, number of parts on return (also with QZ_STATUS_BUFFER_TOO_SMALL). Views live as long as p and until
 * the next export from it. */
QZ_API qz_status qz_packed_export(qz_packed *p, qz_format format, qz_part *parts, size_t *count);
/* w: [rows, cols] F32, written. */
QZ_API qz_status qz_packed_dequantize(const qz_packed *p, const qz_tensor *w);

/* The matrix in the memory of a GPU that a backend computes on (docs/backends.md), laid out once for its products; p stays as it is.
 * device: as qz_device_get lists it. QZ_STATUS_UNSUPPORTED: no backend computes on it, or the matrix is not of integers of up to 4 bits in
 * groups of a power of two of at least 16 columns of a row, or in rows. *out multiplies; it is neither exported nor dequantized. */
QZ_API qz_status qz_packed_to_device(const qz_context *ctx, const qz_packed *p, qz_device device, qz_packed **out);

typedef struct qz_gemm_options {
  uint32_t struct_size;
  int32_t allow_int8_activations; /* 1: x is rounded to 8 bits, a scale for each row and group of w (for each row, if w has a
                                     g_idx), where w holds integers of 2, 4 or 8 bits and x is finite; 0: x is used in its own type */
  void *stream;                   /* of the GPU that w is on, a cudaStream_t; NULL = its default one. On the CPU NULL */
  const qz_tensor *bias;          /* [rows] F32, F16 or BF16; NULL = none. On a GPU F32 */
  /* Of a GPU: memory there of at least qz_gemm_workspace() bytes, 256-byte aligned, zero-filled before its first use and then left
   * alone, for products in one stream. NULL: where qz_gemm_workspace() is not 0, allocated for the call, which then waits for the
   * result; where it is 0, enqueued as with a workspace. On the CPU NULL. */
  void *workspace;
  uint64_t workspace_bytes;
} qz_gemm_options;
/* y = x w^T (+ bias), from the codes as they are: x: [m, cols], y: [m, rows], each F32, F16 or BF16, any m and strides; they must not
 * overlap. Sums are float32, x is never rounded (unless the options allow it), y is rounded once to its type; the bits do not depend on
 * the number of threads. The first call re-tiles the codes, in parallel, and keeps the result with w; w may be used by many threads.
 * opts may be NULL. w4a16: codes of up to 4 bits (integers, NF4, FP4); w8a16: wider ones, FP8 and GGUF's included;
 * QZ_STATUS_UNSUPPORTED says which of the two a matrix needs. */
/* On a GPU (qz_packed_to_device) x, y and the bias are there; x is F16 or BF16, y of its type or F32, columns next to each other, rows of x
 * at multiples of 16 bytes. Up to 64 tokens weights are exact; of more they are rounded once to the type of x. With a workspace the
 * product is enqueued and nothing is allocated or waited for: a stream that is being captured takes it. */
QZ_API qz_status qz_gemm_w4a16(const qz_tensor *x, const qz_packed *w, const qz_tensor *y, const qz_gemm_options *opts);
QZ_API qz_status qz_gemm_w8a16(const qz_tensor *x, const qz_packed *w, const qz_tensor *y, const qz_gemm_options *opts);
/* The same for matrices whose scheme has inputs of 8 bits (w8a8, w8a8s, llm-int8): x is rounded as the scheme says, integers are
 * multiplied, their sums within a group are exact; LLM.int8()'s columns with a number of 6 or more in any row of x are not rounded (its
 * section 3.2), so that rows of one call depend on each other there. A row of x with a NaN or an infinity gives a row without a finite
 * number. */
QZ_API qz_status qz_gemm_w8a8(const qz_tensor *x, const qz_packed *w, const qz_tensor *y, const qz_gemm_options *opts);
/* Bytes of scratch that this product needs on the device of w; 0 on the CPU. Data is not read, only shapes, strides, types and alignment.
 */
QZ_API qz_status qz_gemm_workspace(const qz_tensor *x, const qz_packed *w, const qz_tensor *y, const qz_gemm_options *opts,
                                   uint64_t *bytes);
QZ_API void qz_packed_free(qz_packed *p);

#ifdef __cplusplus
}
#endif
#endif
