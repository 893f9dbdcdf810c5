#include "format/awq.h"
#include "format/bitsandbytes.h"
#include "format/compressed.h"
#include "format/eetq.h"
#include "format/fields.h"
#include "format/format.h"
#include "format/gguf.h"
#include "format/gptq.h"
#include "format/hqq.h"

namespace qz {

const std::vector<Format>& formats() {
  static const std::vector<Format> table = {gptq_format(GptqKind::kV1),
                                            gptq_format(GptqKind::kV2),
                                            gptq_format(GptqKind::kPlanar),
                                            compressed_format(),
                                            awq_format(),
                                            bitsandbytes_format(),
                                            hqq_format(),
                                            gguf_format(),
                                            eetq_format()};
  return table;
}

const Format* find_format(FormatId id) {
  if (id == FormatId::kDefault) id = FormatId::kCompressed;
  for (const Format& f : formats())
    if (f.id == id) return &f;
  return nullptr;
}

Result<const Format*> detect_format(const Json& config) {
  // quantize_config.json of old AutoGPTQ does not name its method.
  const char* unnamed = find_field(config, "config_groups") ? "compressed-tensors"
                        : find_field(config, "group_size")  ? "gptq"
                                                            : "";
  QZ_ASSIGN(std::string name, string_field(config, "quant_method", unnamed));
  if (name.empty()) return error(Code::kBadFile, "quantization_config: key 'quant_method' is missing");
  if (name == "gptq") {
    QZ_ASSIGN(const std::string format, string_field(config, "format", "gptq"));
    QZ_ASSIGN(name, string_field(config, "checkpoint_format", format));
    QZ_ASSIGN(const bool marlin, bool_field(config, "is_marlin_format", false));
    if (marlin) name = "marlin";
  }
  for (const Format& f : formats())
    if (f.name == name) return &f;
  std::string known;
  for (const Format& f : formats()) known.append(known.empty() ? "" : ", ").append(f.name);
  return error(Code::kUnsupported, "quantization_config: format '%.60s', expected one of %s", name.c_str(),
               known.c_str());
}

}  // namespace qz
