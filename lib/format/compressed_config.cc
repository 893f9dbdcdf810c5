// quantization_config of compressed-tensors directories: what releases 0.12 to 0.19, transformers 5 and vLLM read. Keys
// are sorted, as llm-compressor sorts them. scale_dtype and zp_dtype are left out of "weights": 0.12 refuses keys that
// it does not know, and later releases take their absence as null.
#include <algorithm>
#include <charconv>

#include "base/json.h"
#include "format/compressed.h"
#include "format/fields.h"
#include "format/kept.h"
#include "format/pattern.h"

namespace qz {
namespace {

constexpr const char* kPacked = "pack-quantized";

struct Group {
  Scheme scheme;
  bool static_order = false;
  std::vector<std::string> names;
};

std::string target_of(const PlannedModule& m) { return m.ending.empty() ? m.name : "re:" + loader_pattern(m); }

bool same_group(const Group& g, const PlannedModule& m) {
  Scheme s = m.scheme;  // the types of scales may differ
  s.scale = g.scheme.scale;
  s.compute = g.scheme.compute;
  return s == g.scheme && g.static_order == m.static_order;
}

const char* format_of(const Scheme& s) {
  if (s.code == CodeKind::kFp8) return "float-quantized";
  return s.bits == 8 && s.activations != Activations::kNone ? "int-quantized" : kPacked;
}

// What llm-compressor writes of 8-bit inputs; tiles of weights go with groups of inputs as wide (its FP8_BLOCK).
Json inputs_json(const Scheme& s) {
  if (s.activations == Activations::kNone) return Json();
  const bool dynamic = s.activations == Activations::kToken, tiles = s.grouping == Grouping::kTile;
  Json a = Json::object();
  a["actorder"] = nullptr;
  a["block_structure"] = nullptr;
  a["dynamic"] = dynamic;
  a["group_size"] = dynamic && tiles ? Json(s.group) : Json();
  a["num_bits"] = 8;
  a["observer"] = dynamic ? Json() : Json("minmax");
  a["observer_kwargs"] = Json::object();
  a["strategy"] = !dynamic ? "tensor" : tiles ? "group" : "token";
  a["symmetric"] = true;
  a["type"] = s.code == CodeKind::kFp8 ? "float" : "int";
  return a;
}

Json weights_json(const Group& g) {
  const Scheme& s = g.scheme;
  Json w = Json::object();
  w["actorder"] = g.static_order ? Json("static") : Json();
  const bool tiles = s.grouping == Grouping::kTile;
  w["block_structure"] = tiles ? Json({s.group, s.group}) : Json();
  w["dynamic"] = false;
  w["group_size"] = s.group > 0 && !tiles ? Json(s.group) : Json();
  w["num_bits"] = s.bits;
  w["observer"] = "minmax";
  w["observer_kwargs"] = Json::object();
  w["strategy"] = tiles ? "block" : s.group > 0 ? "group" : s.group == kGroupRow ? "channel" : "tensor";
  w["symmetric"] = s.symmetric;
  w["type"] = s.code == CodeKind::kFp8 ? "float" : "int";
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

Status read_groups(const Json& weights, Scheme* s) {
  QZ_ASSIGN(int64_t size, int_field(weights, "group_size", 0));
  QZ_ASSIGN(const std::string strategy, string_field(weights, "strategy",
                                                     size > 0     ? "group"
                                                     : size == -1 ? "channel"
                                                                  : "tensor"));
  if (strategy == "channel" || strategy == "tensor") {
    s->group = strategy == "channel" ? kGroupRow : kGroupTensor;
    return {};
  }
  const bool tiles = strategy == "block" && s->code == CodeKind::kFp8;
  if (strategy != "group" && !tiles)
    return unsupported("weights.strategy", weights["strategy"], "\"group\", \"channel\" or \"tensor\"");
  if (tiles) {
    const Json* sides = find_field(weights, "block_structure");
    if (!sides || !sides->is_array() || sides->size() != 2 || (*sides)[0] != (*sides)[1] ||
        !(*sides)[0].is_number_unsigned() || (*sides)[0] > 1024)
      return unsupported("weights.block_structure", sides ? *sides : Json(), "two equal numbers");
    size = (*sides)[0].get<int64_t>();
    s->grouping = Grouping::kTile;
  }
  if (size < 16 || size > 1024 || size % 8 != 0)
    return error(Code::kUnsupported, "quantization_config: group_size %lld, expected a multiple of 8 from 16 to 1024",
                 static_cast<long long>(size));
  s->group = static_cast<int32_t>(size);
  return {};
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
  if (type != "int" && !(type == "float" && bits == 8))
    return unsupported("weights.type", weights["type"], "\"int\", or \"float\" of 8 bits");
  if (const Json* dynamic = find_field(weights, "dynamic"); dynamic && *dynamic != false)
    return unsupported("weights.dynamic", *dynamic, "false");
  stored.scheme.bits = static_cast<int32_t>(bits);
  if (type == "float") stored.scheme.code = CodeKind::kFp8;
  QZ_TRY(read_groups(weights, &stored.scheme));
  QZ_ASSIGN(stored.scheme.symmetric, bool_field(weights, "symmetric", true));
  QZ_ASSIGN(stored.g_idx, read_order(weights));
  return stored;
}

// Whether the weights of the group are packed into words.
Result<bool> read_packed(const Json& config, const Json& group) {
  const Json* format = find_field(group, "format");
  if (!format) format = find_field(config, "format");
  if (!format || *format == kPacked) return true;
  for (const char* plain : {"int-quantized", "float-quantized", "naive-quantized"})
    if (*format == plain) return false;
  return unsupported("format", *format, "\"pack-quantized\", \"int-quantized\" or \"float-quantized\"");
}

Result<Activations> read_inputs(const Json& group, const Scheme& scheme) {
  const Json* inputs = find_field(group, "input_activations");
  if (!inputs) return Activations::kNone;
  if (!inputs->is_object()) return unsupported("input_activations", *inputs, "null or an object");
  QZ_ASSIGN(const int64_t bits, int_field(*inputs, "num_bits", 8));
  QZ_ASSIGN(const std::string type, string_field(*inputs, "type", "int"));
  QZ_ASSIGN(const bool symmetric, bool_field(*inputs, "symmetric", true));
  QZ_ASSIGN(const bool dynamic, bool_field(*inputs, "dynamic", false));
  QZ_ASSIGN(const std::string strategy, string_field(*inputs, "strategy", dynamic ? "token" : "tensor"));
  if (bits != 8 || !symmetric || type != (scheme.code == CodeKind::kFp8 ? "float" : "int"))
    return unsupported("input_activations", *inputs, "symmetric, 8 bits, of the type of the weights");
  if (dynamic && (strategy == "token" || strategy == "group")) return Activations::kToken;
  if (!dynamic && strategy == "tensor") return Activations::kTensor;
  return unsupported("input_activations.strategy", (*inputs)["strategy"],
                     "\"token\" of dynamic inputs or \"tensor\" of static ones");
}

}  // namespace

Result<Json> compressed_config(const PlanSummary& plan) {
  std::vector<Group> groups;
  Json ignore = Json::array();
  bool dense_only = false;
  for (const PlannedModule& m : kept_modules(plan)) ignore.push_back(target_of(m));
  for (const PlannedModule& m : plan.modules) {
    if (!m.quantized) continue;
    dense_only = dense_only || (m.scheme.code == CodeKind::kInt && 32 % m.scheme.bits != 0);
    auto it = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return same_group(g, m); });
    if (it == groups.end()) it = groups.insert(groups.end(), {m.scheme, m.static_order, {}});
    it->names.push_back(target_of(m));
  }
  if (groups.empty()) return error(Code::kInvalidArgument, "compressed-tensors: the plan quantizes no module");
  if (std::none_of(plan.modules.begin(), plan.modules.end(), is_head))
    ignore.push_back("lm_head");  // a tied head is a Linear of its own in transformers
  Json config_groups = Json::object();
  bool mixed = false;
  for (size_t i = 0; i < groups.size(); ++i) {
    Json group = Json::object();
    group["format"] = format_of(groups[i].scheme);
    mixed = mixed || group["format"] != format_of(groups[0].scheme);
    group["input_activations"] = inputs_json(groups[i].scheme);
    group["output_activations"] = nullptr;
    // With more than one scheme all modules are named: vLLM tries class names before the members of a fused layer, so
    // that "Linear" would take layers from the other groups.
    group["targets"] = groups.size() == 1 ? Json::array({"Linear"}) : Json(groups[i].names);
    group["weights"] = weights_json(groups[i]);
    config_groups[std::string("group_").append(std::to_string(i))] = std::move(group);
  }
  Json config = Json::object();
  config["config_groups"] = std::move(config_groups);
  config["format"] = mixed ? "mixed-precision" : format_of(groups[0].scheme);
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
  if (const Json* found = find_field(*group, "output_activations"))
    return unsupported("output_activations", *found, "null");
  const Json* weights = find_field(*group, "weights");
  if (!weights) return std::optional<StoredScheme>();
  if (!weights->is_object()) return unsupported("weights", *weights, "an object");
  QZ_ASSIGN(const bool packed, read_packed(config, *group));
  if (const Json* sparsity = find_field(config, "sparsity_config"))
    if (const Json* kind = find_field(*sparsity, "format"); kind && *kind != "dense")
      return unsupported("sparsity_config.format", *kind, "\"dense\"");
  Result<StoredScheme> stored = read_weights(*weights);
  if (!stored.ok()) return stored.status().with_prefix(std::string(module));
  if (!packed && stored->scheme.code == CodeKind::kInt && stored->scheme.bits != 8)
    return error(Code::kUnsupported, "%s: quantization_config: %d bits that are not packed, expected 8",
                 std::string(module).c_str(), stored->scheme.bits);
  QZ_ASSIGN(stored->scheme.activations, read_inputs(*group, stored->scheme));
  if (!packed) stored->marker = "weight";
  QZ_ASSIGN(const std::string version, string_field(config, "version", ""));
  stored->dense = is_dense(version);
  return std::optional<StoredScheme>(*stored);
}

}  // namespace qz
