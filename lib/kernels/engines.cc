#include "kernels/engines.h"

#include <atomic>
#include <string>
#include <string_view>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "base/context.h"
#include "kernels/amx.h"
#include "kernels/gemm.h"

namespace qz {

extern const GemmKernels kGemmAvx512, kGemmAvx2, kGemmRef;
extern const OpsKernels kOpsAvx512, kOpsAvx2, kOpsRef;
extern const PanelKernels kPanelsAvx512Bf16;
extern const BlockKernels kBlocksAmxBf16;
extern const LowBitKernels kLowBitAvx512, kLowBitAvx2, kLowBitRef;
extern const LowBitPairKernels kLowBitPairsAvx512Bf16;
extern const LowBitBlockKernels kLowBitBlocksAmx;
extern const LowBitByteKernels kLowBitBytesAvx512Vnni, kLowBitBytesAvx512, kLowBitBytesAvx2, kLowBitBytesRef;

extern const GemmKernels kGemmNeon;
extern const PanelKernels kPanelsNeonBf16;
extern const LowBitKernels kLowBitNeon;
extern const LowBitPairKernels kLowBitPairsNeonBf16;
extern const LowBitByteKernels kLowBitBytesNeonI8mm, kLowBitBytesNeonDot, kLowBitBytesNeon;

namespace {

bool always() { return true; }
#if defined(__x86_64__)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
}
// VDPBF16PS does twice the work of an FMA on AMD's cores (Zen 4, Zen 5), half of it on Intel's (Sapphire Rapids): the
// feature bit alone does not say that it is fast.
bool has_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
bool has_vnni_and_amx() { return has_vnni() && __builtin_cpu_supports("avx512bf16") && has_amx(); }
bool has_fast_bf16() { return has_vnni() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_is("amd"); }
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
#endif
#if defined(__aarch64__)
bool has_dot() { return (::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
bool has_i8mm_bf16() {
  constexpr unsigned long kBoth = HWCAP2_I8MM | HWCAP2_BF16;
  return has_dot() && (::getauxval(AT_HWCAP2) & kBoth) == kBoth;
}
#endif

constexpr Engine kEngines[] = {
// best first
#if defined(__x86_64__)
    {"avx512_amx", has_vnni_and_amx, "AVX-512 with VNNI and BF16, and AMX tiles", &kGemmAvx512, &kOpsAvx512,
     &kLowBitAvx512, &kLowBitBytesAvx512Vnni, nullptr, nullptr, &kBlocksAmxBf16, &kLowBitBlocksAmx},
    {"avx512_bf16", has_fast_bf16, "AVX-512 with VNNI, and BF16 products faster than float32's", &kGemmAvx512,
     &kOpsAvx512, &kLowBitAvx512, &kLowBitBytesAvx512Vnni, &kPanelsAvx512Bf16, &kLowBitPairsAvx512Bf16},
    {"avx512_vnni", has_vnni, "AVX-512 with VNNI", &kGemmAvx512, &kOpsAvx512, &kLowBitAvx512, &kLowBitBytesAvx512Vnni,
     nullptr, nullptr},
    {"avx512", has_avx512, "AVX-512 F, BW, VL and DQ", &kGemmAvx512, &kOpsAvx512, &kLowBitAvx512, &kLowBitBytesAvx512,
     nullptr, nullptr},
    {"avx2", has_avx2, "AVX2, FMA and F16C", &kGemmAvx2, &kOpsAvx2, &kLowBitAvx2, &kLowBitBytesAvx2, nullptr, nullptr},
#endif
#if defined(__aarch64__)
    {"neon_i8mm_bf16", has_i8mm_bf16, "products of matrices of bytes and of bfloat16 (Armv8.6)", &kGemmNeon, &kOpsRef,
     &kLowBitNeon, &kLowBitBytesNeonI8mm, &kPanelsNeonBf16, &kLowBitPairsNeonBf16},
    {"neon_dot", has_dot, "dot products of bytes (Armv8.2)", &kGemmNeon, &kOpsRef, &kLowBitNeon, &kLowBitBytesNeonDot,
     nullptr, nullptr},
    {"neon", always, "any 64-bit Arm", &kGemmNeon, &kOpsRef, &kLowBitNeon, &kLowBitBytesNeon, nullptr, nullptr},
#endif
    {"ref", always, "any CPU", &kGemmRef, &kOpsRef, &kLowBitRef, &kLowBitBytesRef, nullptr, nullptr},
};

const Engine* best() {
  for (const Engine& candidate : kEngines) {
    if (candidate.available()) return &candidate;
  }
  return nullptr;  // never: "ref" is always available
}

std::atomic<const Engine*> g_engine{nullptr};

}  // namespace

const Engine* engines(int* count) {
  *count = static_cast<int>(sizeof kEngines / sizeof kEngines[0]);
  return kEngines;
}

const Engine& engine() {
  const Engine* current = g_engine.load(std::memory_order_relaxed);
  if (!current) {
    current = best();
    g_engine.store(current, std::memory_order_relaxed);
  }
  return *current;
}

const PanelKernels& panels(Products products) {
  const Engine& e = engine();
  return products != Products::kExact && e.fast ? *e.fast : *e.gemm;
}

const BlockKernels* blocks(Products products) { return products != Products::kExact ? engine().blocks : nullptr; }

std::string engine_choice() {
  const Engine& current = engine();
  std::string text = current.name;
  for (const Engine& better : kEngines) {
    if (&better == &current) break;
    text += std::string("; not ") + better.name + ", which " +
            (better.available() ? "this CPU has: another one was asked for" : std::string("needs ") + better.needs);
    if (std::string_view(better.name) == "avx512_amx" && amx_missing()) text += std::string(" (") + amx_missing() + ")";
  }
  return text;
}

const char* gemm_engine() { return engine().name; }

bool force_gemm_engine(const char* name) {
  const std::string_view wanted(name);
  if (wanted.empty()) {
    g_engine.store(best(), std::memory_order_relaxed);
    return true;
  }
  for (const Engine& candidate : kEngines) {
    if (wanted != candidate.name) continue;
    if (!candidate.available()) return false;
    g_engine.store(&candidate, std::memory_order_relaxed);
    return true;
  }
  return false;
}

}  // namespace qz
