// Products with weights of few bits beside two floors measured in the same process: the time in which the weights alone
// come out of memory, and the peak of the bfloat16 (or float32) products of the instruction set in use.
//   bench_low_bit [--benchmark_filter=w4g128/4096x4096] [--benchmark_...]
// QZ_BENCH_THREADS: threads (0 = all). Weights are cold: copies of the matrix take turns, 512 MB of them. dram: the
// floor's share of the time, for few rows of x; peak: the share of the peak, for many; GB/s, GFLOP/s: what they are.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/engines.h"
#include "kernels/gemm.h"
#include "packed/tiles.h"
#include "tensor/convert.h"

namespace {

constexpr uint64_t kColdBytes = uint64_t{512} << 20;

qz::ContextPtr bench_context() {
  const char* text = std::getenv("QZ_BENCH_THREADS");
  static const qz::ContextPtr context = qz::make_context(text ? std::atoi(text) : 0);
  return context;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void check(const qz::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "bench_low_bit: %s\n", status.text().c_str());
  std::exit(1);
}

// Bytes per second of reading, by all threads, best of ten sweeps over kColdBytes.
double read_bandwidth() {
  static const qz::AlignedBytes memory(kColdBytes);
  typedef uint64_t Words __attribute__((vector_size(64)));
  constexpr uint32_t kPieces = 256;
  std::vector<Words> sums(kPieces);
  double best = 1e30;
  for (int sweep = 0; sweep < 10; ++sweep) {
    const double start = now();
    check(qz::parallel_for(*bench_context(), kPieces, [&](uint32_t piece, uint32_t) -> qz::Status {
      const auto* p =
          static_cast<const Words*>(static_cast<const void*>(memory.data() + piece * (kColdBytes / kPieces)));
      Words sum[4] = {};
      for (uint64_t i = 0; i < kColdBytes / kPieces / sizeof(Words); i += 4) {
        for (uint64_t u = 0; u < 4; ++u) sum[u] += p[i + u];
      }
      sums[piece] = sum[0] + sum[1] + sum[2] + sum[3];
      return {};
    }));
    best = std::min(best, now() - start);
  }
  benchmark::DoNotOptimize(sums.data());
  return static_cast<double>(kColdBytes) / best;
}

// Operations per second of a register tile whose panels are in the first-level cache, in each thread at once.
double peak(const qz::PanelKernels& kernels) {
  constexpr int64_t kWords = 128, kTimes = 4000;
  const int64_t depth = kWords * kernels.pair;
  const uint32_t threads = bench_context()->pool->threads();
  double best = 1e30;
  for (int round = 0; round < 10; ++round) {
    const double start = now();
    check(qz::parallel_for(*bench_context(), threads, [&](uint32_t, uint32_t) -> qz::Status {
      const std::vector<float> a(static_cast<size_t>(kernels.mr * kWords), 1),
          b(static_cast<size_t>(kernels.nr * kWords));
      std::vector<float> c(static_cast<size_t>(kernels.mr * kernels.nr));
      for (int64_t i = 0; i < kTimes; ++i) {
        kernels.tile(depth, a.data(), b.data(), 1, true, kernels.mr, kernels.nr, c.data(), kernels.nr);
      }
      benchmark::DoNotOptimize(c.data());
      return {};
    }));
    best = std::min(best, now() - start);
  }
  return 2.0 * static_cast<double>(kernels.mr * kernels.nr * depth * kTimes) * threads / best;
}

struct Floors {
  double read = read_bandwidth(), bf16 = peak(qz::panels(qz::Products::kFast)),
         f32 = peak(qz::panels(qz::Products::kExact));
};
const Floors& floors() {
  static const Floors measured;
  return measured;
}

qz::TiledWeights tiled(const char* name, int64_t rows, int64_t cols) {
  qz::QMatrix q;
  q.rows = rows, q.cols = cols;
  q.scheme = *qz::scheme_preset(name);
  std::mt19937 random(1);
  q.codes.resize(static_cast<size_t>(rows * cols));
  for (uint8_t& code : q.codes) code = static_cast<uint8_t>(static_cast<int32_t>(random()) & q.scheme.max_code());
  const auto scales = static_cast<size_t>(q.scheme.scale_count(rows, cols));
  q.scales.assign(scales, 0.0078125f);
  if (!q.scheme.symmetric) q.zeros.assign(scales, static_cast<uint8_t>(q.scheme.mid_code() + 1));
  auto tiles = qz::tile_matrix(*bench_context(), q);
  check(tiles.status());
  return std::move(*tiles);
}

struct Shape {
  int64_t rows, cols;
};

qz::AlignedBytes copy_of(const qz::AlignedBytes& from) {
  qz::AlignedBytes to(from.size());
  if (!from.empty()) std::memcpy(to.data(), from.data(), from.size());
  return to;
}

// Copies of one matrix, kColdBytes of them: those of the last one asked for are kept.
const std::vector<qz::TiledWeights>& cold_copies(const char* scheme, Shape shape) {
  static std::vector<qz::TiledWeights> copies;
  static std::string made;
  const std::string wanted = std::string(scheme) + std::to_string(shape.rows) + "x" + std::to_string(shape.cols);
  if (made == wanted) return copies;
  made = wanted;
  copies.clear();
  copies.push_back(tiled(scheme, shape.rows, shape.cols));
  for (uint64_t bytes = copies[0].bytes(); bytes < kColdBytes; bytes += copies[0].bytes()) {
    const qz::TiledWeights& first = copies[0];
    qz::TiledWeights next;
    next.rows = first.rows, next.cols = first.cols, next.bits = first.bits, next.linear = first.linear;
    std::copy(std::begin(first.table), std::end(first.table), next.table);
    next.starts = first.starts, next.order = first.order;
    next.scale_type = first.scale_type, next.offset_type = first.offset_type;
    next.lines = copy_of(first.lines), next.scales = copy_of(first.scales), next.offsets = copy_of(first.offsets);
    copies.push_back(std::move(next));
  }
  return copies;
}

void product(benchmark::State& state, const char* scheme, Shape shape, qz::DType type) {
  const int64_t m = state.range(0);
  const std::vector<qz::TiledWeights>& copies = cold_copies(scheme, shape);
  const uint64_t bytes = copies[0].bytes();
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(m * shape.cols)), y(static_cast<size_t>(m * shape.rows));
  for (float& v : values) v = normal(random);
  std::vector<uint8_t> x(values.size() * qz::dtype_bits(type) / 8), out(y.size() * qz::dtype_bits(type) / 8);
  qz::from_f32(values.data(), type, values.size(), x.data());
  size_t next = 0;
  double best = 1e30;
  for (auto _ : state) {
    const double start = now();
    check(qz::low_bit_product(*bench_context(), copies[next], {x.data(), type, m, shape.cols, shape.cols}, nullptr,
                              false, {out.data(), type, shape.rows}));
    best = std::min(best, now() - start);
    next = (next + 1) % copies.size();
  }
  const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(shape.rows) * static_cast<double>(shape.cols);
  state.counters["best_us"] = best * 1e6;
  state.counters["GB/s"] = static_cast<double>(bytes) / best / 1e9;
  state.counters["GFLOP/s"] = flops / best / 1e9;
  state.counters["dram"] = static_cast<double>(bytes) / floors().read / best;
  state.counters["peak"] = flops / floors().bf16 / best;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  for (const char* scheme : {"w4g128", "w4g128a", "w3g128", "w2g128", "w8g128", "nf4b64"}) {
    for (const Shape shape : {Shape{4096, 4096}, Shape{11008, 4096}, Shape{4096, 11008}}) {
      for (const qz::DType type : {qz::DType::kBF16, qz::DType::kF16, qz::DType::kF32}) {
        const std::string name = std::string(scheme) + "/" + std::to_string(shape.rows) + "x" +
                                 std::to_string(shape.cols) + "/" + qz::dtype_name(type);
        benchmark::RegisterBenchmark(name.c_str(), product, scheme, shape, type)
            ->ArgName("m")
            ->Arg(1)
            ->Arg(2)
            ->Arg(4)
            ->Arg(8)
            ->Arg(16)
            ->Arg(64)
            ->Arg(512)
            ->UseRealTime()
            ->MinTime(0.2);
      }
    }
  }
  std::printf("%s\n%u thread(s): memory read %.1f GB/s, bf16 products (%s) %.0f GFLOP/s, float32 %.0f GFLOP/s\n",
              qz::engine_choice().c_str(), bench_context()->pool->threads(), floors().read / 1e9,
              qz::panels(qz::Products::kFast).name, floors().bf16 / 1e9, floors().f32 / 1e9);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
