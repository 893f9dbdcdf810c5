/* qz/device.h - what is here to compute on. GPUs are asked through NVIDIA's management library, opened when needed: no CUDA context. */
#ifndef QZ_DEVICE_H
#define QZ_DEVICE_H
#include "context.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct qz_device_info {
  uint32_t struct_size;
  int32_t units; /* CPU: cores that the affinity mask and the cgroup quota allow; GPU: CUDA cores, 0 = not told */
  qz_device device;
  char name[64];                      /* "AMD EPYC" */
  char arch[16];                      /* CPU: instruction set of the kernels: "avx512_bf16" "avx2" "ref" ...; GPU: "sm_90" */
  uint64_t memory_total;              /* bytes, the cgroup's limit respected */
  uint64_t memory_free;               /* bytes available now */
  uint64_t bandwidth;                 /* bytes per second by the vendor's figures; 0 = not known: qz_device_measure() */
  int32_t int4, int8, bf16, fp8, fp4; /* matrix products of these types in hardware: 1 yes, -1 no, 0 not known */
  int32_t reserved;
} qz_device_info;

/* Bytes of memory that are in use. */
typedef struct qz_memory_usage {
  uint32_t struct_size, reserved;
  uint64_t host, host_peak;     /* resident memory of this process, now and at most since it started */
  uint64_t cgroup, cgroup_peak; /* everything in its cgroup; 0 = not told */
  uint64_t device;              /* of all NVIDIA GPUs, by all processes */
} qz_memory_usage;

/* At least 1: the CPU is device 0; NVIDIA GPUs follow, then what backends (docs/backends.md) list beyond them. device.index is the one of
 * the backend that computes on it, CUDA's of a GPU; where a backend computes on others of its kind, but not on it, -1. */
QZ_API size_t qz_device_count(const qz_context *ctx);
/* out->struct_size says how much room there is. */
QZ_API qz_status qz_device_get(const qz_context *ctx, size_t i, qz_device_info *out);
/* Bytes per second that the CPU, device 0, reads from memory. Takes about a second and 256 MiB. Others: QZ_STATUS_UNSUPPORTED. */
QZ_API qz_status qz_device_measure(const qz_context *ctx, size_t i, uint64_t *bandwidth);
/* Everything in words, as JSON: {"devices": [...], "missing": [{"what", "why", "get"}], "known_gpus": [...]}. A backend that does not open
 * is missing, with the reason. Zero-terminated; *need with the zero. */
QZ_API qz_status qz_device_to_json(const qz_context *ctx, char *buf, size_t cap, size_t *need);
/* A monitor may call it as often as it likes: about 50 microseconds without a GPU. */
QZ_API qz_status qz_device_usage(const qz_context *ctx, qz_memory_usage *out);

#ifdef __cplusplus
}
#endif
#endif
