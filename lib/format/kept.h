// Lists of modules that a quantization_config leaves in 16 bits.
#pragma once
#include <string_view>

#include "base/json_fwd.h"
#include "base/status.h"
#include "format/format.h"

namespace qz {

// Whether the list under `key` names the module: its whole name, a part between dots, or its beginning or end there, as
// transformers' should_convert_module reads it. nullopt: there is no list. kBadFile if it is no list of names.
Result<std::optional<bool>> listed_as_kept(const Json& config, const char* key, std::string_view module);

// A regular expression for the module whatever a loader calls it; only of modules with an ending.
std::string loader_pattern(const PlannedModule& module);
// The modules that the plan keeps: those elsewhere as one where all below their first name are kept, by which it is
// then called.
std::vector<PlannedModule> kept_modules(const PlanSummary& plan);
bool is_head(const PlannedModule& module);
// The names of the modules that the plan keeps, the head among them even when it is tied: in transformers it is a
// Linear of its own.
Json kept_names(const PlanSummary& plan);
// Whether a module other than a head by its usual name is kept: else the list may be left out, because tools keep the
// head unasked.
bool keeps_beside_head(const PlanSummary& plan);
// lm_head and its other names.
bool is_head_name(std::string_view module);

// The scheme that all quantized modules share; kUnsupported names the first that differs, because the format has one
// for the whole model. scale and compute may differ. kInvalidArgument if none is quantized.
Result<Scheme> common_scheme(const PlanSummary& plan, std::string_view format);

}  // namespace qz
