#include "peaks.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "base/aligned.h"
#include "kernels/amx.h"
#include "kernels/engines.h"

namespace qz {
namespace {

// The shortest of some runs of `body`, by every thread.
double best_seconds(const Context& context, int runs, uint32_t tasks, const std::function<void(uint32_t)>& body) {
  double best = 1e30;
  for (int run = 0; run < runs; ++run) {
    const auto start = std::chrono::steady_clock::now();
    const Status status = parallel_for(context, tasks, [&](uint32_t task, uint32_t) -> Status {
      body(task);
      return {};
    });
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.text().c_str());
      std::exit(1);
    }
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

double panel_peak(const Context& context, const PanelKernels& kernels) {
  constexpr int64_t kWords = 128, kTimes = 1000;
  const int64_t depth = kWords * kernels.pair;
  const uint32_t threads = context.pool->threads();
  const double seconds = best_seconds(context, 10, threads, [&](uint32_t) {
    const std::vector<float> a(static_cast<size_t>(kernels.mr * kWords), 1),
        b(static_cast<size_t>(kernels.nr * kWords));
    std::vector<float> c(static_cast<size_t>(kernels.mr * kernels.nr));
    for (int64_t i = 0; i < kTimes; ++i) {
      kernels.tile(depth, a.data(), b.data(), 1, true, kernels.mr, kernels.nr, c.data(), kernels.nr);
    }
    __asm__ volatile("" : : "g"(c.data()) : "memory");
  });
  return 2.0 * static_cast<double>(kernels.mr * kernels.nr * depth * kTimes) * threads / seconds;
}

#if defined(__x86_64__)
// Products of tiles per second, four sums at a time.
template <class Products>
double tile_rate(const Context& context, const Products& products) {
  constexpr int kTimes = 20000;
  const uint32_t threads = context.pool->threads();
  const double seconds = best_seconds(context, 10, threads, [&](uint32_t) {
    const AmxTiles tiles;
    for (int i = 0; i < kTimes; ++i) products();
  });
  return 4.0 * kTimes * threads / seconds;
}
#endif

}  // namespace

double read_bandwidth(const Context& context) {
  constexpr uint64_t kBytes = uint64_t{512} << 20, kPiece = uint64_t{2} << 20;
  typedef uint64_t Words __attribute__((vector_size(64)));
  const AlignedBytes memory(kBytes);
  std::vector<Words> sums(kBytes / kPiece);
  const double seconds = best_seconds(context, 5, kBytes / kPiece, [&](uint32_t piece) {
    const auto* p = static_cast<const Words*>(static_cast<const void*>(memory.data() + piece * kPiece));
    Words sum[4] = {};
    for (uint64_t i = 0; i < kPiece / sizeof(Words); i += 4) {
      for (uint64_t u = 0; u < 4; ++u) sum[u] += p[i + u];
    }
    sums[piece] = sum[0] + sum[1] + sum[2] + sum[3];
  });
  __asm__ volatile("" : : "g"(sums.data()) : "memory");
  return static_cast<double>(kBytes) / seconds;
}

double float_peak(const Context& context) { return panel_peak(context, *engine().gemm); }

double bf16_peak(const Context& context) {
#if defined(__x86_64__)
  if (engine().low_bit_blocks && has_amx()) {
    return 16384 * tile_rate(context, [] {
             __asm__ volatile(
                 "tdpbf16ps %tmm5, %tmm4, %tmm0\n\ttdpbf16ps %tmm6, %tmm4, %tmm1\n\t"
                 "tdpbf16ps %tmm7, %tmm4, %tmm2\n\ttdpbf16ps %tmm5, %tmm4, %tmm3");
           });
  }
#endif
  return panel_peak(context, panels(Products::kFast));
}

double int8_peak(const Context& context) {
#if defined(__x86_64__)
  if (engine().low_bit_blocks && has_amx()) {
    return 32768 * tile_rate(context, [] {
             __asm__ volatile(
                 "tdpbssd %tmm5, %tmm4, %tmm0\n\ttdpbssd %tmm6, %tmm4, %tmm1\n\t"
                 "tdpbssd %tmm7, %tmm4, %tmm2\n\ttdpbssd %tmm5, %tmm4, %tmm3");
           });
  }
#endif
  (void)context;
  return 0;
}

}  // namespace qz
