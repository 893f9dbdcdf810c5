// From one format to another: which scheme of the target holds a module's numbers, exactly if there is one.
#pragma once
#include <string>

#include "base/context.h"
#include "format/format.h"
#include "packed/qmatrix.h"

namespace qz {

struct Converted {
  QMatrix matrix;
  std::string lost;  // what is not the same any more, in words; empty: nothing
};

// q as `format` stores it for a model of model_dtype. Exact where some scheme of the format allows; else, with
// allow_loss, the nearest: scales rounded, inputs left as floats, or rounded to nearest anew. kUnsupported without.
Result<Converted> convert_matrix(const Context& context, const QMatrix& q, const Format& format, DType model_dtype,
                                 bool allow_loss);

}  // namespace qz
