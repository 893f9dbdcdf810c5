// What is here to compute on, and what is not here and why.
#pragma once
#include <string>
#include <vector>

#include "base/context.h"
#include "base/json_fwd.h"
#include "estimate/capability.h"

namespace qz {

struct Ability {          // of a device
  std::string_view name;  // "int4" "int8" "bf16" "fp8" "fp4"
  Support support = Support::kUnknown;
  std::string why, source;
};

struct DeviceInfo {
  int32_t kind = 1, index = 0;  // DLPack's codes: 1 CPU, 2 CUDA
  int32_t units = 0;            // CPU: cores that may be used; GPU: CUDA cores, 0 = not told
  int32_t capability = 0;       // GPU: 10 * major + minor
  std::string name, arch;       // arch: "avx512", "sm_90"
  uint64_t memory_total = 0, memory_free = 0, bandwidth = 0;  // bytes; bytes per second, 0 = not known
  std::vector<Ability> abilities;                             // always the five, in this order
  std::vector<std::string> notes;
  bool computes = false;  // the CPU, and what a backend computes on
};

// Something that is not here, why, and the command or step that gets it.
struct Missing {
  std::string what, why, get;
};

struct DeviceReport {
  std::vector<DeviceInfo> devices;  // the CPU first
  std::vector<Missing> missing;
  std::string driver;  // NVIDIA's, "" without one
};

// engine: instruction set of the kernels in use ("avx512" "avx2" "ref").
DeviceReport read_devices(const Context& context, const std::string& engine);

// A device out of the tables, for estimates before one is bought: part of its name.
Result<DeviceInfo> device_from_name(const std::string& name);

Json device_to_json(const DeviceInfo& device);
Json devices_to_json(const DeviceReport& report);

}  // namespace qz
