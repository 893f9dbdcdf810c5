// quantization_config of compressed-tensors directories: what releases 0.12 to 0.19, transformers 5 and vLLM read. Keys
// are sorted, as llm-compressor sorts them. scale_dtype and zp_dtype are left out of "weights": 0.12 refuses keys that
// it does not know, and later releases take their absence as null.
#include <algorithm>
#include <charconv>

#include "format/compressed.h"
#include "format/fields.h"
#include "format/pattern.h"

namespace qz {
namespace {

constexpr const char* kFormat = "pack-quantized";

struct Group {
  Scheme scheme;
  bool static_order = false;
  std::vector<std::string> names;
};

bool same_group(const Group& g, const PlannedModule& m) {
  return g.scheme.bits == m.scheme.bits && g.scheme.group == m.scheme.group &&
         g.scheme.symmetric == m.scheme.symmetric && g.static_order == m.static_order;
}

Json weights_json(const Group& g) {
  const Scheme& s = g.scheme;
  Json w = Json::object();
  w["actorder"] = g.static_order ? Json("static") : Json();
  w["block_structure"] = nullptr;
  w["dynamic"] = false;
  w["group_size"] = s.group > 0 ? Json(s.group) : Json();
  w["num_bits"] = s.bits;
  w["observer"] = "minmax";
  w["observer_kwargs"] = Json::object();
  w["strategy"] = s.group > 0 ? "group" : s.group == kGroupRow ? "channel" : "tensor";
  w["symmetric"] = s.symmetric;
  w["type"] = "int";
  return w;
}

// ---- reading

Status unsupported(const char* key, const Json& found, const char* expected) {
  return error(Code::kUnsupported, "quantization_config: %s is %s, expected %s", key, json_words(found).c_str(),
               expected);
}

// Targets and ignore lists hold module names, "re:" patterns and class names. 3 = the name itself, 2 = a pattern, 1 =
// the class Linear, 0 = no match: compressed-tensors and vLLM prefer them in this order.
Result<int> match_target(const Json& target, std::string_view module) {
  if (!target.is_string())
    return error(Code::kBadFile, "quantization_config: target %s, expected a string", json_words(target).c_str());
  const std::string& text = target.get_ref<const std::string&>();
  if (text == module) return 3;
  if (text == "Linear") return 1;
  if (text.rfind("re:", 0) != 0) return 0;
  Result<bool> match = match_pattern(std::string_view(text).substr(3), module);
  if (!match.ok()) return match.status().with_prefix("quantization_config: 're:'");
  return *match ? 2 : 0;
}

Result<int> match_targets(const Json* targets, const char* key, std::string_view module) {
  if (!targets) return 0;
  if (!targets->is_array())
    return error(Code::kBadFile, "quantization_config: key '%s' is %s, expected a list", key,
                 json_words(*targets).c_str());
  int best = 0;
  for (const Json& target : *targets) {
    QZ_ASSIGN(const int rank, match_target(target, module));
    best = std::max(best, rank);
  }
  return best;
}

// The group of config_groups that is meant for the module: the best match, of equals the first. nullptr if none.
Result<const Json*> find_group(const Json& config, std::string_view module) {
  const Json* groups = find_field(config, "config_groups");
  if (!groups || !groups->is_object())
    return error(Code::kBadFile, "quantization_config: key 'config_groups' is %s, expected an object",
                 groups ? json_words(*groups).c_str() : "missing");
  const Json* best = nullptr;
  int best_rank = 0;
  for (const auto& [name, group] : groups->items()) {
    if (!group.is_object()) return unsupported(("config_groups." + name).c_str(), group, "an object (no preset names)");
    QZ_ASSIGN(const int rank, match_targets(find_field(group, "targets"), "targets", module));
    if (rank > best_rank) best = &group, best_rank = rank;
  }
  return best;
}

// "0.16.1" and before: padded words.
bool is_dense(const std::string& version) {
  int major = 0, minor = 0;
  const char* end = version.data() + version.size();
  const auto first = std::from_chars(version.data(), end, major);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return true;
  if (std::from_chars(first.ptr + 1, end, minor).ec != std::errc()) return true;
  return major > 0 || minor >= 17;
}

Result<int32_t> read_group_size(const Json& weights) {
  QZ_ASSIGN(const int64_t size, int_field(weights, "group_size", 0));
  QZ_ASSIGN(const std::string strategy, string_field(weights, "strategy",
                                                     size > 0     ? "group"
                                                     : size == -1 ? "channel"
                                                                  : "tensor"));
  if (strategy == "channel") return kGroupRow;
  if (strategy == "tensor") return kGroupTensor;
  if (strategy != "group")
    return unsupported("weights.strategy", weights["strategy"], "\"group\", \"channel\" or \"tensor\"");
  if (size < 16 || size > 1024 || size % 8 != 0)
    return error(Code::kUnsupported, "quantization_config: group_size %lld, expected a multiple of 8 from 16 to 1024",
                 static_cast<long long>(size));
  return static_cast<int32_t>(size);
}

// null, false, "static" and "weight" leave no trace in the tensors; true, "group" and "dynamic" mean weight_g_idx.
Result<bool> read_order(const Json& weights) {
  const Json* order = find_field(weights, "actorder");
  if (!order || *order == false || *order == "static" || *order == "weight") return false;
  if (*order == true || *order == "group" || *order == "dynamic") return true;
  return unsupported("weights.actorder", *order, "null, \"static\", \"weight\" or \"group\"");
}

Result<StoredScheme> read_weights(const Json& weights) {
  StoredScheme stored;
  QZ_ASSIGN(const int64_t bits, int_field(weights, "num_bits", 8));
  if (bits < 2 || bits > 8)
    return error(Code::kUnsupported, "quantization_config: num_bits %lld, expected 2 to 8",
                 static_cast<long long>(bits));
  QZ_ASSIGN(const std::string type, string_field(weights, "type", "int"));
  if (type != "int") return unsupported("weights.type", weights["type"], "\"int\"");
  if (const Json* dynamic = find_field(weights, "dynamic"); dynamic && *dynamic != false)
    return unsupported("weights.dynamic", *dynamic, "false");
  stored.scheme.bits = static_cast<int32_t>(bits);
  QZ_ASSIGN(stored.scheme.group, read_group_size(weights));
  QZ_ASSIGN(stored.scheme.symmetric, bool_field(weights, "symmetric", true));
  QZ_ASSIGN(stored.g_idx, read_order(weights));
  return stored;
}

}  // namespace

Result<Json> compressed_config(const PlanSummary& plan) {
  std::vector<Group> groups;
  Json ignore = Json::array();
  bool head = false, dense_only = false;
  for (const PlannedModule& m : plan.modules) {
    head = head || !m.in_block;
    if (!m.quantized) {
      ignore.push_back(m.name);
      continue;
    }
    dense_only = dense_only || 32 % m.scheme.bits != 0;
    auto it = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return same_group(g, m); });
    if (it == groups.end()) it = groups.insert(groups.end(), {m.scheme, m.static_order, {}});
    it->names.push_back(m.name);
  }
  if (groups.empty()) return error(Code::kInvalidArgument, "compressed-tensors: the plan quantizes no module");
  if (!head) ignore.push_back("lm_head");  // a tied head is a Linear of its own in transformers
  Json config_groups = Json::object();
  for (size_t i = 0; i < groups.size(); ++i) {
    Json group = Json::object();
    group["format"] = kFormat;
    group["input_activations"] = nullptr;
    group["output_activations"] = nullptr;
    // With more than one scheme all modules are named: vLLM tries class names before the members of a fused layer, so
    // that "Linear" would take layers from the other groups.
    group["targets"] = groups.size() == 1 ? Json::array({"Linear"}) : Json(groups[i].names);
    group["weights"] = weights_json(groups[i]);
    config_groups[std::string("group_").append(std::to_string(i))] = std::move(group);
  }
  Json config = Json::object();
  config["config_groups"] = std::move(config_groups);
  config["format"] = kFormat;
  config["global_compression_ratio"] = nullptr;
  config["ignore"] = std::move(ignore);
  config["kv_cache_scheme"] = nullptr;
  config["quant_method"] = "compressed-tensors";
  config["quantization_status"] = "compressed";
  config["sparsity_config"] = Json::object();
  config["transform_config"] = Json::object();
  config["version"] = dense_only ? "0.17.0" : "0.12.2";  // the oldest release that reads what is written
  return config;
}

