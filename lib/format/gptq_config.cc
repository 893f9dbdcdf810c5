// quantization_config of GPTQ directories: what GPTQModel 7.7, transformers 5 and vLLM read and write.
//
// `dynamic`: an ordered map from a regular expression over module names (matched from the beginning, the first that
// matches wins) to what differs from the defaults; "-:" in front means kept in 16 bit, "+:" or nothing means quantized
// with these. GPTQModel and vLLM honour it; vLLM before it learned to split fused names only for modules that it does
// not fuse; transformers on its own does not, so a model with `dynamic` needs GPTQModel there.
//
// sym false: vLLM has no kernel for it any more, and GPTQModel refuses "gptq" (v1) unless it made the file itself:
// "gptq_v2" is the layout for asymmetric models.
#include <algorithm>

#include "base/json.h"
#include "format/fields.h"
#include "format/gptq.h"
#include "format/kept.h"
#include "format/pattern.h"

namespace qz {
namespace {

// What `dynamic` can override.
struct Words {
  int32_t bits = 4, group = 128;
  bool sym = true, desc_act = false;
  bool operator==(const Words&) const = default;
};

Words words_of(const PlannedModule& m) { return {m.scheme.bits, m.scheme.group, m.scheme.symmetric, m.g_idx}; }

// The words that most quantized modules share; of equals the one that comes first.
Words most_common(const std::vector<PlannedModule>& modules) {
  std::vector<std::pair<Words, int64_t>> counts;
  for (const PlannedModule& m : modules) {
    if (!m.quantized) continue;
    const Words w = words_of(m);
    auto it = std::find_if(counts.begin(), counts.end(), [&](const auto& c) { return c.first == w; });
    if (it == counts.end())
      counts.emplace_back(w, 1);
    else
      ++it->second;
  }
  return std::max_element(counts.begin(), counts.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

// Takes bits, group_size, sym and desc_act from `object`, where they are there.
Status read_words(const Json& object, Words* w) {
  QZ_ASSIGN(const int64_t bits, int_field(object, "bits", w->bits));
  QZ_ASSIGN(const int64_t group, int_field(object, "group_size", w->group));
  QZ_ASSIGN(w->sym, bool_field(object, "sym", w->sym));
  QZ_ASSIGN(w->desc_act, bool_field(object, "desc_act", w->desc_act));
  if (bits < 2 || bits > 8)
    return error(Code::kUnsupported, "quantization_config: bits %lld, expected 2 to 8", static_cast<long long>(bits));
  if (group != -1 && (group < 16 || group > 1024 || group % 8 != 0))
    return error(Code::kUnsupported,
                 "quantization_config: group_size %lld, expected a multiple of 8 from 16 to 1024, or -1",
                 static_cast<long long>(group));
  w->bits = static_cast<int32_t>(bits);
  w->group = static_cast<int32_t>(group);
  return {};
}

// modules_in_block_to_quantize (AutoGPTQ, transformers): lists of lists of names within a block; the others are kept.
Result<bool> listed(const Json& lists, std::string_view module) {
  if (lists.is_string()) {
    const std::string& name = lists.get_ref<const std::string&>();
    return module.size() >= name.size() && module.substr(module.size() - name.size()) == name &&
           (module.size() == name.size() || module[module.size() - name.size() - 1] == '.');
  }
  if (!lists.is_array())
    return error(Code::kBadFile,
                 "quantization_config: key 'modules_in_block_to_quantize' holds %s, expected lists of names",
                 json_words(lists).c_str());
  for (const Json& entry : lists) {
    QZ_ASSIGN(const bool found, listed(entry, module));
    if (found) return true;
  }
  return false;
}

// The first rule of `dynamic` that matches: nullptr if none does. *kept is set by a rule that excludes.
Result<const Json*> find_rule(const Json& dynamic, std::string_view module, bool* kept) {
  if (!dynamic.is_object())
    return error(Code::kBadFile, "quantization_config: key 'dynamic' is %s, expected an object",
                 json_words(dynamic).c_str());
  for (const auto& [key, value] : dynamic.items()) {
    const bool exclude = key.rfind("-:", 0) == 0, include = key.rfind("+:", 0) == 0;
    Result<bool> match = match_pattern(std::string_view(key).substr(exclude || include ? 2 : 0), module);
    if (!match.ok()) return match.status().with_prefix("quantization_config: dynamic");
    if (!*match) continue;
    *kept = exclude;
    if (!exclude && !value.is_object())
      return error(Code::kBadFile, "quantization_config: dynamic '%.200s' is %s, expected an object", key.c_str(),
                   json_words(value).c_str());
    return &value;
  }
  return nullptr;
}

}  // namespace

Result<Json> gptq_config(const PlanSummary& plan, GptqKind kind) {
  const auto quantized = [](const PlannedModule& m) { return m.quantized; };
  if (std::none_of(plan.modules.begin(), plan.modules.end(), quantized))
    return error(Code::kInvalidArgument, "%s: the plan quantizes no module", gptq_name(kind));
  const Words base = most_common(plan.modules);
  Json dynamic = Json::object();
  bool head = false;
  const auto pattern_of = [](const PlannedModule& m) {
    return m.ending.empty() ? std::string("^").append(escape_pattern(m.name)).append("$") : loader_pattern(m);
  };
  for (const PlannedModule& m : kept_modules(plan))
    if (!is_head(m) || !is_head_name(m.name))  // such a head is kept without being told
      dynamic["-:" + pattern_of(m)] = Json::object();
  for (const PlannedModule& m : plan.modules) {
    if (!m.quantized) continue;
    const std::string pattern = pattern_of(m);
    head = head || is_head(m);
    const Words w = words_of(m);
    Json differs = Json::object();
    if (w.bits != base.bits) differs["bits"] = w.bits;
    if (w.group != base.group) differs["group_size"] = w.group;
    if (w.sym != base.sym) differs["sym"] = w.sym;
    if (w.desc_act != base.desc_act) differs["desc_act"] = w.desc_act;
    if (!differs.empty()) dynamic[std::string("+:").append(pattern)] = std::move(differs);
  }
  Json config = Json::object();
  config["bits"] = base.bits;
  config["checkpoint_format"] = gptq_name(kind);
  config["damp_percent"] = plan.damp;
  config["desc_act"] = base.desc_act;
  if (!dynamic.empty()) config["dynamic"] = std::move(dynamic);
  config["group_size"] = base.group;
  config["lm_head"] = head;
  config["meta"] = {{"quantizer", {"libqz:" QZ_VERSION_TEXT}}};
  config["pack_dtype"] = "int32";
  config["quant_method"] = "gptq";
  config["sym"] = base.sym;
  return config;
}

std::vector<ConfigFile> gptq_extra_files(const Json& quantization_config) {
  return {{"quantize_config.json", dump_json(quantization_config)}};
}

Result<std::optional<StoredScheme>> gptq_stored_scheme(const Json& config, std::string_view module, GptqKind kind) {
  QZ_ASSIGN(const std::string pack_dtype, string_field(config, "pack_dtype", "int32"));
  if (pack_dtype != "int32" && pack_dtype != "torch.int32")
    return error(Code::kUnsupported, "quantization_config: pack_dtype '%.60s', expected int32", pack_dtype.c_str());
  QZ_ASSIGN(const bool head, bool_field(config, "lm_head", false));
  // GPTQ tools leave the head alone unless "lm_head" is true.
  if (is_head_name(module) && !head) return std::optional<StoredScheme>();
  if (const Json* lists = find_field(config, "modules_in_block_to_quantize"); lists && !is_head_name(module)) {
    QZ_ASSIGN(const bool found, listed(*lists, module));
    if (!found) return std::optional<StoredScheme>();
  }
  if (!find_field(config, "bits")) return error(Code::kBadFile, "quantization_config: key 'bits' is missing");
  Words w;
  QZ_TRY(read_words(config, &w));
  if (const Json* dynamic = find_field(config, "dynamic")) {
    bool kept = false;
    QZ_ASSIGN(const Json* rule, find_rule(*dynamic, module, &kept));
    if (kept) return std::optional<StoredScheme>();
    if (rule) QZ_TRY(read_words(*rule, &w).with_prefix(std::string(module)));
  }
  if (kind != GptqKind::kPlanar && w.bits > 4 && w.bits < 8)
    return error(Code::kUnsupported, "quantization_config: bits %d in checkpoint_format '%s', expected 2, 3, 4 or 8",
                 w.bits, gptq_name(kind));
  StoredScheme stored;
  stored.scheme = {CodeKind::kInt, w.bits, w.group, w.sym, DType::kNone};
  stored.g_idx = w.desc_act;
  return std::optional<StoredScheme>(stored);
}

}  // namespace qz
