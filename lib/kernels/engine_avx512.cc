// AVX-512: a tile of 12 x 32 keeps 24 sums, 2 loads and a broadcast in 32 registers.
#if defined(__x86_64__)
#include <immintrin.h>
#define QZ_LANES 16
#define QZ_MR 12
#define QZ_NV 2
#define QZ_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#include "kernels/gemm_body.h"
#include "kernels/ops_body.h"

namespace qz {
extern const GemmKernels kGemmAvx512;
extern const OpsKernels kOpsAvx512;
const GemmKernels kGemmAvx512 = {{"avx512", kMr, kNr, 1, pack_across, pack_along, tile}, dots, combine};
const OpsKernels kOpsAvx512 = {max_of, exp_minus, sum_exp_f64, sum_squares, sum_of, silu, gelu_tanh, scale};
}  // namespace qz
#endif
