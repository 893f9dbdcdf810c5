// Dense products for instruction sets with matrix registers (block_kernels.h): large blocks of sums stay in the
// second-level cache while the factors stream through. The order in which an element is summed, k ascending, a sum for
// every kSlabDepth of k, depends on neither the blocks nor the threads.
#pragma once
#include <vector>

#include "kernels/block_kernels.h"
#include "kernels/gemm_tiles.h"

namespace qz {

Status run_blocks(const Context& context, const BlockKernels& kernels, const Product* products, size_t count,
                  Progress* progress);

size_t block_scratch(int64_t m, int64_t n, int64_t k);  // as product_scratch
size_t block_task_scratch();                            // as task_scratch

}  // namespace qz
