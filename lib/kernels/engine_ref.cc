// Any CPU: four lanes, which the compiler maps to what the target has, and no fused multiply-add. The specification.

#define QZ_LANES 4
#define QZ_MR 4
#define QZ_NV 2
#define QZ_FMA(a, b, c) (a) * (b) + (c)
#include "kernels/gemm_body.h"
#include "kernels/ops_body.h"

namespace qz {
extern const GemmKernels kGemmRef;
extern const OpsKernels kOpsRef;
const GemmKernels kGemmRef = {{"ref", kMr, kNr, 1, pack_across, pack_along, tile}, dots, combine};
const OpsKernels kOpsRef = {max_of, exp_minus, sum_exp_f64, sum_squares, sum_of, silu, gelu_tanh, scale};
}  // namespace qz