Result<std::optional<StoredScheme>> compressed_stored_scheme(const Json& config, std::string_view module) {
  QZ_ASSIGN(const int ignored, match_targets(find_field(config, "ignore"), "ignore", module));
  if (ignored) return std::optional<StoredScheme>();
  QZ_ASSIGN(const Json* group, find_group(config, module));
  if (!group) return std::optional<StoredScheme>();
  for (const char* key : {"input_activations", "output_activations"})
    if (const Json* found = find_field(*group, key)) return unsupported(key, *found, "null (weights only)");
  const Json* weights = find_field(*group, "weights");
  if (!weights) return std::optional<StoredScheme>();
  if (!weights->is_object()) return unsupported("weights", *weights, "an object");
  const Json* format = find_field(*group, "format");
  if (!format) format = find_field(config, "format");
  if (format && *format != kFormat) return unsupported("format", *format, "\"pack-quantized\"");
  if (const Json* sparsity = find_field(config, "sparsity_config"))
    if (const Json* kind = find_field(*sparsity, "format"); kind && *kind != "dense")
      return unsupported("sparsity_config.format", *kind, "\"dense\"");
  Result<StoredScheme> stored = read_weights(*weights);
  if (!stored.ok()) return stored.status().with_prefix(std::string(module));
  QZ_ASSIGN(const std::string version, string_field(config, "version", ""));
  stored->dense = is_dense(version);
  return std::optional<StoredScheme>(*stored);
}

}  // namespace qz
