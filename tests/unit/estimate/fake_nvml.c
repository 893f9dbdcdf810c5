/* Two cards as NVML shows them: an H100 and one that is newer than any table. FAKE_NVML=none: the driver sees no card;
 * =broken: it does not start. Signatures as in NVIDIA's NVML API reference. */
#include <stdlib.h>
#include <string.h>

struct memory2 {
  unsigned int version;
  unsigned long long total, reserved, free, used;
};

static int is(const char* word) {
  const char* value = getenv("FAKE_NVML");
  return value != NULL && strcmp(value, word) == 0;
}

#define API __attribute__((visibility("default")))
API int nvmlInit_v2(void);
API int nvmlShutdown(void);
API const char* nvmlErrorString(int status);
API int nvmlSystemGetDriverVersion(char* out, unsigned int size);
API int nvmlDeviceGetCount_v2(unsigned int* count);
API int nvmlDeviceGetHandleByIndex_v2(unsigned int i, void** device);
API int nvmlDeviceGetName(void* device, char* out, unsigned int size);
API int nvmlDeviceGetCudaComputeCapability(void* device, int* major, int* minor);
API int nvmlDeviceGetNumGpuCores(void* device, unsigned int* cores);
API int nvmlDeviceGetMemoryBusWidth(void* device, unsigned int* bits);
API int nvmlDeviceGetMaxClockInfo(void* device, unsigned int kind, unsigned int* mhz);
API int nvmlDeviceGetMemoryInfo_v2(void* device, struct memory2* memory);

static int cards[2];
static int first(const void* device) { return device == &cards[0]; }

int nvmlInit_v2(void) { return is("broken") ? 9 : 0; }
int nvmlShutdown(void) { return 0; }
const char* nvmlErrorString(int status) { return status == 9 ? "Driver Not Loaded" : "Unknown Error"; }
int nvmlSystemGetDriverVersion(char* out, unsigned int size) {
  strncpy(out, "580.95", size);
  return 0;
}
int nvmlDeviceGetCount_v2(unsigned int* count) {
  *count = is("none") ? 0 : 2;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int i, void** device) {
  if (i > 1) return 2;
  *device = &cards[i];
  return 0;
}
int nvmlDeviceGetName(void* device, char* out, unsigned int size) {
  strncpy(out, first(device) ? "NVIDIA H100 80GB HBM3" : "NVIDIA X9000", size);
  return 0;
}
int nvmlDeviceGetCudaComputeCapability(void* device, int* major, int* minor) {
  *major = first(device) ? 9 : 13;
  *minor = 0;
  return 0;
}
int nvmlDeviceGetNumGpuCores(void* device, unsigned int* cores) {
  *cores = first(device) ? 16896 : 1;
  return 0;
}
int nvmlDeviceGetMemoryBusWidth(void* device, unsigned int* bits) {
  *bits = first(device) ? 5120 : 512;
  return 0;
}
int nvmlDeviceGetMaxClockInfo(void* device, unsigned int kind, unsigned int* mhz) {
  if (kind != 2) return 2;
  *mhz = first(device) ? 2619 : 1000;
  return 0;
}
int nvmlDeviceGetMemoryInfo_v2(void* device, struct memory2* memory) {
  if (memory->version != (sizeof *memory | 2u << 24)) return 25;
  memory->total = first(device) ? 85520809984ull : 1ull << 30;
  memory->reserved = 600ull << 20;
  memory->used = first(device) ? 1ull << 30 : 900ull << 20;
  memory->free = memory->total - memory->reserved - memory->used;
  return 0;
}
