// Values of cublas_api.h and library_types.h that cuSOLVER takes.
#pragma once

namespace qz::cuda::solver {

constexpr int kUpper = 1;  // CUBLAS_FILL_MODE_UPPER
constexpr int kF32 = 0;    // CUDA_R_32F

}  // namespace qz::cuda::solver
