// Keys of a quantization_config, typed. A missing key and null give the fallback; a wrong type is kBadFile with key and
// value.
#pragma once
#include <cstdint>
#include <string>

#include "base/json_fwd.h"
#include "base/status.h"

namespace qz {

// The value of `key`, or nullptr when `object` is no object, has no such key, or holds null there.
const Json* find_field(const Json& object, const char* key);
// Integral floats (4.0) are taken as integers: some writers make them.
Result<int64_t> int_field(const Json& object, const char* key, int64_t fallback);
Result<bool> bool_field(const Json& object, const char* key, bool fallback);
Result<std::string> string_field(const Json& object, const char* key, const std::string& fallback);

// A JSON value for an error message: at most 60 characters.
std::string json_words(const Json& value);

}  // namespace qz
