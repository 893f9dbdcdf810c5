#include "method/list.h"

#include "method/hqq.h"
#include "method/mse.h"
#include "method/rtn.h"

namespace qz {
namespace {

bool by_rows(const Scheme& s) { return s.grouping == Grouping::kRow && s.nested == 0; }

bool any(const Scheme&) { return true; }

bool rounded(const Scheme& s) {
  return s.code == CodeKind::kInt ? by_rows(s) : s.nested == 0 || s.grouping == Grouping::kFlat;
}

bool solved(const Scheme& s) {
  return s.is_grid() || s.is_block() || s.code == CodeKind::kNf4 || s.code == CodeKind::kFp4 ||
         s.code == CodeKind::kFp8;
}

bool ranges(const Scheme& s) { return s.is_grid(); }

bool float_zeros(const Scheme& s) { return s.float_zero && by_rows(s); }

Result<QMatrix> hqq_round(const Context& context, MatrixView w, const Scheme& scheme, int32_t) {
  return hqq(context, w, scheme, HqqOptions());
}

}  // namespace

const std::vector<MethodRow>& methods() {
  static const std::vector<MethodRow> table = {
      {Method::kKeep, "keep", any, nullptr},
      {Method::kRtn, "rtn", rounded, rtn},
      {Method::kGptq, "gptq", solved, nullptr},
      {Method::kHqq, "hqq", float_zeros, hqq_round},
      {Method::kMse, "mse", ranges, round_within_range},
  };
  return table;
}

const MethodRow* find_method(Method id) {
  for (const MethodRow& m : methods())
    if (m.id == id) return &m;
  return nullptr;
}

const MethodRow* find_method(std::string_view name) {
  for (const MethodRow& m : methods())
    if (m.name == name) return &m;
  return nullptr;
}

std::string_view method_name(Method id) {
  const MethodRow* m = find_method(id);
  return m ? m->name : "default";
}

Method default_method(const Scheme& scheme, bool has_calibration) {
  if (scheme.float_zero) return Method::kHqq;
  return has_calibration && solved(scheme) ? Method::kGptq : Method::kRtn;
}

Status check_method(Method method, const Scheme& scheme) {
  const MethodRow* m = find_method(method);
  if (!m || m->makes(scheme)) return {};
  return error(Code::kUnsupported, "method %s does not make codes of scheme %s", m->name.data(),
               scheme_name(scheme).c_str());
}

}  // namespace qz
