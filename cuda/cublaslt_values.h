// Values and one struct of cublasLt.h, library_types.h and cublas_api.h.
#pragma once
#include <cstddef>
#include <cstdint>

namespace qz::cuda::lt {

constexpr int kF32 = 0, kF16 = 2, kBF16 = 14;  // CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF
constexpr int kCompute32F = 68;                // CUBLAS_COMPUTE_32F
constexpr int32_t kTransposed = 1;             // CUBLAS_OP_T
constexpr int kTransposeA = 3;                 // CUBLASLT_MATMUL_DESC_TRANSA
constexpr int kTransposeB = 4;                 // CUBLASLT_MATMUL_DESC_TRANSB
constexpr int kMaxWorkspace = 1;               // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
constexpr int kReductionMask = 3;              // CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK
constexpr uint32_t kReduceInFloat = 2;         // CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE
constexpr int kAlignment[] = {5, 6, 7, 8};     // CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES ... _D_BYTES

struct Heuristic {  // cublasLtMatmulHeuristicResult_t
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};

}  // namespace qz::cuda::lt
