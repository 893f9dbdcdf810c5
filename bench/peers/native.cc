// For bench/peers, from Python: the floors of this machine, and libqz's X^T X, which has no public function.
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "bench/floors.h"
#include "kernels/gemm.h"

namespace {

qz::ContextPtr context_of(int threads) {
  static qz::ContextPtr context;
  if (!context || context->pool->threads() != static_cast<uint32_t>(threads)) {
    const auto made = std::make_shared<qz::Context>(*qz::make_context(threads));
    made->products = qz::Products::kFast;
    context = made;
  }
  return context;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// Bytes per second.
double bench_read_bandwidth(int threads, int sweeps) { return qz::read_bandwidth(*context_of(threads), sweeps); }

struct bench_peak {
  const char *name, *factors;
  double flops;
};
// Fills up to `room`; how many instructions there are.
int bench_peaks(int threads, bench_peak* out, int room) {
  static std::vector<qz::InstructionPeak> peaks;
  peaks = qz::instruction_peaks(*context_of(threads));
  int count = 0;
  for (const qz::InstructionPeak& p : peaks) {
    if (count < room) out[count] = {p.name, p.factors, p.flops};
    ++count;
  }
  return count;
}

// The lower triangle of h[cols][cols] += x^T x, x[tokens][cols]. Not 0: it failed.
int bench_xtx(int threads, const float* x, int64_t tokens, int64_t cols, float* h) {
  const qz::MatrixView view{x, tokens, cols, cols};
  return qz::gemm_tn(*context_of(threads), view, view, 1, true, h, cols).ok() ? 0 : 1;
}

// The instruction set that libqz's products use, and why not a better one.
const char* bench_engine() {
  static std::string text;
  text = qz::engine_choice();
  return text.c_str();
}

}  // extern "C"
#pragma GCC visibility pop
