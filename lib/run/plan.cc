#include "run/plan.h"

#include <algorithm>

#include "base/json.h"
#include "format/complete.h"
#include "method/list.h"
#include "run/options_json.h"
#include "transform/list.h"

namespace qz {

bool glob_match(std::string_view glob, std::string_view text) {
  // Iterative: on a mismatch fall back to the last star, one character further. Linear in practice, quadratic at worst.
  size_t g = 0, t = 0, star = std::string_view::npos, mark = 0;
  auto one = [&](size_t* at) {  // does the pattern element at *at take text[t]? moves *at past it
    if (glob[*at] == '?') return ++*at, true;
    if (glob[*at] == '[') {
      const size_t close = glob.find(']', *at + 1);
      if (close != std::string_view::npos) {
        const bool in = glob.substr(*at + 1, close - *at - 1).find(text[t]) != std::string_view::npos;
        *at = close + 1;
        return in;
      }
    }
    return glob[(*at)++] == text[t];
  };
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++, mark = t;
      continue;
    }
    size_t next = g;
    if (g < glob.size() && one(&next)) {
      g = next, t++;
      continue;
    }
    if (star == std::string_view::npos) return false;
    g = star + 1, t = ++mark;
  }
  while (g < glob.size() && glob[g] == '*') g++;
  return g == glob.size();
}

namespace {

bool rule_covers(const Rule& rule, const Module& module) {
  if (rule.glob == "*") return module.layer >= 0;
  return glob_match(rule.glob, module.name);
}

// One group is one group in any order.
bool needs_g_idx(const ModulePlan& p, const Module& module) {
  return p.method == Method::kGptq && p.gptq.order == Order::kGidx && p.scheme.groups(module.cols) > 1;
}

}  // namespace

const Rule* rule_of(const std::vector<Rule>& rules, const Module& module) {
  const Rule* found = nullptr;
  for (const Rule& r : rules)
    if (rule_covers(r, module)) found = &r;
  return found;
}

Plan::Plan(ModelPtr model) : model_(std::move(model)) {
  Rule all;
  all.glob = "*";
  rules_.push_back(all);
}

Status Plan::add_rule(Rule rule) {
  if (rule.method != Method::kKeep) QZ_TRY(check_scheme(rule.scheme));
  QZ_TRY(check_method(rule.method, rule.scheme));
  const auto& modules = model_->modules();
  if (std::none_of(modules.begin(), modules.end(), [&](const Module& m) { return rule_covers(rule, m); }))
    return error(Code::kInvalidArgument, "rule '%s' matches none of the %zu linear layers (the first is '%s')",
                 rule.glob.c_str(), modules.size(), modules.empty() ? "" : modules[0].name.c_str());
  for (const Module& m : modules)
    if (rule.method != Method::kKeep && !m.can_quantize && rule.glob == m.name)
      return error(Code::kUnsupported, "'%s' is %s and cannot be quantized", m.name.c_str(),
                   m.role == Role::kHead ? "tied to the embedding" : "part of the routing to experts");
  rules_.push_back(std::move(rule));
  return {};
}

Result<Plan> Plan::from_json(ModelPtr model, std::string_view text) {
  QZ_ASSIGN(const Json json, parse_json(text, "plan"));
  if (!json.is_object() || !json.contains("rules") || !json["rules"].is_array())
    return error(Code::kInvalidArgument, "plan: expected {\"rules\": [...]}");
  for (const auto& [key, value] : json.items())
    if (key != "rules") return error(Code::kInvalidArgument, "plan: unknown key '%s'", key.c_str());
  Plan plan(std::move(model));
  plan.rules_.clear();
  for (const Json& item : json["rules"]) {
    QZ_ASSIGN(Rule rule, rule_from_json(item));
    QZ_TRY(plan.add_rule(std::move(rule)));
  }
  return plan;
}

Json Plan::to_json() const {
  Json rules = Json::array();
  for (const Rule& rule : rules_) rules.push_back(rule_to_json(rule));
  return Json{{"rules", rules}};
}

namespace {

// What needs calibration tokens, in words.
std::string need_of(const ModulePlan& p) {
  if (p.method == Method::kGptq) return "be solved by GPTQ";
  if (const Transform* t = find_transform(p.transform.kind)) return "be rescaled by " + std::string(t->name);
  return "take inputs with a scale that is stored";
}

}  // namespace

