// JSON from untrusted files: strict, size and depth limited, duplicate keys refused, key order kept.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/json_fwd.h"
#include "base/status.h"

namespace qz {

struct JsonLimits {
  uint64_t depth = 64;
  uint64_t values = 1u << 24;  // numbers, strings, objects … in one document
};

// `file` stands in front of every error. Duplicate keys, NaN and Infinity literals, invalid UTF-8, a byte-order mark,
// comments and trailing characters are refused, each with the byte offset.
Result<Json> parse_json(std::string_view text, const std::string& file, const JsonLimits& limits = {});

// Two-space indentation, keys in their order, a newline at the end; ASCII only.
std::string dump_json(const Json& json);

}  // namespace qz
