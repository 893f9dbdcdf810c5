// Products with weights of few bits beside two floors measured in the same process: the time in which the weights alone
// come out of memory, and the peak of the products of the instruction set in use.
//   bench_low_bit [--benchmark_filter=w4g128/4096x4096] [--benchmark_...]
// QZ_BENCH_THREADS: threads (0 = all); QZ_CPU: the instruction set, by the name that is printed. Weights are cold:
// copies of the matrix take turns, 512 MB of them. x_dram: the time as a multiple of that floor, for few rows of x;
// peak: the share of the peak, for many.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "floors.h"
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

struct Floors {
  double read = qz::read_bandwidth(*bench_context()), f32 = qz::best_peak(*bench_context(), "f32"),
         bf16 = qz::best_peak(*bench_context(), "bf16"), int8 = qz::best_peak(*bench_context(), "int8");
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

// A product with copies that take turns, best of all; `peak` in operations per second, 0: not known.
template <class Product>
void measure(benchmark::State& state, const std::vector<qz::TiledWeights>& copies, double peak,
             const Product& product) {
  size_t next = 0;
  double best = 1e30;
  for (auto _ : state) {
    const double start = now();
    check(product(copies[next]));
    best = std::min(best, now() - start);
    next = (next + 1) % copies.size();
  }
  const qz::TiledWeights& w = copies[0];
  const double ops = 2.0 * static_cast<double>(state.range(0) * w.rows) * static_cast<double>(w.cols);
  const double floor = static_cast<double>(w.bytes()) / floors().read;
  state.counters["best_us"] = best * 1e6;
  state.counters["x_dram"] = best / floor;
  state.counters["GOP/s"] = ops / best / 1e9;
  if (peak > 0) state.counters["peak"] = ops / peak / best;
}

std::vector<float> normal(int64_t count) {
  std::mt19937 random(2);
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = distribution(random);
  return values;
}

void floats(benchmark::State& state, const char* scheme, Shape shape, qz::DType type) {
  const int64_t m = state.range(0);
  const auto values = normal(m * shape.cols);
  const size_t size = qz::dtype_bits(type) / 8;
  std::vector<uint8_t> x(values.size() * size), y(static_cast<size_t>(m * shape.rows) * size);
  qz::from_f32(values.data(), type, values.size(), x.data());
  const double peak = std::max(floors().bf16, floors().f32);
  measure(state, cold_copies(scheme, shape), peak, [&](const qz::TiledWeights& w) {
    return qz::low_bit_product(*bench_context(), w, {x.data(), type, m, shape.cols, shape.cols}, nullptr, false,
                               {y.data(), type, shape.rows});
  });
}

void bytes(benchmark::State& state, const char* scheme, Shape shape) {
  const int64_t m = state.range(0);
  std::vector<int8_t> x(static_cast<size_t>(m * shape.cols));
  std::mt19937 random(3);
  for (int8_t& code : x) code = static_cast<int8_t>(random());
  const std::vector<float> factors(static_cast<size_t>(m), 0.01f);
  std::vector<float> y(static_cast<size_t>(m * shape.rows));
  measure(state, cold_copies(scheme, shape), floors().int8, [&](const qz::TiledWeights& w) {
    return qz::low_bit_product_bytes(*bench_context(), w, {x.data(), factors.data(), m, shape.cols, 1}, nullptr, false,
                                     {y.data(), qz::DType::kF32, shape.rows});
  });
}

template <class... Arguments>
void add(const std::string& name, std::initializer_list<int64_t> rows, Arguments... arguments) {
  auto* one = benchmark::RegisterBenchmark(name.c_str(), arguments...)->ArgName("m")->UseRealTime()->MinTime(0.1);
  for (const int64_t m : rows) one->Arg(m);
}

std::string name_of(const char* scheme, Shape shape, const char* inputs) {
  return std::string(scheme) + "/" + std::to_string(shape.rows) + "x" + std::to_string(shape.cols) + "/" + inputs;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (const char* name = std::getenv("QZ_CPU"); name && !qz::force_gemm_engine(name)) {
    std::fprintf(stderr, "bench_low_bit: this CPU has no %s\n", name);
    return 1;
  }
  constexpr Shape kSquare{4096, 4096};
  for (const Shape shape : {kSquare, Shape{11008, 4096}, Shape{4096, 11008}}) {
    add(name_of("w4g128", shape, "BF16"), {1, 2, 4, 8, 16, 64, 512, 2048}, floats, "w4g128", shape, qz::DType::kBF16);
  }
  for (const qz::DType type : {qz::DType::kF16, qz::DType::kF32}) {
    add(name_of("w4g128", kSquare, qz::dtype_name(type)), {1, 4, 16, 512}, floats, "w4g128", kSquare, type);
  }
  add(name_of("w4g128", kSquare, "int8"), {1, 16, 512}, bytes, "w4g128", kSquare);
  for (const char* scheme : {"w4g128a", "w4g32", "w3g128", "w2g128", "w8g128", "nf4b64"}) {
    add(name_of(scheme, kSquare, "BF16"), {1, 16, 512}, floats, scheme, kSquare, qz::DType::kBF16);
  }
  add(name_of("w8a8", kSquare, "int8"), {1, 4, 16, 64, 512, 2048}, bytes, "w8a8", kSquare);
  std::printf("%s\n%u thread(s): memory read %.1f GB/s; float32 %.0f GFLOP/s, bf16 %.0f GFLOP/s, int8 %.0f GOP/s\n",
              qz::engine_choice().c_str(), bench_context()->pool->threads(), floors().read / 1e9, floors().f32 / 1e9,
              floors().bf16 / 1e9, floors().int8 / 1e9);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
