#include "format/kept.h"

#include <algorithm>
#include <set>

#include "base/json.h"
#include "format/fields.h"
#include "format/pattern.h"

namespace qz {
namespace {

bool names_module(std::string_view key, std::string_view module) {
  if (key.empty()) return false;
  for (size_t at = module.find(key); at != std::string_view::npos; at = module.find(key, at + 1)) {
    const bool begins = at == 0 || module[at - 1] == '.' || key.front() == '.';
    const bool ends = at + key.size() == module.size() || module[at + key.size()] == '.' || key.back() == '.';
    if (begins && ends) return true;
  }
  return false;
}

}  // namespace

Result<std::optional<bool>> listed_as_kept(const Json& config, const char* key, std::string_view module) {
  const Json* list = find_field(config, key);
  if (!list) return std::optional<bool>();
  bool found = false;
  if (!list->is_array())
    return error(Code::kBadFile, "quantization_config: key '%s' is %s, expected a list of names", key,
                 json_words(*list).c_str());
  for (const Json& name : *list) {
    if (!name.is_string())
      return error(Code::kBadFile, "quantization_config: key '%s' holds %s, expected a name", key,
                   json_words(name).c_str());
    found = found || names_module(name.get_ref<const std::string&>(), module);
  }
  return std::optional<bool>(found);
}

bool is_head(const PlannedModule& module) { return !module.in_block && !module.elsewhere; }

std::string loader_pattern(const PlannedModule& module) {
  const bool below = module.elsewhere && module.ending.find('.') == std::string::npos;
  return std::string("^(model\\.)?")
      .append(module.elsewhere ? "" : "(language_model\\.)?(model\\.)?")
      .append(escape_pattern(module.ending))
      .append(below ? "(\\..*)?$" : "$");
}

std::vector<PlannedModule> kept_modules(const PlanSummary& plan) {
  const auto tower_of = [](const PlannedModule& m) { return m.ending.substr(0, m.ending.find('.')); };
  std::set<std::string> touched, listed;
  for (const PlannedModule& m : plan.modules)
    if (m.elsewhere && m.quantized) touched.insert(tower_of(m));
  std::vector<PlannedModule> kept;
  for (const PlannedModule& m : plan.modules) {
    if (m.quantized) continue;
    const std::string tower = tower_of(m);
    const bool whole = m.elsewhere && !m.ending.empty() && touched.count(tower) == 0;
    if (whole && !listed.insert(tower).second) continue;
    kept.push_back(m);
    if (whole) kept.back().name = kept.back().ending = tower;
  }
  return kept;
}

Json kept_names(const PlanSummary& plan) {
  Json names = Json::array();
  for (const PlannedModule& m : kept_modules(plan)) names.push_back(m.ending.empty() ? m.name : m.ending);
  if (std::none_of(plan.modules.begin(), plan.modules.end(), is_head)) names.push_back("lm_head");
  return names;
}

bool keeps_beside_head(const PlanSummary& plan) {
  for (const PlannedModule& m : plan.modules)
    if (!m.quantized && !(is_head(m) && is_head_name(m.name))) return true;
  return false;
}

bool is_head_name(std::string_view module) {
  const std::string_view last = module.substr(module.rfind('.') + 1);
  return last == "lm_head" || last == "embed_out";
}

Result<Scheme> common_scheme(const PlanSummary& plan, std::string_view format) {
  const PlannedModule* first = nullptr;
  const std::string label(format);
  for (const PlannedModule& m : plan.modules) {
    if (!m.quantized) continue;
    if (!first) first = &m;
    Scheme s = m.scheme;
    s.scale = first->scheme.scale;
    s.compute = first->scheme.compute;
    if (s != first->scheme)
      return error(Code::kUnsupported, "%s: has one scheme for all modules, found %s for '%s' and %s for '%s'",
                   label.c_str(), scheme_name(first->scheme).c_str(), first->name.c_str(),
                   scheme_name(m.scheme).c_str(), m.name.c_str());
  }
  if (!first) return error(Code::kInvalidArgument, "%s: the plan quantizes no module", label.c_str());
  return first->scheme;
}

}  // namespace qz
