#include "arch/list.h"

#include <algorithm>

#include "arch/tables.h"
#include "base/json.h"

namespace qz {
namespace {

std::string trim(std::string_view text) {
  const size_t first = text.find_first_not_of(' ');
  return first == std::string_view::npos ? "" : std::string(text.substr(first, text.find_last_not_of(' ') + 1 - first));
}

// How many conditions `when` has; -1 if one of them does not hold.
int count_conditions(std::string_view when, const Json& config) {
  int count = 0;
  for (const Condition& condition : conditions(when)) {
    const auto found = config.find(condition.key);
    if (found == config.end() || !condition.holds(*found)) return -1;
    ++count;
  }
  return count;
}

}  // namespace

bool Condition::holds(const Json& found) const {
  return found.dump(-1, ' ', true, Json::error_handler_t::replace) == value;
}

std::vector<Condition> conditions(std::string_view text) {
  std::vector<Condition> all;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view one = text.substr(0, comma);
    const size_t equals = std::min(one.find('='), one.size());
    all.push_back({trim(one.substr(0, equals)), trim(one.substr(std::min(equals + 1, one.size())))});
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return all;
}

const std::vector<const ArchDesc*>& architectures() {
  // clang-format off: one row a family
  static const std::vector<const ArchDesc*> all = {
      &kBert,
      &kBertClassifier,
      &kBloom,
      &kDeepseekV2,
      &kDeepseekV3,
      &kFalcon,
      &kFalcon11b,
      &kFalcon40b,
      &kFalconRw,
      &kGemma,
      &kGemma2,
      &kGemma3,
      &kGemma3Vision,
      &kGlm,
      &kGlm4,
      &kGpt2,
      &kGptNeox,
      &kHelium,
      &kInternlm2,
      &kInternlm3,
      &kInternvl,
      &kInternvlChat,
      &kLlama,
      &kMistral,
      &kMixtral,
      &kOpt,
      &kPhi3,
      &kQwen2,
      &kQwen25Vl,
      &kQwen2Moe,
      &kQwen2Vl,
      &kQwen3,
      &kQwen3Moe,
      &kRoberta,
      &kRobertaClassifier,
      &kStarcoder2,
  };
  // clang-format on
  return all;
}

namespace {

// Whether `name` is one of "A|B".
bool one_of(std::string_view names, std::string_view name) {
  while (!names.empty()) {
    const size_t end = std::min(names.find('|'), names.size());
    if (names.substr(0, end) == name) return true;
    names.remove_prefix(std::min(names.size(), end + 1));
  }
  return false;
}

}  // namespace

const ArchDesc* find_architecture(std::string_view hf_class, std::string_view model_type, const Json& config) {
  const ArchDesc* best = nullptr;
  int most = -1;
  for (const ArchDesc* desc : architectures()) {
    if (hf_class.empty() ? desc->model_type != model_type : !one_of(desc->hf_class, hf_class)) continue;
    const int count = count_conditions(desc->when, config);
    if (count > most) best = desc, most = count;
  }
  return best;
}

const ArchDesc* find_architecture(std::string_view hf_class, std::string_view model_type) {
  return find_architecture(hf_class, model_type, Json::object());
}

}  // namespace qz
