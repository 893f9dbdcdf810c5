#include "floors.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "base/aligned.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace qz {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

namespace {

// What the compiler must take for used.
void keep(const void* p) { asm volatile("" ::"r"(p) : "memory"); }

void run_all(const Context& context, uint32_t count, const Pool::Task& fn) {
  if (!parallel_for(context, count, fn).ok()) std::abort();
}

}  // namespace

double read_bandwidth(const Context& context, int sweeps) {
  static const AlignedBytes memory(kColdBytes);
  typedef uint64_t Words __attribute__((vector_size(64)));
  constexpr uint32_t kPieces = 256;
  std::vector<Words> sums(kPieces);
  double best = 1e30;
  for (int sweep = 0; sweep < sweeps; ++sweep) {
    const double start = seconds_now();
    run_all(context, kPieces, [&](uint32_t piece, uint32_t) -> Status {
      const auto* p =
          static_cast<const Words*>(static_cast<const void*>(memory.data() + piece * (kColdBytes / kPieces)));
      Words sum[4] = {};
      for (uint64_t i = 0; i < kColdBytes / kPieces / sizeof(Words); i += 4) {
        for (uint64_t u = 0; u < 4; ++u) sum[u] += p[i + u];
      }
      sums[piece] = sum[0] + sum[1] + sum[2] + sum[3];
      return {};
    });
    best = std::min(best, seconds_now() - start);
  }
  keep(sums.data());
  return static_cast<double>(kColdBytes) / best;
}

namespace {

// `times` rounds of independent products; returns how many products and sums those were. Sums go to out so that they
// are computed.
using Rounds = double (*)(int64_t times, void* out);

#if defined(__x86_64__)

constexpr int kSums = 12;  // enough to hide the latency of any of them

// Sums that all start at zero, which the compiler must not take for the same.
template <class Vector>
__attribute__((always_inline)) inline void tell_apart(Vector (&sums)[kSums]) {
  for (Vector& s : sums) asm volatile("" : "+v"(s));
}

__attribute__((target("avx2,fma"))) double avx2_fma(int64_t times, void* out) {
  __m256 sum[kSums] = {}, a = _mm256_set1_ps(1.5f), b = _mm256_set1_ps(0.5f);
  tell_apart(sum);
  for (int64_t i = 0; i < times; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
    for (__m256& s : sum) s = _mm256_fmadd_ps(a, b, s);
  }
  for (int i = 0; i < kSums; ++i) _mm256_storeu_ps(static_cast<float*>(out) + 8 * i, sum[i]);
  return 2.0 * 8 * kSums * static_cast<double>(times);
}

__attribute__((target("avx512f"))) double avx512_fma(int64_t times, void* out) {
  __m512 sum[kSums] = {}, a = _mm512_set1_ps(1.5f), b = _mm512_set1_ps(0.5f);
  tell_apart(sum);
  for (int64_t i = 0; i < times; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
    for (__m512& s : sum) s = _mm512_fmadd_ps(a, b, s);
  }
  for (int i = 0; i < kSums; ++i) _mm512_storeu_ps(static_cast<float*>(out) + 16 * i, sum[i]);
  return 2.0 * 16 * kSums * static_cast<double>(times);
}

__attribute__((target("avx512f,avx512bf16"))) double avx512_bf16(int64_t times, void* out) {
  __m512 sum[kSums] = {};
  __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1.5f), _mm512_set1_ps(1.5f)), b = a;
  tell_apart(sum);
  for (int64_t i = 0; i < times; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
    for (__m512& s : sum) s = _mm512_dpbf16_ps(s, a, b);
  }
  for (int i = 0; i < kSums; ++i) _mm512_storeu_ps(static_cast<float*>(out) + 16 * i, sum[i]);
  return 2.0 * 32 * kSums * static_cast<double>(times);
}

__attribute__((target("avx512f,avx512vnni"))) double avx512_vnni(int64_t times, void* out) {
  __m512i sum[kSums] = {}, a = _mm512_set1_epi8(3), b = a;
  tell_apart(sum);
  for (int64_t i = 0; i < times; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
    for (__m512i& s : sum) s = _mm512_dpbusd_epi32(s, a, b);
  }
  for (int i = 0; i < kSums; ++i) _mm512_storeu_si512(static_cast<int32_t*>(out) + 16 * i, sum[i]);
  return 2.0 * 64 * kSums * static_cast<double>(times);
}

