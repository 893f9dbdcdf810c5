// quantization_config of bitsandbytes models: transformers' BitsAndBytesConfig, 4.57 and 5. One kind of code for all
// modules; the head and what llm_int8_skip_modules names stay in 16 bits.
#include "base/json.h"
#include "format/bitsandbytes.h"
#include "format/fields.h"
#include "format/kept.h"

namespace qz {

const char* torch_name(DType dtype) {
  return dtype == DType::kF16 ? "float16" : dtype == DType::kBF16 ? "bfloat16" : "float32";
}

DType torch_dtype(std::string_view name) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
    if (name == torch_name(dtype)) return dtype;
  return DType::kNone;
}

Result<Json> bitsandbytes_config(const PlanSummary& plan) {
  QZ_ASSIGN(const Scheme s, common_scheme(plan, "bitsandbytes"));
  const bool int8 = s.code == CodeKind::kLlmInt8;
  bool head = false;
  for (const PlannedModule& m : plan.modules) head = head || (m.quantized && !m.in_block);
  Json config = Json::object();
  config["_load_in_4bit"] = !int8;
  config["_load_in_8bit"] = int8;
  config["bnb_4bit_compute_dtype"] = torch_name(s.compute);
  config["bnb_4bit_quant_storage"] = "uint8";
  config["bnb_4bit_quant_type"] = s.code == CodeKind::kNf4 ? "nf4" : "fp4";
  config["bnb_4bit_use_double_quant"] = s.nested != 0;
  config["llm_int8_enable_fp32_cpu_offload"] = false;
  config["llm_int8_has_fp16_weight"] = false;
  config["llm_int8_skip_modules"] = head || keeps_beside_head(plan) ? kept_names(plan) : Json();
  config["llm_int8_threshold"] = int8 && s.activations != Activations::kOutliers ? 0.0 : double{kOutlierThreshold};
  config["load_in_4bit"] = !int8;
  config["load_in_8bit"] = int8;
  config["quant_method"] = "bitsandbytes";
  return config;
}

Result<std::optional<StoredScheme>> bitsandbytes_stored_scheme(const Json& config, std::string_view module) {
  QZ_ASSIGN(const std::optional<bool> kept, listed_as_kept(config, "llm_int8_skip_modules", module));
  if (kept ? *kept : is_head_name(module)) return std::optional<StoredScheme>();
  // Old files have only the words without, some only those with an underscore.
  QZ_ASSIGN(const bool four_too, bool_field(config, "_load_in_4bit", false));
  QZ_ASSIGN(const bool four, bool_field(config, "load_in_4bit", four_too));
  QZ_ASSIGN(const bool eight_too, bool_field(config, "_load_in_8bit", false));
  QZ_ASSIGN(const bool eight, bool_field(config, "load_in_8bit", eight_too));
  if (four == eight)
    return error(Code::kBadFile, "quantization_config: load_in_4bit and load_in_8bit are both %s",
                 four ? "true" : "false");
  StoredScheme stored;
  stored.marker = "weight";
  if (eight) {
    QZ_ASSIGN(stored.scheme, scheme_preset("llm-int8"));
    const Json* threshold = find_field(config, "llm_int8_threshold");
    if (threshold && !threshold->is_number())
      return error(Code::kBadFile, "quantization_config: key 'llm_int8_threshold' is %s, expected a number",
                   json_words(*threshold).c_str());
    if (threshold && *threshold == 0) stored.scheme.activations = Activations::kToken;
    return std::optional<StoredScheme>(stored);
  }
  QZ_ASSIGN(const std::string type, string_field(config, "bnb_4bit_quant_type", "fp4"));
  QZ_ASSIGN(const bool nested, bool_field(config, "bnb_4bit_use_double_quant", false));
  if (type != "nf4" && type != "fp4")
    return error(Code::kUnsupported, "quantization_config: bnb_4bit_quant_type '%.60s', expected nf4 or fp4",
                 type.c_str());
  QZ_ASSIGN(stored.scheme, scheme_preset(nested ? type + "-dq" : type));
  return std::optional<StoredScheme>(stored);
}

}  // namespace qz
