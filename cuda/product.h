// QZ_OP_GEMM on one GPU: which kernel multiplies, how much scratch it needs, its launches.
#pragma once
#include "request.h"
#include "runtime.h"

namespace qz::cuda {

// Whether the wide kernel may be taken there; else it is not even loaded.
bool takes_wide(const Facts& gpu);
// Whether a product goes through cuBLASLt.
bool is_dense(const Facts& gpu, const Request& r);
uint64_t product_workspace(const Facts& gpu, const Request& r);
Outcome run_product(const Facts& gpu, const Request& r, void* stream, char* workspace);

}  // namespace qz::cuda
