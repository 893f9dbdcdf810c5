// Names only: which table explains most of the names in a file, and which names of other tables fill what is left.
#include "model/family_check.h"

#include <algorithm>
#include <map>
#include <set>

#include "arch/list.h"
#include "base/json.h"
#include "io/checkpoint.h"
#include "model/model.h"

namespace qz {
namespace {

constexpr size_t kMostNames = 40;  // names in one list

// Fields of a description that name a part of a block, and those that name something outside.
constexpr const char* kInBlock[] = {
    "attn_norm",   "attn_post_norm", "mlp_norm",  "mlp_post_norm", "qkv",         "q",         "k",
    "v",           "q_norm",         "k_norm",    "q_a",           "q_b",         "kv_a",      "kv_b",
    "q_a_norm",    "kv_a_norm",      "o",         "gate_up",       "gate",        "up",        "down",
    "router",      "expert_gate",    "expert_up", "expert_down",   "shared_gate", "shared_up", "shared_down",
    "shared_scale"};
constexpr const char* kOutside[] = {"embed", "positions", "final_norm", "head", "embed_norm"};
constexpr const char* kNeededKeys[] = {"hidden",       "layers",  "heads",    "vocab",
                                       "intermediate", "max_seq", "norm_eps", "activation"};

std::string text(const Json& table, const char* field) { return table.value(field, std::string()); }

bool is_number(std::string_view part) {
  return !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
}

// "model.layers.3.mlp.up_proj.weight" -> "model.layers.{}.mlp.up_proj"; "" for a tensor that is no weight.
std::string pattern_of(const std::string& tensor) {
  std::string out;
  size_t begin = 0;
  std::string_view last;
  while (begin <= tensor.size()) {
    const size_t end = std::min(tensor.find('.', begin), tensor.size());
    last = std::string_view(tensor).substr(begin, end - begin);
    if (end == tensor.size()) break;
    out.append(out.empty() ? "" : ".").append(is_number(last) ? "{}" : last);
    begin = end + 1;
  }
  return last == "weight" || last == "bias" ? out : "";
}

// What the tables call this field, each once.
std::set<std::string> words_for(const std::vector<Json>& tables, const char* field, bool key) {
  std::set<std::string> words;
  for (const Json& table : tables) words.insert(text(key ? table["keys"] : table, field));
  words.erase("");
  return words;
}

// A file's names, and where its blocks are.
struct Names {
  std::set<std::string> all;
  std::string layer;               // "model.layers.{}"
  std::set<std::string> in_block;  // below it
  bool has(const std::string& name) const { return all.count(name) != 0; }
};

Names read_names(const Checkpoint& checkpoint) {
  Names names;
  std::map<std::string, size_t> layers;
  for (const TensorInfo& t : checkpoint.tensors()) {
    const std::string pattern = pattern_of(t.name);
    if (pattern.empty()) continue;
    names.all.insert(pattern);
    if (const size_t slot = pattern.find("{}"); slot != std::string::npos) ++layers[pattern.substr(0, slot + 2)];
  }
  size_t most = 0;
  for (const auto& [layer, count] : layers)
    if (count > most) names.layer = layer, most = count;
  for (const std::string& name : names.all)
    if (name.size() > names.layer.size() + 1 && name.compare(0, names.layer.size(), names.layer) == 0)
      names.in_block.insert(name.substr(names.layer.size() + 1));
  return names;
}

// The fields of a table that count: a fused layer stands for its parts, a table without experts has no names of them.
bool counts(const Json& table, const std::string& field) {
  const bool fused_qkv = !text(table, "qkv").empty(), fused_up = !text(table, "gate_up").empty();
  if ((field == "q" || field == "k" || field == "v") && fused_qkv) return false;
  if ((field == "k" || field == "v") && !text(table, "kv_a").empty()) return false;
  if ((field == "gate" || field == "up") && fused_up) return false;
  if (field == "gate" && table["mlp"] == "plain") return false;
  if (field.rfind("expert_", 0) == 0 && text(table, "router").empty()) return false;
  return true;
}

std::map<std::string, std::string> block_names(const Json& table) {
  std::map<std::string, std::string> out;  // name -> field
  for (const char* field : kInBlock)
    if (const std::string name = text(table, field); !name.empty() && counts(table, field)) out[name] = field;
  return out;
}

// Shared names over all names, of a block.
double likeness(const Json& table, const Names& names) {
  const auto expected = block_names(table);
  size_t shared = 0;
  for (const auto& [name, field] : expected) shared += names.in_block.count(name);
  const size_t all = expected.size() + names.in_block.size() - shared;
  return all == 0 ? 0 : static_cast<double>(shared) / static_cast<double>(all);
}

std::string first_text(const Json& config, const char* key) {
  const auto it = config.find(key);
  if (it == config.end()) return "";
  const Json& value = it->is_array() && !it->empty() ? it->front() : *it;
  return value.is_string() ? value.get<std::string>() : "";
}

class Suggestion {
 public:
  Suggestion(const std::vector<Json>& tables, const Json& base, const Json& config, const Names& names)
      : tables_(tables), base_(base), config_(config), names_(names) {}

