// How far a matrix is from what it stands for.
#pragma once
#include "base/context.h"
#include "packed/qmatrix.h"

namespace qz {

// |w - wq|^2 / |w|^2, 0 where w is. The sum of squares is the same bits for any number of threads.
Result<double> weight_error(const Context& context, MatrixView w, const QMatrix& q);

}  // namespace qz
