// The metadata of a GGUF file and config.json.
#pragma once
#include <string>

#include "arch/desc.h"
#include "base/json_fwd.h"
#include "base/status.h"
#include "format/gguf_names.h"
#include "io/gguf.h"

namespace qz {

struct GgufFacts {  // what the tensors add to the metadata
  int64_t vocab = 0;
  bool tied = false;
  DType dtype = DType::kF16;      // of what is not quantized
  std::vector<float> rope_freqs;  // factors of the rotary base; empty: none
};

// config.json of a file of this family. kBadFile names the key.
Result<Json> config_from_gguf(const std::string& file, const Json& metadata, const GgufFamily& family,
                              const ArchDesc& desc, const GgufFacts& facts);

}  // namespace qz
