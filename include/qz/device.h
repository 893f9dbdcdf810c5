/* qz/device.h - what is here to compute on. */
#ifndef QZ_DEVICE_H
#define QZ_DEVICE_H
#include "context.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct qz_device_info {
  uint32_t struct_size;
  int32_t units; /* CPU: cores that the affinity mask and the cgroup quota allow */
  qz_device device;
  char name[64];         /* "AMD EPYC" */
  char arch[16];         /* instruction set of the kernels: "avx512" "avx2" "ref" */
  uint64_t memory_total; /* bytes, the cgroup's limit respected */
  uint64_t memory_free;  /* bytes available now */
} qz_device_info;

/* At least 1: the CPU is device 0. */
QZ_API size_t qz_device_count(const qz_context *ctx);
/* out->struct_size says how much room there is. */
QZ_API qz_status qz_device_get(const qz_context *ctx, size_t i, qz_device_info *out);

#ifdef __cplusplus
}
#endif
#endif
