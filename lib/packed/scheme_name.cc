// Names of schemes, both ways.
#include <charconv>

#include "packed/block_code.h"
#include "packed/scheme.h"

namespace qz {
namespace {

constexpr int32_t kTableBlock = 64;    // bitsandbytes' default
constexpr int32_t kNestedBlock = 256;  // the only one that bitsandbytes writes

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

void take_activations(std::string_view* rest, Scheme* s) {
  if (take_word(rest, "a8s"))
    s->activations = Activations::kTensor;
  else if (take_word(rest, "a8"))
    s->activations = Activations::kToken;
}

// What follows "w".
bool parse_integers(std::string_view* rest, Scheme* s) {
  s->group = kGroupRow;
  if (!take_number(rest, &s->bits)) return false;
  if (take_word(rest, "g")) {
    if (!take_number(rest, &s->group)) return false;
  } else if (take_word(rest, "tensor")) {
    s->group = kGroupTensor;
  } else {
    take_word(rest, "row");
  }
  take_activations(rest, s);
  if (s->activations != Activations::kNone) return true;
  if (take_word(rest, "f")) {
    s->symmetric = false;
    s->float_zero = true;
  } else if (take_word(rest, "a")) {
    s->symmetric = false;
  }
  take_activations(rest, s);
  return true;
}

bool parse_table(CodeKind code, std::string_view* rest, Scheme* s) {
  s->code = code;
  s->grouping = Grouping::kFlat;
  s->group = kTableBlock;
  if (take_word(rest, "b") && !take_number(rest, &s->group)) return false;
  if (take_word(rest, "-dq")) s->nested = kNestedBlock;
  return true;
}

bool parse_fp8(std::string_view* rest, Scheme* s) {
  s->code = CodeKind::kFp8;
  s->bits = 8;
  s->group = kGroupRow;
  if (take_word(rest, "b")) {
    s->grouping = Grouping::kTile;
    if (!take_number(rest, &s->group)) return false;
  } else if (take_word(rest, "g")) {
    if (!take_number(rest, &s->group)) return false;
  } else if (take_word(rest, "tensor")) {
    s->group = kGroupTensor;
  } else {
    take_word(rest, "row");
  }
  if (!take_word(rest, "-")) return true;
  take_activations(rest, s);
  return s->activations != Activations::kNone;
}

}  // namespace

Result<Scheme> scheme_preset(std::string_view name) {
  for (const BlockCode& block : block_codes())
    if (name == block.name) return block_scheme(block);
  Scheme s;
  std::string_view rest = name == "int8" ? std::string_view("w8") : name;
  bool ok = false;
  if (take_word(&rest, "w")) {
    ok = parse_integers(&rest, &s);
  } else if (take_word(&rest, "nf4")) {
    ok = parse_table(CodeKind::kNf4, &rest, &s);
  } else if (take_word(&rest, "fp4")) {
    ok = parse_table(CodeKind::kFp4, &rest, &s);
  } else if (take_word(&rest, "fp8")) {
    ok = parse_fp8(&rest, &s);
  } else if (take_word(&rest, "llm-int8")) {
    s = {CodeKind::kLlmInt8, 8, kGroupRow};
    s.activations = Activations::kOutliers;
    ok = true;
  }
  if (!ok || !rest.empty())
    return error(Code::kInvalidArgument,
                 "scheme '%.64s': expected w<bits>[g<columns>|row|tensor][a|f][a8|a8s] as in w4g128, "
                 "nf4[b<block>][-dq], fp4[b<block>][-dq], fp8[row|g<columns>|tensor|b<side>][-a8|-a8s], llm-int8 or a "
                 "block code "
                 "as q4_0",
                 std::string(name).c_str());
  if (Status status = check_scheme(s); !status.ok()) return status.with_prefix(std::string(name.substr(0, 64)));
  return s;
}

std::string scheme_name(const Scheme& s) {
  if (const BlockCode* block = find_block_code(s.code)) return block->name;
  const std::string_view activations = s.activations == Activations::kToken    ? "a8"
                                       : s.activations == Activations::kTensor ? "a8s"
                                                                               : "";
  std::string name;
  const auto add = [&](std::string_view word) {
    for (const char c : word) name.push_back(c);
  };
  switch (s.code) {
    case CodeKind::kLlmInt8:
      return "llm-int8";
    case CodeKind::kNf4:
    case CodeKind::kFp4:
      add(s.code == CodeKind::kNf4 ? "nf4" : "fp4");
      if (s.group != kTableBlock) add("b"), add(std::to_string(s.group));
      if (s.nested) add("-dq");
      return name;
    case CodeKind::kFp8:
      add("fp8");
      if (s.group == kGroupTensor) add("tensor");
      if (s.group > 0) add(s.grouping == Grouping::kTile ? "b" : "g"), add(std::to_string(s.group));
      if (!activations.empty()) add("-");
      add(activations);
      return name;
    default:
      break;
  }
  add("w"), add(std::to_string(s.bits));
  if (s.group == kGroupTensor) add("tensor");
  if (s.group > 0) add("g"), add(std::to_string(s.group));
  if (!s.symmetric) add(s.float_zero ? "f" : "a");
  add(activations);
  return name;
}

}  // namespace qz
