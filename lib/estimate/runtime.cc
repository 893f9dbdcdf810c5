#include "estimate/runtime.h"

namespace qz {
namespace {
constexpr uint64_t mib(uint64_t n) { return n << 20; }
}  // namespace

const std::vector<RuntimeRow>& runtime_rows() {
  static const std::vector<RuntimeRow> table = {
      {"", "CUDA context and kernels", mib(287), mib(426), mib(667), 1, 0,
       "pytorch #86509 (lazy and eager loading), unslothai/unsloth-zoo #1053"},
      {"vllm", "CUDA context, CUDA graphs", mib(512), mib(1024), mib(2048), 16, 128,
       "vLLM's profile run: weights + peak + graphs; block size 16"},
      {"transformers", "CUDA context, first kernels, caching allocator", mib(667), mib(1343), mib(2048), 1, 0,
       "Hugging Face, model memory anatomy (1,343 MB in its example)"},
      {"llama.cpp", "context, scheduler, compute buffer", mib(150), mib(254), mib(400), 1, 0,
       "gguf-parser-go: 250 MiB platform footprint, 4 MiB scheduler"},
  };
  return table;
}

const RuntimeRow& find_runtime(std::string_view tool) {
  for (const RuntimeRow& row : runtime_rows())
    if (row.tool == tool) return row;
  return runtime_rows().front();
}

}  // namespace qz
