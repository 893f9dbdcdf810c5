// Descriptions as JSON. Each field of ArchDesc is named once, in visit_fields; reading, writing and the list of known
// keys follow.
#include <limits>
#include <list>

#include "arch/list.h"

namespace qz {
namespace {

// Calls v(name, field) for every field of `d`, which is an ArchDesc, const or not.
template <class Desc, class Visitor>
void visit_fields(Desc& d, Visitor& v) {
  v("name", d.name), v("hf_class", d.hf_class), v("model_type", d.model_type);
  v("layer", d.layer), v("embed", d.embed), v("positions", d.positions), v("final_norm", d.final_norm);
  v("head", d.head), v("project_in", d.project_in), v("project_out", d.project_out);
  v("attn_norm", d.attn_norm), v("mlp_norm", d.mlp_norm);
  v("q", d.q), v("k", d.k), v("v", d.v), v("o", d.o), v("q_norm", d.q_norm), v("k_norm", d.k_norm);
  v("gate", d.gate), v("up", d.up), v("down", d.down);
  v("biases", d.biases);
  v("norm", d.norm), v("position", d.position), v("position_offset", d.position_offset), v("mlp", d.mlp);
  v("default_window", d.default_window), v("default_tied", d.default_tied);
}

template <class Keys, class Visitor>
void visit_keys(Keys& k, Visitor& v) {
  v("hidden", k.hidden), v("layers", k.layers), v("heads", k.heads), v("kv_heads", k.kv_heads);
  v("head_dim", k.head_dim), v("intermediate", k.intermediate), v("vocab", k.vocab), v("max_seq", k.max_seq);
  v("norm_eps", k.norm_eps), v("activation", k.activation), v("embed_dim", k.embed_dim);
  v("norm_first", k.norm_first), v("no_final_norm", k.no_final_norm), v("window", k.window);
  v("use_window", k.use_window);
}

const char* word(NormKind v) { return v == NormKind::kRms ? "rms" : "layer"; }
const char* word(PositionKind v) { return v == PositionKind::kRope ? "rope" : "learned"; }
const char* word(MlpKind v) { return v == MlpKind::kGated ? "gated" : "plain"; }

struct Writer {
  Json out = Json::object();
  void operator()(const char* name, std::string_view v) { out[name] = std::string(v); }
  void operator()(const char* name, int32_t v) { out[name] = v; }
  void operator()(const char* name, bool v) { out[name] = v; }
  template <class Enum>
  void operator()(const char* name, Enum v) {
    out[name] = word(v);
  }
};

struct OwnedDesc {
  ArchDesc desc;
  std::list<std::string> strings;  // addresses stay
};

struct Reader {
  const Json& json;
  OwnedDesc& owner;
  std::vector<std::string> known;
  Status status;

  const Json* value(const char* name) {
    known.emplace_back(name);
    auto it = json.find(name);
    return it == json.end() || !status.ok() ? nullptr : &*it;
  }
  void wrong(const char* name, const char* expected) {
    status = error(Code::kInvalidArgument, "arch_json: '%s' must be %s", name, expected);
  }
  void operator()(const char* name, std::string_view& field) {
    const Json* v = value(name);
    if (v == nullptr) return;
    if (!v->is_string()) return wrong(name, "a string");
    field = owner.strings.emplace_back(v->get<std::string>());
  }
  void operator()(const char* name, int32_t& field) {
    const Json* v = value(name);
    if (v == nullptr) return;
    if (!v->is_number_unsigned() || v->get<uint64_t>() > 1u << 24) return wrong(name, "an integer from 0 to 2^24");
    field = v->get<int32_t>();
  }
  void operator()(const char* name, bool& field) {
    const Json* v = value(name);
    if (v == nullptr) return;
    if (!v->is_boolean()) return wrong(name, "true or false");
    field = v->get<bool>();
  }
  template <class Enum>
  void operator()(const char* name, Enum& field) {
    const Json* v = value(name);
    if (v == nullptr) return;
    const char* first = word(Enum{0});
    const char* second = word(Enum{1});
    if (v->is_string() && v->get<std::string>() == first) {
      field = Enum{0};
    } else if (v->is_string() && v->get<std::string>() == second) {
      field = Enum{1};
    } else {
      wrong(name, (std::string("\"") + first + "\" or \"" + second + "\"").c_str());
    }
  }
  // Keys of the JSON that no field has.
  Status finish() {
    if (!status.ok()) return status;
    for (const auto& item : json.items()) {
      bool found = false;
      for (const std::string& name : known) found = found || name == item.key();
      if (!found) return error(Code::kInvalidArgument, "arch_json: unknown key '%s'", item.key().c_str());
    }
    return {};
  }
};

Status check_desc(const ArchDesc& d) {
  const std::string_view required[] = {d.name, d.embed, d.q, d.k, d.v, d.o, d.up, d.down};
  for (std::string_view name : required) {
    if (name.empty())
      return error(Code::kInvalidArgument, "arch_json: name, embed, q, k, v, o, up and down must not be empty");
  }
  const size_t slot = d.layer.find("{}");
  if (slot == std::string_view::npos || d.layer.find("{}", slot + 2) != std::string_view::npos) {
    return error(Code::kInvalidArgument, "arch_json: 'layer' must contain {} once, found \"%s\"",
                 std::string(d.layer).c_str());
  }
  if (d.mlp == MlpKind::kGated && d.gate.empty()) {
    return error(Code::kInvalidArgument, "arch_json: 'gate' must not be empty when 'mlp' is \"gated\"");
  }
  if (d.position == PositionKind::kLearned && d.positions.empty()) {
    return error(Code::kInvalidArgument, "arch_json: 'positions' must not be empty when 'position' is \"learned\"");
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const ArchDesc>> arch_from_json(std::string_view text) {
  QZ_ASSIGN(const Json json, parse_json(text, "arch_json"));
  if (!json.is_object()) return error(Code::kInvalidArgument, "arch_json: must be an object");
  auto owner = std::make_shared<OwnedDesc>();
  Reader reader{json, *owner, {"base", "keys"}, {}};
  if (auto base = json.find("base"); base != json.end()) {
    const ArchDesc* found = nullptr;
    std::string names;
    for (const ArchDesc* d : architectures()) {
      if (base->is_string() && base->get<std::string>() == d->name) found = d;
      names += (names.empty() ? "" : ", ") + std::string(d->name);
    }
    if (found == nullptr) return error(Code::kInvalidArgument, "arch_json: 'base' must be one of %s", names.c_str());
    owner->desc = *found;
  }
  visit_fields(owner->desc, reader);
  QZ_TRY(reader.finish());
  if (auto keys = json.find("keys"); keys != json.end()) {
    if (!keys->is_object()) return error(Code::kInvalidArgument, "arch_json: 'keys' must be an object");
    Reader key_reader{*keys, *owner, {}, {}};
    visit_keys(owner->desc.keys, key_reader);
    QZ_TRY(key_reader.finish());
  }
  QZ_TRY(check_desc(owner->desc));
  return std::shared_ptr<const ArchDesc>(owner, &owner->desc);
}

Json arch_to_json(const ArchDesc& desc) {
  Writer writer, keys;
  visit_fields(desc, writer);
  visit_keys(desc.keys, keys);
  writer.out["keys"] = std::move(keys.out);
  return std::move(writer.out);
}

}  // namespace qz