  Json make(FamilyCheck* check) {
    const std::string name = check->model_type.empty() ? check->hf_class : check->model_type;
    out_ = {{"base", text(base_, "name")}, {"name", name.empty() ? "mine" : name}};
    if (!check->hf_class.empty()) out_["hf_class"] = check->hf_class;
    if (!check->model_type.empty()) out_["model_type"] = check->model_type;
    if (!text(base_, "when").empty()) out_["when"] = "";
    for (const char* field : kOutside) outside(field, check);
    layer();
    blocks(check);
    keys(check);
    return std::move(out_);
  }

 private:
  std::string with_prefix(const std::string& name) const { return text(base_, "prefix") + name; }

  void layer() {
    const std::string base = text(base_, "layer");
    if (names_.layer == with_prefix(base) || names_.layer == base || names_.layer.empty()) return;
    out_["layer"] = names_.layer;
    out_["prefix"] = "";
  }

  // The base's name; else what another table calls it; else the base's under the file's own first word.
  void outside(const char* field, FamilyCheck* check) {
    const std::string mine = text(base_, field);
    if (mine.empty() || names_.has(with_prefix(mine)) || names_.has(mine)) return;
    std::set<std::string> words = words_for(tables_, field, false);
    const std::string stem = names_.layer.substr(0, names_.layer.rfind('.', names_.layer.rfind('.') - 1));
    for (const std::string& word : std::set<std::string>(words))
      words.insert(stem + "." + word.substr(word.rfind('.') + 1));
    for (const std::string& word : words) {
      if (!names_.has(word)) continue;
      out_[field] = word;
      return;
    }
    if (std::string(field) == "head") return;  // the embedding may be the head
    check->missing.push_back(mine);
  }

  void blocks(FamilyCheck* check) {
    std::set<std::string> unused = names_.in_block;
    const auto expected = block_names(base_);
    std::vector<std::pair<std::string, std::string>> open;  // field, name
    for (const auto& [name, field] : expected) {
      if (unused.erase(name) == 0) open.emplace_back(field, name);
    }
    for (const auto& [field, name] : open) {
      const std::set<std::string> words = words_for(tables_, field.c_str(), false);
      const auto found = std::find_if(words.begin(), words.end(), [&](const auto& w) { return unused.count(w) != 0; });
      if (found == words.end()) {
        check->missing.push_back(names_.layer + "." + name);
      } else {
        out_[field] = *found;
        unused.erase(*found);
      }
    }
    for (const std::string& name : unused) check->unused.push_back(names_.layer + "." + name);
  }

  void keys(FamilyCheck* check) {
    Json keys = Json::object();
    for (const char* field : kNeededKeys) {
      const std::string mine = text(base_["keys"], field);
      if (mine.empty() || has_key(mine)) continue;
      const std::set<std::string> words = words_for(tables_, field, true);
      const auto found = std::find_if(words.begin(), words.end(), [&](const auto& w) { return has_key(w); });
      if (found == words.end()) {
        check->missing_keys.push_back(mine);
      } else {
        keys[field] = *found;
      }
    }
    if (!keys.empty()) out_["keys"] = std::move(keys);
  }

  bool has_key(std::string_view key) const {
    while (!key.empty()) {
      const size_t end = std::min(key.find('|'), key.size());
      if (config_.contains(std::string(key.substr(0, end)))) return true;
      key.remove_prefix(std::min(key.size(), end + 1));
    }
    return false;
  }

  const std::vector<Json>& tables_;
  const Json& base_;
  const Json& config_;
  const Names& names_;
  Json out_;
};

}  // namespace

Result<FamilyCheck> check_family(ContextPtr context, const std::string& dir) {
  QZ_ASSIGN(const std::shared_ptr<const Checkpoint> checkpoint, Checkpoint::open(*context, dir));
  const Json& config = checkpoint->config();
  if (!config.is_object()) return error(Code::kBadFile, "%s/config.json: must be an object", dir.c_str());
  FamilyCheck check;
  check.hf_class = first_text(config, "architectures");
  check.model_type = first_text(config, "model_type");
  const Result<ModelPtr> opened = Model::open(context, dir);
  if (opened.ok()) {
    check.known = check.closest = (*opened)->arch().name;
    return check;
  }
  check.problem = opened.status().text();

  std::vector<Json> tables;
  for (const ArchDesc* desc : architectures())
    if (desc->text_config.empty()) tables.push_back(arch_to_json(*desc));
  const Names names = read_names(*checkpoint);
  const Json* base = &tables.front();
  for (const Json& table : tables)
    if (text(table, "name") == "llama") base = &table;  // of tables with the same names the plainest
  for (const Json& table : tables)
    if (likeness(table, names) > likeness(*base, names)) base = &table;
  check.closest = text(*base, "name");
  check.suggestion = Suggestion(tables, *base, config, names).make(&check);
  ModelOptions options;
  options.arch_json = dump_json(check.suggestion);
  check.still = Model::open(context, dir, options).status().text();
  return check;
}

Json family_check_to_json(const FamilyCheck& check) {
  const auto list = [](std::vector<std::string> names) {
    if (names.size() > kMostNames) names.resize(kMostNames);
    return Json(std::move(names));
  };
  return {{"architecture", check.hf_class}, {"model_type", check.model_type},
          {"known", check.known},           {"problem", check.problem},
          {"closest", check.closest},       {"missing", list(check.missing)},
          {"unused", list(check.unused)},   {"missing_keys", list(check.missing_keys)},
          {"arch_json", check.suggestion},  {"still", check.still}};
}

}  // namespace qz
