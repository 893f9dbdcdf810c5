// Rules as JSON and back, for plans that people write and reports that they read.
#pragma once
#include "base/json_fwd.h"
#include "run/plan.h"

namespace qz {

// {"glob": "...", "method": the name of a method, "scheme": "w4g128", "gptq": {fields of GptqOptions},
// "transform": "none" | "awq" | "smoothquant", "awq": {"grid", "duo", "clip"}, "smoothquant": {"alpha": number or
// "searched"}}; all but glob optional. Unknown keys and values are kInvalidArgument, naming them.
Result<Rule> rule_from_json(const Json& json);
Json rule_to_json(const Rule& rule);
const char* order_name(Order order);
std::string_view transform_name(TransformKind kind);  // "none" "awq" "smoothquant"

}  // namespace qz
