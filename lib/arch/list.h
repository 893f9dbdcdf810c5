// The families that are known, and the way to describe another.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "arch/desc.h"
#include "base/json.h"
#include "base/status.h"

namespace qz {

const std::vector<const ArchDesc*>& architectures();                                        // sorted by name
const ArchDesc* find_architecture(std::string_view hf_class, std::string_view model_type);  // nullptr: unknown

// A description in JSON: the fields of ArchDesc by name (enums as "rms" "layer" "rope" "learned" "gated" "plain";
// "base": the name of a table to start from). Unknown keys are errors. The returned pointer owns its strings.
Result<std::shared_ptr<const ArchDesc>> arch_from_json(std::string_view json);
Json arch_to_json(const ArchDesc& desc);

}  // namespace qz
