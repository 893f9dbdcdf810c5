#pragma once
#include "format/format.h"

namespace qz {

// GGUF: one tensor of blocks per module. quantization_config, which only exists in memory, lists the types of modules:
// {"quant_method": "gguf", "types": {"model.layers.0.mlp.up_proj": "q4_k"}}.
Format gguf_format();

}  // namespace qz
