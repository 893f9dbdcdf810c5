#pragma once
#include "format/format.h"

namespace qz {

// What transformers saves of models that bitsandbytes quantized: NF4 and FP4 with a quant_state, LLM.int8() with SCB.
Format bitsandbytes_format();

// bitsandbytes_config.cc
Result<Json> bitsandbytes_config(const PlanSummary& plan);
Result<std::optional<StoredScheme>> bitsandbytes_stored_scheme(const Json& config, std::string_view module);
// "bfloat16" and the like; "float32" for kNone.
const char* torch_name(DType dtype);
DType torch_dtype(std::string_view name);  // kNone: not one of the three

}  // namespace qz
