// NEON of any 64-bit Arm: a tile of 6 x 16 keeps 24 sums, 4 loads and a broadcast in 32 registers. The element-wise
// operations are the reference's: its four lanes are NEON's.
#if defined(__aarch64__)
#include <arm_neon.h>
#define QZ_LANES 4
#define QZ_MR 6
#define QZ_NV 4
#define QZ_FMA(a, b, c) vfmaq_f32(c, a, b)
#include "kernels/gemm_body.h"

namespace qz {
extern const GemmKernels kGemmNeon;
const GemmKernels kGemmNeon = {{"neon", kMr, kNr, 1, pack_across, pack_along, tile}, dots, combine};
}  // namespace qz
#endif
