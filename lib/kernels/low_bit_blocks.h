// Products with weights of few bits for kernels that multiply blocks of rows (LowBitBlockKernels): x laid out for them
// once, tasks that keep what they read again in the second-level cache.
#pragma once
#include "kernels/low_bit.h"

namespace qz {

// As low_bit_product and low_bit_product_bytes, with the block kernels of the engine in use, which must have some.
Status product_by_blocks(const Context& context, const TiledWeights& w, const Rows& x, const float* bias,
                         bool accumulate, const MutableRows& y, Progress* progress);
Status product_by_blocks(const Context& context, const TiledWeights& w, const ByteRows& x, const float* bias,
                         bool accumulate, const MutableRows& y, Progress* progress);

}  // namespace qz
