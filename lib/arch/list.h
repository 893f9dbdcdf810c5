// The families that are known, and the way to describe another.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "arch/desc.h"
#include "base/json_fwd.h"
#include "base/status.h"

namespace qz {

// What ArchDesc::when and ArchDesc::only say; of a piece without "=" the value is empty.
struct Condition {
  std::string key, value;  // the value as JSON
  bool holds(const Json& found) const;
};
std::vector<Condition> conditions(std::string_view text);

const std::vector<const ArchDesc*>& architectures();  // sorted by name
// The table for a class, or, without one, for a model_type; `config` decides between variants (ArchDesc::when).
// nullptr: unknown.
const ArchDesc* find_architecture(std::string_view hf_class, std::string_view model_type, const Json& config);
const ArchDesc* find_architecture(std::string_view hf_class, std::string_view model_type);  // of an empty config

// Where the names of a language part lie in a file.
enum class TextNames : int32_t { kPlain, kPrefixed, kInBody };
// The family of a language part as a part of `whole`: its own names, those behind text_prefix, or those with text_body
// instead of "model.". The returned pointer owns its strings and keeps both.
std::shared_ptr<const ArchDesc> language_part(std::shared_ptr<const ArchDesc> whole,
                                              std::shared_ptr<const ArchDesc> part, TextNames names);

// The same description with `prefix` in front of every name that ArchDesc::prefix is meant for, whose own is dropped.
// The returned pointer owns its strings and keeps `desc`.
std::shared_ptr<const ArchDesc> with_prefix(std::shared_ptr<const ArchDesc> desc, const std::string& prefix);

// A description in JSON: the fields of ArchDesc by name (enums as "rms" "layer" "rope" "learned" "gated" "plain";
// "base": the name of a table to start from). Unknown keys are errors. The returned pointer owns its strings.
Result<std::shared_ptr<const ArchDesc>> arch_from_json(std::string_view json);
Json arch_to_json(const ArchDesc& desc);

}  // namespace qz
