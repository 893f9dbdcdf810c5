// Caps on what an untrusted file may ask for. Exceeding one is an error before anything is allocated. Settable by
// qz_context_set("limits.<field>", "<number>").
#pragma once
#include <cstdint>

namespace qz {

struct Limits {
  uint64_t header_bytes = 100'000'000;  // one safetensors header (the reference reader's cap)
  uint64_t config_bytes = 16u << 20;    // config.json and its siblings
  uint64_t index_bytes = 256u << 20;    // model.safetensors.index.json, tokenizer.json
  uint64_t json_depth = 64;             // nesting of a configuration file; a safetensors header has at most 3
  uint64_t tensors_per_file = 1u << 20;
  uint64_t tensors_per_model = 1u << 22;
  uint64_t dims = 8;
  uint64_t name_bytes = 4096;
  uint64_t layers = 4096;
  uint64_t hidden = 1u << 20;
  uint64_t vocab = 1u << 24;
  uint64_t heads = 1u << 16;
  uint64_t experts = 4096;
};

}  // namespace qz
