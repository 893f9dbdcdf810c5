// What each method makes.
#include "method/options.h"

namespace qz {
namespace {

bool is_table(const Scheme& s) {
  return s.code == CodeKind::kNf4 || s.code == CodeKind::kFp4 || s.code == CodeKind::kFp8;
}

}  // namespace

Method default_method(const Scheme& scheme, bool has_calibration) {
  if (scheme.float_zero) return Method::kHqq;
  return has_calibration && check_method(Method::kGptq, scheme).ok() ? Method::kGptq : Method::kRtn;
}

Status check_method(Method method, const Scheme& s) {
  const bool rows = s.grouping == Grouping::kRow;
  bool makes = true;
  switch (method) {
    case Method::kDefault:
    case Method::kKeep:
      return {};
    case Method::kRtn:
      makes = s.code == CodeKind::kInt ? rows && s.nested == 0 : s.nested == 0 || s.grouping == Grouping::kFlat;
      break;
    case Method::kGptq:
      makes = s.is_grid() || is_table(s) || s.is_block();
      break;
    case Method::kHqq:
      makes = s.float_zero && rows && s.nested == 0;
      break;
  }
  if (makes) return {};
  return error(Code::kUnsupported, "this method does not make codes of scheme %s", scheme_name(s).c_str());
}

}  // namespace qz
