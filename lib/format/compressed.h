// compressed-tensors, pack-quantized. Tensors are in compressed.cc, the words of the configuration in
// compressed_config.cc.
#pragma once
#include "format/format.h"

namespace qz {

Format compressed_format();

// See Format::config and stored_scheme.
Result<Json> compressed_config(const PlanSummary& plan);
Result<std::optional<StoredScheme>> compressed_stored_scheme(const Json& quantization_config, std::string_view module);

}  // namespace qz
