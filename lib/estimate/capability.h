// What NVIDIA GPUs can compute, as data: a cell says yes, no or not known, why, and who says so.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace qz {

enum class Support : int32_t { kNo = -1, kUnknown = 0, kYes = 1 };  // equals the fields of qz_device_info

struct Cell {
  Support support;
  std::string_view why;     // one sentence
  std::string_view source;  // who says so
};

// One compute capability; the cells are about matrix instructions of the tensor cores.
struct Capability {
  int32_t number;  // 10 * major + minor
  std::string_view family;
  Cell int4, int8, bf16, fp8, fp4;
};

// The row of `number`, or of the newest lower capability of the same major (instructions only grow within a major);
// nullptr: this table does not know the GPU.
const Capability* find_capability(int32_t number);
const std::vector<Capability>& capabilities();

// A GPU as its vendor sells it.
struct GpuModel {
  std::string_view name;  // part of NVML's name: "H100 80GB HBM3"
  int32_t capability;
  uint64_t memory;     // bytes that a driver shows are a few per cent fewer
  uint64_t bandwidth;  // bytes per second
  std::string_view source;
};
const std::vector<GpuModel>& gpu_models();
// The model whose name is part of `name`, the longest such; nullptr: none.
const GpuModel* find_gpu_model(std::string_view name);

}  // namespace qz
