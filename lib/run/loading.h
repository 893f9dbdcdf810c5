// Puts plans and directories before the loaders' rules (estimate/loaders.h).
#pragma once
#include "estimate/loaders.h"
#include "run/plan.h"

namespace qz {

struct LoadTarget {
  std::string loader;
  int64_t tensor_parallel = 1;
  int32_t capability = 0;
};

// What the plan would make, stored in `format`. Errors: as resolve_plan has them, unknown loader.
Result<std::vector<LoadFinding>> check_plan(const Plan& plan, FormatId format, const LoadTarget& target);

// A directory, whoever wrote it: its schemes, and what loaders ask of the files around the weights.
Result<std::vector<LoadFinding>> check_model(const Model& model, const LoadTarget& target);

}  // namespace qz
