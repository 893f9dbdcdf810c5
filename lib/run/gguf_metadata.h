// A model's numbers as GGUF's keys.
#pragma once
#include "format/gguf_names.h"
#include "io/gguf.h"
#include "model/model.h"

namespace qz {

// general.* and the family's keys. file_type: llama.cpp's number of the mix. kUnsupported: what its keys cannot say.
Status add_metadata(const Model& model, const GgufFamily& family, uint32_t file_type, GgufBuilder* out);

// The factors that llama.cpp wants as tensor rope_freqs.weight for Llama 3's scaling; empty: none.
std::vector<float> rope_factors(const ModelConfig& config);

}  // namespace qz
