// A scheme with everything decided that a format and a model decide.
#pragma once
#include "format/format.h"

namespace qz {

// As it is stored for a matrix of `cols` columns of a model of `model_dtype`: the type of the scales and of the values,
// where the scheme leaves them open, are the format's and the model's; a group longer than a row is the row.
Scheme complete_scheme(const Format& format, Scheme scheme, DType model_dtype, int64_t cols);

}  // namespace qz
