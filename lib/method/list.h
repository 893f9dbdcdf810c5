// The methods, one row each. Adding one = one file, one row.
#pragma once
#include <string_view>
#include <vector>

#include "base/context.h"
#include "method/options.h"
#include "packed/qmatrix.h"

namespace qz {

struct MethodRow {
  Method id;
  std::string_view name;  // "rtn"
  bool (*makes)(const Scheme& scheme);
  // Codes from the weights alone, w: [rows][cols], finite; min_zero: the smallest zero point that the format can store.
  // Null: nothing is chosen (keep), or from what the inputs say as well (GPTQ; lib/run/solve.cc has the statistics).
  Result<QMatrix> (*round)(const Context& context, MatrixView w, const Scheme& scheme, int32_t min_zero);
};

// All but kDefault.
const std::vector<MethodRow>& methods();
// nullptr for kDefault and for values and words that it does not know.
const MethodRow* find_method(Method id);
const MethodRow* find_method(std::string_view name);
std::string_view method_name(Method id);  // "default" too
// Which method kDefault is for a scheme.
Method default_method(const Scheme& scheme, bool has_calibration);
// kUnsupported names the scheme that a method cannot make.
Status check_method(Method method, const Scheme& scheme);

}  // namespace qz
