#include "model/biases.h"

#include <algorithm>

#include "base/json.h"

namespace qz {
namespace {

// True if `role` is one of the words of `list`.
bool listed(std::string_view list, std::string_view role) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(' '), list.size());
    if (list.substr(0, end) == role) return true;
    list.remove_prefix(std::min(list.size(), end + 1));
  }
  return false;
}

// The value of a boolean key; `absent` when it is not there.
bool flag(const Json& config, const char* key, bool absent) {
  const auto it = config.find(key);
  return it == config.end() || !it->is_boolean() ? absent : it->get<bool>();
}

struct Switch {
  const char* key;
  std::string_view roles;
};
constexpr Switch kSwitches[] = {{"attention_bias", "q k v qkv o"}, {"mlp_bias", "gate up gate_up down"}};

}  // namespace

bool expects_bias(const Json& config, const ArchDesc& desc, const Module& module) {
  const std::string_view role = role_name(module.role);
  for (const Switch& s : kSwitches)
    if (listed(s.roles, role) && config.contains(s.key)) return flag(config, s.key, false);
  return listed(desc.biases, role) && flag(config, "enable_bias", true);
}

}  // namespace qz
