// Numbers out of a JSON object that somebody else wrote: types are checked, missing keys are collected so that one
// message lists them all, and absurd values are refused before anything is multiplied or allocated.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/context.h"
#include "base/json_fwd.h"

namespace qz {

class ConfigReader {
 public:
  // `where` stands in front of every error: "config.json" or "config.json: rope_scaling".
  ConfigReader(const Context& context, const Json& object, std::string where)
      : context_(context), object_(object), where_(std::move(where)) {}

  // The value of a key ("a|b": of the first that is there); nullptr when it is absent or null.
  const Json* find(std::string_view key) const;

  // Which of the alternatives of a key is there; the first when none is.
  std::string name_of(std::string_view key) const;

  // An integer from min to max. `limit` names the setting that max comes from ("limits.layers"), or is "".
  int64_t integer(std::string_view key, int64_t min, int64_t max, const char* limit = "");  // required
  int64_t integer_or(std::string_view key, int64_t absent, int64_t min, int64_t max, const char* limit = "");
  // A finite number from min to max.
  double number(std::string_view key, double min, double max);  // required
  double number_or(std::string_view key, double absent, double min, double max);
  bool boolean_or(std::string_view key, bool absent);
  std::string text(std::string_view key);  // required
  std::string text_or(std::string_view key, const std::string& absent);

  void fail(Code code, std::string words);  // keeps the first failure
  void adopt(Status status);                // the failure of a nested object
  Status finish() const;                    // the missing keys, else the first wrong value, else ok

 private:
  void missing(std::string_view key);
  void wrong(std::string_view key, const std::string& expected, const Json& found);

  const Context& context_;
  const Json& object_;
  std::string where_;
  std::vector<std::string> missing_;
  Status status_;
};

// A value for a message: shortened, one line.
std::string describe_json(const Json& value);

}  // namespace qz
