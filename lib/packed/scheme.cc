#include "packed/scheme.h"

#include <charconv>

namespace qz {

Status check_scheme(const Scheme& s) {
  if (s.code != CodeKind::kInt)
    return error(Code::kUnsupported, "scheme: code kind %d, expected 0 (integer)", static_cast<int>(s.code));
  if (s.bits != 2 && s.bits != 3 && s.bits != 4 && s.bits != 8)
    return error(Code::kInvalidArgument, "scheme: bits %d, expected 2, 3, 4 or 8", s.bits);
  if (s.group != kGroupRow && s.group != kGroupTensor && (s.group < 16 || s.group > 1024 || s.group % 8 != 0))
    return error(Code::kInvalidArgument,
                 "scheme: group %d, expected a multiple of 8 from 16 to 1024, -1 (row) or -2 (tensor)", s.group);
  if (s.scale != DType::kNone && !is_float(s.scale))
    return error(Code::kInvalidArgument, "scheme: scales of type %s, expected F16, BF16 or F32", dtype_name(s.scale));
  return {};
}

namespace {

// Takes a decimal number off the front of *text; false if there is none or it does not fit.
bool take_number(std::string_view* text, int32_t* out) {
  const auto [end, ec] = std::from_chars(text->data(), text->data() + text->size(), *out);
  if (ec != std::errc() || (*text)[0] == '-') return false;
  text->remove_prefix(static_cast<size_t>(end - text->data()));
  return true;
}

bool take_word(std::string_view* text, std::string_view word) {
  if (text->substr(0, word.size()) != word) return false;
  text->remove_prefix(word.size());
  return true;
}

}  // namespace

Result<Scheme> scheme_preset(std::string_view name) {
  Scheme s;
  s.group = kGroupRow;
  std::string_view rest = name == "int8" ? std::string_view("w8") : name;
  bool ok = take_word(&rest, "w") && take_number(&rest, &s.bits);
  if (ok && take_word(&rest, "g"))
    ok = take_number(&rest, &s.group);
  else if (ok && take_word(&rest, "tensor"))
    s.group = kGroupTensor;
  else if (ok)
    take_word(&rest, "row");
  if (ok && take_word(&rest, "a")) s.symmetric = false;
  if (!ok || !rest.empty())
    return error(Code::kInvalidArgument, "scheme '%.64s': expected w<bits>[g<columns>|row|tensor][a], as in w4g128",
                 std::string(name).c_str());
  if (Status status = check_scheme(s); !status.ok()) return status.with_prefix(std::string(name.substr(0, 64)));
  return s;
}

std::string scheme_name(const Scheme& s) {
  std::string name = "w";
  name += std::to_string(s.bits);
  if (s.group == kGroupTensor) name += "tensor";
  if (s.group > 0) name.append("g").append(std::to_string(s.group));
  if (!s.symmetric) name += "a";
  return name;
}

}  // namespace qz
