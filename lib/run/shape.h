// A model's sizes, for lib/estimate: from tensor headers where there are files, else from the configuration and the
// family's table.
#pragma once
#include "estimate/shape.h"
#include "run/plan.h"

namespace qz {

ModelShape shape_of(const Model& model);

// Replaces the stored bytes of the linear layers by what the plan makes of them in `format`. Errors: as resolve_plan.
Status store_plan(const Plan& plan, FormatId format, ModelShape* shape);

}  // namespace qz
