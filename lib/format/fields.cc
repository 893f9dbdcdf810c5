#include "format/fields.h"

#include <cmath>

#include "base/json.h"

namespace qz {
namespace {

Status wrong_type(const char* key, const Json& found, const char* expected) {
  return error(Code::kBadFile, "quantization_config: key '%s' is %s, expected %s", key, json_words(found).c_str(),
               expected);
}

}  // namespace

const Json* find_field(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

Result<int64_t> int_field(const Json& object, const char* key, int64_t fallback) {
  const Json* v = find_field(object, key);
  if (!v) return fallback;
  if (v->is_number_unsigned() && v->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)) return v->get<int64_t>();
  if (v->is_number_integer() && !v->is_number_unsigned()) return v->get<int64_t>();
  if (v->is_number_float()) {
    const double d = v->get<double>();
    if (std::trunc(d) == d && std::fabs(d) < 0x1p53) return static_cast<int64_t>(d);
  }
  return wrong_type(key, *v, "an integer");
}

Result<bool> bool_field(const Json& object, const char* key, bool fallback) {
  const Json* v = find_field(object, key);
  if (!v) return fallback;
  if (!v->is_boolean()) return wrong_type(key, *v, "true or false");
  return v->get<bool>();
}

Result<std::string> string_field(const Json& object, const char* key, const std::string& fallback) {
  const Json* v = find_field(object, key);
  if (!v) return fallback;
  if (!v->is_string()) return wrong_type(key, *v, "a string");
  return v->get<std::string>();
}

std::string json_words(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace qz
