#include "model/config_reader.h"

#include <charconv>
#include <cmath>

#include "base/json.h"

namespace qz {

std::string describe_json(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

const Json* ConfigReader::find(std::string_view key) const {
  if (!object_.is_object()) return nullptr;
  while (!key.empty()) {
    const size_t bar = key.find('|');
    const auto it = object_.find(std::string(key.substr(0, bar)));
    if (it != object_.end() && !it->is_null()) return &*it;
    key = bar == std::string_view::npos ? "" : key.substr(bar + 1);
  }
  return nullptr;
}

std::string ConfigReader::name_of(std::string_view key) const {
  for (std::string_view rest = key; !rest.empty();) {
    const size_t bar = rest.find('|');
    if (find(rest.substr(0, bar)) != nullptr) return std::string(rest.substr(0, bar));
    rest = bar == std::string_view::npos ? "" : rest.substr(bar + 1);
  }
  return std::string(key.substr(0, key.find('|')));
}

void ConfigReader::fail(Code code, std::string words) {
  if (status_.ok()) status_ = Status(code, where_ + ": " + words);
}

void ConfigReader::adopt(Status status) {
  if (status_.ok()) status_ = std::move(status);
}

void ConfigReader::missing(std::string_view key) { missing_.push_back(name_of(key)); }

void ConfigReader::wrong(std::string_view key, const std::string& expected, const Json& found) {
  fail(Code::kBadFile, name_of(key) + " must be " + expected + ", found " + describe_json(found));
}

int64_t ConfigReader::integer(std::string_view key, int64_t min, int64_t max, const char* limit) {
  if (find(key) == nullptr) missing(key);
  return integer_or(key, min, min, max, limit);
}

int64_t ConfigReader::integer_or(std::string_view key, int64_t absent, int64_t min, int64_t max, const char* limit) {
  const Json* value = find(key);
  if (value == nullptr) return absent;
  int64_t n = 0;
  bool fits = true;
  if (value->is_number_unsigned()) {
    fits = value->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
    if (fits) n = value->get<int64_t>();
  } else if (value->is_number_integer()) {
    n = value->get<int64_t>();
  } else if (value->is_number_float() && std::floor(value->get<double>()) == value->get<double>() &&
             std::abs(value->get<double>()) < 1e15) {  // some writers emit 4096.0
    n = static_cast<int64_t>(value->get<double>());
    context_.log(LogLevel::kWarn, "%s: %s is written as %s, an integer was expected", where_.c_str(),
                 name_of(key).c_str(), describe_json(*value).c_str());
  } else {
    wrong(key, "an integer", *value);
    return absent;
  }
  if (!fits || n < min || n > max) {
    const std::string source = limit[0] != '\0' ? std::string(" (") + limit + ")" : "";
    wrong(key, "from " + std::to_string(min) + " to " + std::to_string(max) + source, *value);
    return absent;
  }
  return n;
}

double ConfigReader::number(std::string_view key, double min, double max) {
  if (find(key) == nullptr) missing(key);
  return number_or(key, min, min, max);
}

double ConfigReader::number_or(std::string_view key, double absent, double min, double max) {
  const Json* value = find(key);
  if (value == nullptr) return absent;
  if (!value->is_number()) {
    wrong(key, "a number", *value);
    return absent;
  }
  const double n = value->get<double>();
  if (!(n >= min && n <= max)) {
    char low[32], high[32];
    *std::to_chars(low, low + sizeof low - 1, min).ptr = '\0';
    *std::to_chars(high, high + sizeof high - 1, max).ptr = '\0';
    wrong(key, std::string("from ") + low + " to " + high, *value);
    return absent;
  }
  return n;
}

bool ConfigReader::boolean_or(std::string_view key, bool absent) {
  const Json* value = find(key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) {
    wrong(key, "true or false", *value);
    return absent;
  }
  return value->get<bool>();
}

std::string ConfigReader::text(std::string_view key) {
  if (find(key) == nullptr) missing(key);
  return text_or(key, "");
}

std::string ConfigReader::text_or(std::string_view key, const std::string& absent) {
  const Json* value = find(key);
  if (value == nullptr) return absent;
  if (!value->is_string()) {
    wrong(key, "a string", *value);
    return absent;
  }
  return value->get<std::string>();
}

Status ConfigReader::finish() const {
  if (missing_.empty()) return status_;  // what else is wrong may only follow from what is missing
  std::string names;
  for (const std::string& key : missing_) names += (names.empty() ? "" : ", ") + key;
  return Status(Code::kBadFile, where_ + ": missing " + (missing_.size() == 1 ? "key " : "keys ") + names);
}

}  // namespace qz
