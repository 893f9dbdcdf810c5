// Our copies of cuBLASLt's values against its header, where that is installed (pip install nvidia-cublas, its include
// folder in CPLUS_INCLUDE_PATH).
#include "cublaslt_values.h"

#include <gtest/gtest.h>

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#endif

namespace qz::cuda {
namespace {

TEST(CublasLtTest, ValuesAreThoseOfTheHeader) {
#ifdef CUBLAS_VER_MAJOR
  EXPECT_EQ(lt::kF32, CUDA_R_32F);
  EXPECT_EQ(lt::kF16, CUDA_R_16F);
  EXPECT_EQ(lt::kBF16, CUDA_R_16BF);
  EXPECT_EQ(lt::kCompute32F, CUBLAS_COMPUTE_32F);
  EXPECT_EQ(lt::kTransposed, CUBLAS_OP_T);
  EXPECT_EQ(lt::kTransposeA, CUBLASLT_MATMUL_DESC_TRANSA);
  EXPECT_EQ(lt::kTransposeB, CUBLASLT_MATMUL_DESC_TRANSB);
  EXPECT_EQ(lt::kMaxWorkspace, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
  EXPECT_EQ(lt::kReductionMask, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
  EXPECT_EQ(lt::kReduceInFloat, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  EXPECT_EQ(lt::kAlignment[0], CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
  EXPECT_EQ(lt::kAlignment[1], CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
  EXPECT_EQ(lt::kAlignment[2], CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
  EXPECT_EQ(lt::kAlignment[3], CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
  EXPECT_EQ(sizeof(lt::Heuristic), sizeof(cublasLtMatmulHeuristicResult_t));
  EXPECT_EQ(offsetof(lt::Heuristic, status), offsetof(cublasLtMatmulHeuristicResult_t, state));
#else
  GTEST_SKIP() << "no cublasLt.h on this machine";
#endif
}

}  // namespace
}  // namespace qz::cuda
