#include "estimate/nvml.h"

#include <dlfcn.h>

#include <cstring>

namespace qz {
namespace {

// The few declarations of nvml.h that are needed; its ABI is stable (NVIDIA, NVML API reference).
using Device = void*;
struct Memory {
  unsigned long long total, free, used;
};
struct Memory2 {
  unsigned int version;
  unsigned long long total, reserved, free, used;
};
constexpr unsigned int kMemory2Version = sizeof(Memory2) | 2u << 24;
constexpr unsigned int kMemoryClock = 2;
constexpr int kSuccess = 0;

constexpr char kLibrary[] = "libnvidia-ml.so.1";

// Opens the library, starts NVML, and undoes both.
class Nvml {
 public:
  Nvml() : handle_(dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL)) {
    if (!handle_) {
      const char* words = dlerror();
      why_ = std::string(kLibrary) + ", a part of NVIDIA's driver, cannot be opened: " + (words ? words : "?");
      return;
    }
    const auto init = find<int (*)()>("nvmlInit_v2");
    if (!init) {
      why_ = std::string(kLibrary) + " has no nvmlInit_v2: the driver is older than 2012 or it is another library";
      return;
    }
    const int status = init();
    started_ = status == kSuccess;
    if (!started_) why_ = "NVML does not start: " + words(status);
  }
  ~Nvml() {
    if (started_)
      if (const auto shutdown = find<int (*)()>("nvmlShutdown")) shutdown();
    if (handle_) dlclose(handle_);
  }
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  bool started() const { return started_; }
  const std::string& why() const { return why_; }
  template <class F>
  F find(const char* name) const {
    return reinterpret_cast<F>(dlsym(handle_, name));
  }
  std::string words(int status) const {
    const auto text = find<const char* (*)(int)>("nvmlErrorString");
    return (text ? text(status) : "status") + std::string(" (") + std::to_string(status) + ")";
  }

 private:
  void* handle_ = nullptr;
  bool started_ = false;
  std::string why_;
};

// Bytes per second: two transfers a clock over the whole bus.
uint64_t bandwidth_of(const Nvml& nvml, Device device) {
  const auto width = nvml.find<int (*)(Device, unsigned int*)>("nvmlDeviceGetMemoryBusWidth");
  const auto clock = nvml.find<int (*)(Device, unsigned int, unsigned int*)>("nvmlDeviceGetMaxClockInfo");
  unsigned int bits = 0, mhz = 0;
  if (!width || !clock || width(device, &bits) != kSuccess || clock(device, kMemoryClock, &mhz) != kSuccess) return 0;
  return 2ull * mhz * 1'000'000 * bits / 8;
}

void read_memory(const Nvml& nvml, Device device, NvmlGpu* gpu) {
  if (const auto second = nvml.find<int (*)(Device, Memory2*)>("nvmlDeviceGetMemoryInfo_v2")) {
    Memory2 m = {};
    m.version = kMemory2Version;
    if (second(device, &m) == kSuccess) {
      gpu->memory_total = m.total;
      gpu->memory_used = m.used;
      gpu->memory_reserved = m.reserved;
      return;
    }
  }
  Memory m = {};
  const auto first = nvml.find<int (*)(Device, Memory*)>("nvmlDeviceGetMemoryInfo");
  if (!first || first(device, &m) != kSuccess) return;
  gpu->memory_total = m.total;
  gpu->memory_used = m.used;
}

NvmlGpu read_gpu(const Nvml& nvml, Device device) {
  NvmlGpu gpu;
  char name[96] = "";
  if (const auto f = nvml.find<int (*)(Device, char*, unsigned int)>("nvmlDeviceGetName"))
    if (f(device, name, sizeof name) == kSuccess) gpu.name.assign(name, strnlen(name, sizeof name));
  int major = 0, minor = 0;
  if (const auto f = nvml.find<int (*)(Device, int*, int*)>("nvmlDeviceGetCudaComputeCapability"))
    if (f(device, &major, &minor) == kSuccess) gpu.capability = 10 * major + minor;
  unsigned int cores = 0;
  if (const auto f = nvml.find<int (*)(Device, unsigned int*)>("nvmlDeviceGetNumGpuCores"))
    if (f(device, &cores) == kSuccess) gpu.cores = static_cast<int32_t>(cores);
  unsigned int mode = 0, pending = 0;
  if (const auto f = nvml.find<int (*)(Device, unsigned int*, unsigned int*)>("nvmlDeviceGetMigMode"))
    gpu.mig = f(device, &mode, &pending) == kSuccess && mode == 1;
  read_memory(nvml, device, &gpu);
  gpu.bandwidth = bandwidth_of(nvml, device);
  return gpu;
}

}  // namespace

NvmlReport read_nvml() {
  NvmlReport report;
  const Nvml nvml;
  report.why = nvml.why();
  if (!nvml.started()) return report;
  char driver[96] = "";
  if (const auto f = nvml.find<int (*)(char*, unsigned int)>("nvmlSystemGetDriverVersion"))
    if (f(driver, sizeof driver) == kSuccess) report.driver.assign(driver, strnlen(driver, sizeof driver));
  const auto count = nvml.find<int (*)(unsigned int*)>("nvmlDeviceGetCount_v2");
  const auto get = nvml.find<int (*)(unsigned int, Device*)>("nvmlDeviceGetHandleByIndex_v2");
  unsigned int n = 0;
  if (!count || !get) {
    report.why = std::string(kLibrary) + " cannot list devices: the driver is too old";
  } else if (const int status = count(&n); status != kSuccess) {
    report.why = "NVML cannot count devices: " + nvml.words(status);
  } else if (n == 0) {
    report.why = "the driver runs, but it shows this process no GPU";
  }
  for (unsigned int i = 0; i < n; i++) {
    Device device = nullptr;
    if (const int status = get(i, &device); status != kSuccess) {
      report.why = "GPU " + std::to_string(i) + " cannot be asked: " + nvml.words(status);
      continue;
    }
    report.gpus.push_back(read_gpu(nvml, device));
  }
  return report;
}

}  // namespace qz
