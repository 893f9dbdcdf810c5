// What programs take beside the model, as others measured it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qz {

struct RuntimeRow {
  std::string_view tool;        // "" = a program with few kernels and no allocator of its own
  const char* what;             // "CUDA context and kernels"
  uint64_t low, typical, high;  // bytes on the device
  int64_t kv_block;             // tokens of a page of keys and values; 1: contiguous
  int64_t latent_group;         // as KvLayout has it
  std::string_view source;
};

const std::vector<RuntimeRow>& runtime_rows();
// The row of a tool; the first row for one that has none.
const RuntimeRow& find_runtime(std::string_view tool);

}  // namespace qz
