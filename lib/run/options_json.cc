#include "run/options_json.h"

#include <cmath>

#include "base/json.h"
#include "method/list.h"
#include "transform/list.h"

namespace qz {
namespace {

constexpr int32_t kMostRatios = 1000;
constexpr const char* kOrders[] = {"", "none", "static", "g_idx"};

template <size_t n>
Result<int32_t> index_of(const Json& value, const char* const (&names)[n], const char* what) {
  if (value.is_string())
    for (size_t i = 0; i < n; i++)
      if (names[i][0] && value == names[i]) return static_cast<int32_t>(i);
  return error(Code::kInvalidArgument, "plan: %s %s is not known", what,
               value.dump(-1, ' ', true, Json::error_handler_t::replace).c_str());
}

// One row a lever: how a JSON value of that name enters and leaves the options.
struct Lever {
  const char* name;
  Status (*read)(const Json&, GptqOptions*);
  Json (*write)(const GptqOptions&);
};

Status bad(const char* name, const char* expected) {
  return error(Code::kInvalidArgument, "plan: gptq.%s: expected %s", name, expected);
}

template <int32_t GptqOptions::* field, int32_t low, int32_t high>
Status read_int(const Json& j, GptqOptions* o, const char* name) {
  if (!j.is_number_integer() || j.get<int64_t>() < low || j.get<int64_t>() > high)
    return bad(name, "an integer in range");
  o->*field = j.get<int32_t>();
  return {};
}

Status wrong(const std::string& key, const char* expected) {
  return error(Code::kInvalidArgument, "plan: %s: expected %s", key.c_str(), expected);
}

// The levers of the transforms, by the transform that they belong to.
struct TransformLever {
  TransformKind kind;
  const char* name;
  Status (*read)(const Json&, const std::string& key, TransformOptions*);
  Json (*write)(const TransformOptions&);
};

template <bool TransformOptions::* field>
Status read_switch(const Json& j, const std::string& key, TransformOptions* o) {
  if (!j.is_boolean()) return wrong(key, "true or false");
  o->*field = j.get<bool>();
  return {};
}

const TransformLever kTransformLevers[] = {
    {TransformKind::kAwq, "grid",
     [](const Json& j, const std::string& key, TransformOptions* o) {
       if (!j.is_number_integer() || j.get<int64_t>() < 1 || j.get<int64_t>() > kMostRatios)
         return wrong(key, "an integer from 1 to 1000");
       o->grid = j.get<int32_t>();
       return Status();
     },
     [](const TransformOptions& o) { return Json(o.grid); }},
    {TransformKind::kAwq, "duo", read_switch<&TransformOptions::duo>,
     [](const TransformOptions& o) { return Json(o.duo); }},
    {TransformKind::kAwq, "clip", read_switch<&TransformOptions::clip>,
     [](const TransformOptions& o) { return Json(o.clip); }},
    {TransformKind::kSmoothQuant, "alpha",
     [](const Json& j, const std::string& key, TransformOptions* o) {
       if (j == "searched") return o->alpha = kSearchedAlpha, Status();
       if (!j.is_number() || !(j.get<double>() >= 0) || j.get<double>() > 1)
         return wrong(key, "\"searched\" or a number from 0 to 1");
       o->alpha = j.get<double>();
       return Status();
     },
     [](const TransformOptions& o) { return o.alpha == kSearchedAlpha ? Json("searched") : Json(o.alpha); }},
};

Status read_levers(const Transform& transform, const Json& json, TransformOptions* o) {
  for (const auto& [name, value] : json.items()) {
    const std::string key = std::string(transform.name) + "." + name;
    const TransformLever* lever = nullptr;
    for (const TransformLever& l : kTransformLevers)
      if (l.kind == transform.kind && name == l.name) lever = &l;
    if (!lever) return error(Code::kInvalidArgument, "plan: %s is not known", key.c_str());
    QZ_TRY(lever->read(value, key, o));
  }
  return {};
}

Result<Method> read_method(const Json& value) {
  if (value == method_name(Method::kDefault)) return Method::kDefault;
  for (const MethodRow& m : methods())
    if (value == m.name) return m.id;
  return error(Code::kInvalidArgument, "plan: method %s is not known",
               value.dump(-1, ' ', true, Json::error_handler_t::replace).c_str());
}

Result<TransformKind> read_transform(const Json& value) {
  std::string known;
  if (value == transform_name(TransformKind::kNone)) return TransformKind::kNone;
  for (const Transform& t : transforms()) {
    if (value == t.name) return t.kind;
    known.append(", ").append(t.name);
  }
  return error(Code::kInvalidArgument, "plan: transform %s, expected none%s",
               value.dump(-1, ' ', true, Json::error_handler_t::replace).c_str(), known.c_str());
}

const Transform* find_transform(std::string_view name) {
  for (const Transform& t : transforms())
    if (name == t.name) return &t;
  return nullptr;
}
template <bool GptqOptions::* field>
Status read_bool(const Json& j, GptqOptions* o, const char* name) {
  if (!j.is_boolean()) return bad(name, "true or false");
  o->*field = j.get<bool>();
  return {};
}
Status read_strength(const Json& j, double* to, const char* name) {
  if (j == "chosen") return *to = kChosen, Status();
  if (!j.is_number() || !(j.get<double>() >= 0) || j.get<double>() > 4)
    return bad(name, "\"chosen\" or a number from 0 to 4");
  *to = j.get<double>();
  return {};
}
Json write_strength(double v) { return v == kChosen ? Json("chosen") : Json(v); }

const Lever kLevers[] = {
    {"block", [](const Json& j, GptqOptions* o) { return read_int<&GptqOptions::block, 1, 4096>(j, o, "block"); },
     [](const GptqOptions& o) { return Json(o.block); }},
    {"order",
     [](const Json& j, GptqOptions* o) {
       QZ_ASSIGN(const int32_t i, index_of(j, kOrders, "order"));
       o->order = static_cast<Order>(i);
       return Status();
     },
     [](const GptqOptions& o) { return Json(kOrders[static_cast<int32_t>(o.order)]); }},
    {"sweeps", [](const Json& j, GptqOptions* o) { return read_int<&GptqOptions::sweeps, 0, 1000>(j, o, "sweeps"); },
     [](const GptqOptions& o) { return Json(o.sweeps); }},
    {"search", [](const Json& j, GptqOptions* o) { return read_bool<&GptqOptions::search>(j, o, "search"); },
     [](const GptqOptions& o) { return Json(o.search); }},
    {"signed_grid",
     [](const Json& j, GptqOptions* o) { return read_bool<&GptqOptions::signed_grid>(j, o, "signed_grid"); },
     [](const GptqOptions& o) { return Json(o.signed_grid); }},
    {"refit", [](const Json& j, GptqOptions* o) { return read_bool<&GptqOptions::refit>(j, o, "refit"); },
     [](const GptqOptions& o) { return Json(o.refit); }},
    {"allow_rtn_fallback",
     [](const Json& j, GptqOptions* o) {
       return read_bool<&GptqOptions::allow_rtn_fallback>(j, o, "allow_rtn_fallback");
     },
     [](const GptqOptions& o) { return Json(o.allow_rtn_fallback); }},
    {"damp",
     [](const Json& j, GptqOptions* o) {
       if (!j.is_number() || !(j.get<double>() > 0) || j.get<double>() > 1)
         return bad("damp", "a number above 0, at most 1");
       o->damp = j.get<double>();
       return Status();
     },
     [](const GptqOptions& o) { return Json(o.damp); }},
    {"metric", [](const Json& j, GptqOptions* o) { return read_int<&GptqOptions::metric, 0, 65536>(j, o, "metric"); },
     [](const GptqOptions& o) { return Json(o.metric); }},
    {"metric_ridge",
     [](const Json& j, GptqOptions* o) {
       if (!j.is_number() || !(j.get<double>() > 0) || j.get<double>() > 100)
         return bad("metric_ridge", "a number above 0, at most 100");
       o->metric_ridge = j.get<double>();
       return Status();
     },
     [](const GptqOptions& o) { return Json(o.metric_ridge); }},
    {"drift", [](const Json& j, GptqOptions* o) { return read_strength(j, &o->drift, "drift"); },
     [](const GptqOptions& o) { return write_strength(o.drift); }},
    {"residual", [](const Json& j, GptqOptions* o) { return read_strength(j, &o->residual, "residual"); },
     [](const GptqOptions& o) { return write_strength(o.residual); }},
};

}  // namespace

const char* order_name(Order order) { return kOrders[static_cast<int32_t>(order)]; }

std::string_view transform_name(TransformKind kind) {
  const Transform* t = find_transform(kind);
  return t ? t->name : "none";
}

Result<Rule> rule_from_json(const Json& json) {
  if (!json.is_object()) return error(Code::kInvalidArgument, "plan: a rule is an object");
  Rule rule;
  for (const auto& [key, value] : json.items()) {
    if (key == "glob" && value.is_string()) {
      rule.glob = value.get<std::string>();
    } else if (key == "method") {
      QZ_ASSIGN(rule.method, read_method(value));
    } else if (key == "scheme" && value.is_string()) {
      QZ_ASSIGN(rule.scheme, scheme_preset(value.get<std::string>()));
    } else if (key == "transform") {
      QZ_ASSIGN(rule.transform.kind, read_transform(value));
    } else if (const Transform* transform = find_transform(key); transform && value.is_object()) {
      QZ_TRY(read_levers(*transform, value, &rule.transform));
    } else if (key == "gptq" && value.is_object()) {
      for (const auto& [name, v] : value.items()) {
        const Lever* lever = nullptr;
        for (const Lever& l : kLevers)
          if (name == l.name) lever = &l;
        if (!lever) return error(Code::kInvalidArgument, "plan: gptq.%s is not known", name.c_str());
        QZ_TRY(lever->read(v, &rule.gptq));
      }
    } else {
      return error(Code::kInvalidArgument, "plan: key '%s' of a rule is unknown or of the wrong type", key.c_str());
    }
  }
  if (rule.glob.empty()) return error(Code::kInvalidArgument, "plan: a rule needs a glob");
  return rule;
}

Json rule_to_json(const Rule& rule) {
  Json json{{"glob", rule.glob}, {"method", method_name(rule.method)}};
  if (rule.method == Method::kKeep) return json;
  json["scheme"] = scheme_name(rule.scheme);
  if (const Transform* transform = find_transform(rule.transform.kind)) {
    json["transform"] = transform->name;
    for (const TransformLever& lever : kTransformLevers)
      if (lever.kind == transform->kind) json[std::string(transform->name)][lever.name] = lever.write(rule.transform);
  }
  if (const MethodRow* method = find_method(rule.method); method && method->round) return json;
  Json levers = Json::object();
  for (const Lever& lever : kLevers) levers[lever.name] = lever.write(rule.gptq);
  json["gptq"] = levers;
  return json;
}

}  // namespace qz
