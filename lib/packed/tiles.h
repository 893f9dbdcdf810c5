// Canonical matrices re-tiled for the kernels that read few bits (kernels/low_bit.h).
#pragma once
#include "base/context.h"
#include "kernels/low_bit.h"
#include "packed/qmatrix.h"

namespace qz {

// Integers of any width and the 16-entry tables, where the weights that share a scale are a run of columns of a row (or
// are named by g_idx). Not FP8, GGUF blocks, or groups that run across rows.
bool can_tile(const QMatrix& q);
// can_tile(q) must hold. Same weights, as exact: (code - zero) * scale in float32. kOutOfMemory.
Result<TiledWeights> tile_matrix(const Context& context, const QMatrix& q, Progress* progress = nullptr);

}  // namespace qz
