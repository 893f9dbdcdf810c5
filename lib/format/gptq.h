// GPTQ directories in their three layouts. Tensors are in gptq.cc, the words of the configuration in gptq_config.cc.
#pragma once
#include "format/format.h"

namespace qz {

enum class GptqKind {
  kV1,      // "gptq": stored zero point = true one - 1
  kV2,      // "gptq_v2": true zero points
  kPlanar,  // "gptq_p": true zero points, codes in planes of bits; only GPTQModel reads it
};

Format gptq_format(GptqKind kind);
const char* gptq_name(GptqKind kind);  // its checkpoint_format

// See Format::config, extra_files and stored_scheme.
Result<Json> gptq_config(const PlanSummary& plan, GptqKind kind);
std::vector<ConfigFile> gptq_extra_files(const Json& quantization_config);
Result<std::optional<StoredScheme>> gptq_stored_scheme(const Json& quantization_config, std::string_view module,
                                                       GptqKind kind);

}  // namespace qz
