// AVX2 and FMA: a tile of 6 x 16 keeps 12 sums, 2 loads and a broadcast in 16 registers.
#if defined(__x86_64__)
#include <immintrin.h>
#define QZ_LANES 8
#define QZ_MR 6
#define QZ_NV 2
#define QZ_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#include "kernels/gemm_body.h"
#include "kernels/ops_body.h"

namespace qz {
extern const GemmKernels kGemmAvx2;
extern const OpsKernels kOpsAvx2;
const GemmKernels kGemmAvx2 = {{"avx2", kMr, kNr, 1, pack_across, pack_along, tile}, dots, combine};
const OpsKernels kOpsAvx2 = {max_of, exp_minus, sum_exp_f64, sum_squares, sum_of, silu, gelu_tanh, scale};
}  // namespace qz
#endif
