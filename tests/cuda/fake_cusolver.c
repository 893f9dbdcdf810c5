/* A libcusolver.so with the functions that cuda/cusolver.cc calls, on the host: what it is told is checked as cuSOLVER
 * would take it, and told on by fake_cusolver_last(). FAKE_LACKS_POTRS: an older one. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

enum { SUCCESS = 0, INVALID_VALUE = 3, UPPER = 1, R_32F = 0, DEVICE_BYTES = 1000, HOST_BYTES = 24 };

typedef struct {
  void *stream, *device_buffer, *host_buffer;
  int creates;
} last_call;
static last_call last;
static int handle, params;

const last_call* fake_cusolver_last(void);
const last_call* fake_cusolver_last(void) { return &last; }

int cusolverDnCreate(void** out);
int cusolverDnCreate(void** out) {
  *out = &handle;
  ++last.creates;
  return SUCCESS;
}
int cusolverDnCreateParams(void** out);
int cusolverDnCreateParams(void** out) {
  *out = &params;
  return SUCCESS;
}
int cusolverDnSetStream(void* h, void* stream);
int cusolverDnSetStream(void* h, void* stream) {
  last.stream = stream;
  return h == &handle ? SUCCESS : INVALID_VALUE;
}

int cusolverDnXpotrf_bufferSize(void* h, void* p, int uplo, int64_t n, int type, const void* a, int64_t lda,
                                int compute, size_t* device, size_t* host);
int cusolverDnXpotrf_bufferSize(void* h, void* p, int uplo, int64_t n, int type, const void* a, int64_t lda,
                                int compute, size_t* device, size_t* host) {
  (void)a;
  if (h != &handle || p != &params || uplo != UPPER || n < 1 || lda < n || type != R_32F || compute != R_32F)
    return INVALID_VALUE;
  *device = DEVICE_BYTES, *host = HOST_BYTES;
  return SUCCESS;
}

/* By columns: A = U^T U. */
int cusolverDnXpotrf(void* h, void* p, int uplo, int64_t n, int type, void* a, int64_t lda, int compute, void* device,
                     size_t device_bytes, void* host, size_t host_bytes, int* info);
int cusolverDnXpotrf(void* h, void* p, int uplo, int64_t n, int type, void* a, int64_t lda, int compute, void* device,
                     size_t device_bytes, void* host, size_t host_bytes, int* info) {
  float* u = a;
  int64_t i, j, k;
  if (h != &handle || p != &params || uplo != UPPER || n < 1 || lda < n || type != R_32F || compute != R_32F ||
      !device || device_bytes < DEVICE_BYTES || !host || host_bytes < HOST_BYTES)
    return INVALID_VALUE;
  last.device_buffer = device, last.host_buffer = host;
  for (j = 0; j < n; ++j) {
    for (i = 0; i <= j; ++i) {
      double sum = u[i + j * lda];
      for (k = 0; k < i; ++k) sum -= (double)u[k + i * lda] * (double)u[k + j * lda];
      if (i == j && !(sum > 0)) return *info = (int)(j + 1), SUCCESS;
      u[i + j * lda] = (float)(i == j ? sqrt(sum) : sum / (double)u[i + i * lda]);
    }
  }
  *info = 0;
  return SUCCESS;
}

#ifndef FAKE_LACKS_POTRS
int cusolverDnXpotrs(void* h, void* p, int uplo, int64_t n, int64_t count, int type, const void* a, int64_t lda,
                     int b_type, void* b, int64_t ldb, int* info);
int cusolverDnXpotrs(void* h, void* p, int uplo, int64_t n, int64_t count, int type, const void* a, int64_t lda,
                     int b_type, void* b, int64_t ldb, int* info) {
  const float* u = a;
  int64_t c, i, k;
  if (h != &handle || p != &params || uplo != UPPER || n < 1 || count < 1 || lda < n || ldb < n || type != R_32F ||
      b_type != R_32F || !info)
    return INVALID_VALUE;
  for (c = 0; c < count; ++c) {
    float* x = (float*)b + c * ldb;
    for (i = 0; i < n; ++i) {
      double sum = x[i];
      for (k = 0; k < i; ++k) sum -= (double)u[k + i * lda] * (double)x[k];
      x[i] = (float)(sum / (double)u[i + i * lda]);
    }
    for (i = n; i-- > 0;) {
      double sum = x[i];
      for (k = i + 1; k < n; ++k) sum -= (double)u[i + k * lda] * (double)x[k];
      x[i] = (float)(sum / (double)u[i + i * lda]);
    }
  }
  *info = 0;
  return SUCCESS;
}
#endif