bool ModulePlan::measures() const {
  if (method == Method::kKeep) return false;
  return method == Method::kGptq || transform.kind != TransformKind::kNone ||
         scheme.activations == Activations::kTensor;
}

Result<std::vector<ModulePlan>> resolve_plan(const Plan& plan, FormatId id, bool has_calibration) {
  const Model& model = *plan.model();
  const Format* format = find_format(id);
  if (!format || id == FormatId::kPlain)
    return error(Code::kInvalidArgument, "format %d is not one that stores codes", static_cast<int>(id));
  std::vector<ModulePlan> out;
  std::string problems;
  int count = 0;
  for (const Module& module : model.modules()) {
    const Rule* rule = rule_of(plan.rules(), module);
    ModulePlan p;
    if (!rule || rule->method == Method::kKeep || !module.can_quantize) {
      out.push_back(p);
      continue;
    }
    // No calibration token gets there.
    const bool blind = module.role == Role::kOther || (module.role == Role::kHead && model.config().pooled);
    p.method =
        rule->method == Method::kDefault ? default_method(rule->scheme, has_calibration && !blind) : rule->method;
    if (p.method == Method::kGptq && blind)
      return error(Code::kUnsupported, "'%s' is outside the blocks: it can be rounded, not solved by GPTQ",
                   module.name.c_str());
    p.scheme = rule->scheme;
    p.gptq = rule->gptq;
    p.transform = rule->transform;
    if (!has_calibration && p.measures())
      return error(Code::kInvalidArgument, "'%s' is to %s, but there are no calibration tokens", module.name.c_str(),
                   need_of(p).c_str());
    p.scheme = complete_scheme(*format, p.scheme, model.config().dtype, module.cols);
    if (plan.importance && p.method == Method::kRtn && p.scheme.is_block() && !(*plan.importance)[out.size()].empty())
      p.importance = (*plan.importance)[out.size()].data();
    Status s = check_outside(module, *format);
    if (s.ok()) s = format->can_store(p.scheme, module.rows, module.cols, needs_g_idx(p, module));
    if (!s.ok() && count++ < 4)
      problems += (problems.empty() ? "" : "; ") + module.name + " [" + std::to_string(module.rows) + ", " +
                  std::to_string(module.cols) + "]: " + s.text();
    out.push_back(p);
  }
  if (count > 4) problems += "; and " + std::to_string(count - 4) + " more";
  if (count)
    return error(Code::kUnsupported, "%.*s cannot store this plan: %s", static_cast<int>(format->name.size()),
                 format->name.data(), problems.c_str());
  return out;
}

Status check_outside(const Module& module, const Format& format) {
  const bool found_again = format.id == FormatId::kCompressed || format.id == FormatId::kBitsandbytes;
  if (module.role != Role::kOther || found_again) return {};
  return error(Code::kUnsupported, "modules outside the blocks are stored by compressed-tensors and bitsandbytes only");
}

PlannedModule describe_module(const Model& model, size_t module) {
  const Module& m = model.modules()[module];
  PlannedModule out;
  out.name = m.name;
  out.in_block = m.layer >= 0;
  out.elsewhere = m.role == Role::kOther;
  if (model.arch().text_config.empty()) return out;
  std::string_view ending = m.name;
  for (const std::string_view prefix : {model.arch().text_prefix, model.arch().text_body, std::string_view("model.")})
    if (!prefix.empty() && ending.substr(0, prefix.size()) == prefix) ending.remove_prefix(prefix.size());
  out.ending = ending;
  return out;
}

PlanSummary summarize_plan(const Model& model, const std::vector<ModulePlan>& modules) {
  PlanSummary summary;
  for (size_t i = 0; i < modules.size(); i++) {
    const ModulePlan& p = modules[i];
    PlannedModule m = describe_module(model, i);
    m.quantized = p.method != Method::kKeep;
    m.scheme = p.scheme;
    m.g_idx = needs_g_idx(p, model.modules()[i]);
    m.static_order = p.method == Method::kGptq && p.gptq.order == Order::kStatic;
    if (m.quantized && p.method == Method::kGptq) summary.damp = p.gptq.damp;
    summary.modules.push_back(m);
  }
  return summary;
}

}  // namespace qz
