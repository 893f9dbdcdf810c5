// NVIDIA GPUs through NVML, which is opened at run time: no link dependency, and no CUDA context (cudaMemGetInfo would
// make one, a few hundred megabytes on the GPU).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace qz {

struct NvmlGpu {
  std::string name;                                                 // "NVIDIA H100 80GB HBM3"
  int32_t capability = 0;                                           // 10 * major + minor; 0: not told
  int32_t cores = 0;                                                // CUDA cores; 0: not told
  uint64_t memory_total = 0, memory_used = 0, memory_reserved = 0;  // bytes; reserved (by the driver) is not in used
  uint64_t bandwidth = 0;  // bytes per second from bus width and clock; 0: not told
  bool mig = false;        // cut into parts: the figures are the whole card's
};

struct NvmlReport {
  std::vector<NvmlGpu> gpus;
  std::string driver;  // its version; "" without one
  std::string why;     // why there are no GPUs, in words; "" if there are
};

// Never fails: what is not here is said in `why`.
NvmlReport read_nvml();

}  // namespace qz