// Six sums of 16 x 16 from two factors: all eight tiles of 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// The whole configuration is an input: the intrinsic of gcc 12 names its first 8 bytes only.
__attribute__((target("amx-tile"))) void load_tiles(const TileConfig& config) {
  asm volatile("ldtilecfg %0" ::"m"(config));
  alignas(64) static const uint8_t zeros[1024] = {};
  _tile_loadd(6, zeros, 64);
  _tile_loadd(7, zeros, 64);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
}

__attribute__((target("amx-tile"))) void store_tiles(void* out) {
  _tile_stored(0, out, 64);
  _tile_release();
}

__attribute__((target("amx-tile,amx-bf16"))) double amx_bf16(int64_t times, void* out) {
  const TileConfig config;
  load_tiles(config);
  for (int64_t i = 0; i < times; ++i) {
    _tile_dpbf16ps(0, 6, 7);
    _tile_dpbf16ps(1, 6, 7);
    _tile_dpbf16ps(2, 6, 7);
    _tile_dpbf16ps(3, 6, 7);
    _tile_dpbf16ps(4, 6, 7);
    _tile_dpbf16ps(5, 6, 7);
  }
  store_tiles(out);
  return 2.0 * 16 * 16 * 32 * 6 * static_cast<double>(times);
}

__attribute__((target("amx-tile,amx-int8"))) double amx_int8(int64_t times, void* out) {
  const TileConfig config;
  load_tiles(config);
  for (int64_t i = 0; i < times; ++i) {
    _tile_dpbssd(0, 6, 7);
    _tile_dpbssd(1, 6, 7);
    _tile_dpbssd(2, 6, 7);
    _tile_dpbssd(3, 6, 7);
    _tile_dpbssd(4, 6, 7);
    _tile_dpbssd(5, 6, 7);
  }
  store_tiles(out);
  return 2.0 * 16 * 16 * 64 * 6 * static_cast<double>(times);
}

bool has_leaf7(int sub, int reg, int bit) {
  uint32_t r[4] = {};
  asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(7), "c"(sub));
  return (r[reg] >> bit & 1) != 0;
}

// The kernel gives tile registers to processes that ask.
bool may_use_tiles() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  static const bool granted = ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
}

#endif

struct Instruction {
  const char *name, *factors;
  bool (*available)();
  Rounds rounds;
};

const Instruction kInstructions[] = {
#if defined(__x86_64__)
    {"AVX2 FMA", "f32", [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }, avx2_fma},
    {"AVX-512 FMA", "f32", [] { return __builtin_cpu_supports("avx512f") != 0; }, avx512_fma},
    {"AVX-512 BF16", "bf16", [] { return __builtin_cpu_supports("avx512f") && has_leaf7(1, 0, 5); }, avx512_bf16},
    {"AVX-512 VNNI", "int8", [] { return __builtin_cpu_supports("avx512vnni") != 0; }, avx512_vnni},
    {"AMX BF16", "bf16", [] { return has_leaf7(0, 3, 22) && may_use_tiles(); }, amx_bf16},
    {"AMX INT8", "int8", [] { return has_leaf7(0, 3, 25) && may_use_tiles(); }, amx_int8},
#endif
    {nullptr, nullptr, nullptr, nullptr}};

}  // namespace

std::vector<InstructionPeak> instruction_peaks(const Context& context) {
  constexpr double kSpan = 0.005;  // seconds of a round: enough for every thread to have its core
  const uint32_t threads = context.pool->threads();
  std::vector<InstructionPeak> found;
  for (const Instruction* in = kInstructions; in->name != nullptr; ++in) {
    if (!in->available()) continue;
    alignas(64) uint8_t once[1024];
    const double begin = seconds_now();
    in->rounds(10000, once);
    const auto times = static_cast<int64_t>(10000 * kSpan / (seconds_now() - begin)) + 1;
    double best = 0;
    std::vector<double> done(threads);
    for (int round = 0; round < 8; ++round) {
      const double start = seconds_now();
      run_all(context, threads, [&](uint32_t task, uint32_t) -> Status {
        alignas(64) uint8_t out[1024];
        done[task] = in->rounds(times, out);
        keep(out);
        return {};
      });
      double all = 0;
      for (const double d : done) all += d;
      best = std::max(best, all / (seconds_now() - start));
    }
    found.push_back({in->name, in->factors, best});
  }
  return found;
}

double best_peak(const Context& context, std::string_view factors) {
  double best = 0;
  for (const InstructionPeak& peak : instruction_peaks(context))
    if (factors == peak.factors) best = std::max(best, peak.flops);
  return best;
}

}  // namespace qz
