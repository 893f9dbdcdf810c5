// Dense products, in GFLOP/s, beside OpenBLAS (one thread) in the same run.
//   bench_gemm [THREADS [M N K]]
//   bench_gemm fast [THREADS]
// Every number is the best of several runs, the two sides taking turns so that a busy machine slows both.
// OPENBLAS_CORETYPE chooses the peer's kernels, for example SkylakeX for AVX-512; leave it and OPENBLAS_L2_SIZE unset
// to see what OpenBLAS chooses itself. fast: what calibration computes, factors rounded to bfloat16 where that is
// faster, weights cold (512 MB take turns), beside the peak of those products and the speed of memory in the same
// process.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/pages.h"
#include "floors.h"
#include "kernels/engines.h"
#include "kernels/gemm.h"
#include "tensor/convert.h"

extern "C" {
void sgemm_(const char* ta, const char* tb, const int* m, const int* n, const int* k, const float* alpha,
            const float* a, const int* lda, const float* b, const int* ldb, const float* beta, float* c,
            const int* ldc);
void ssyrk_(const char* uplo, const char* trans, const int* n, const int* k, const float* alpha, const float* a,
            const int* lda, const float* beta, float* c, const int* ldc);
void openblas_set_num_threads(int threads);
char* openblas_get_corename();
}

namespace {

struct Shape {
  int64_t m, n, k;
};

bool g_one_thread = true;

// One thread: its processor time, which other programs on the machine disturb less. Several: time on the wall.
double now() {
  timespec t;
  clock_gettime(g_one_thread ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

double seconds(const std::function<void()>& work) {
  const double start = now();
  work();
  return now() - start;
}

void check(const qz::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "bench_gemm: %s\n", status.text().c_str());
  std::exit(1);
}

// Best GFLOP/s of each, called in turn for at least half a second.
std::vector<double> race(double flops, const std::vector<std::function<void()>>& sides) {
  std::vector<double> best(sides.size(), 1e30);
  double spent = 0;
  for (int round = 0; round < 3 || (spent < 0.5 * static_cast<double>(sides.size()) && round < 200); ++round) {
    for (size_t s = 0; s < sides.size(); ++s) {
      const double t = seconds(sides[s]);
      best[s] = std::min(best[s], t);
      spent += t;
    }
  }
  for (double& t : best) t = flops / t / 1e9;
  return best;
}

std::vector<float> noise(int64_t count, uint32_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) {
    seed = seed * 1664525u + 1013904223u;
    v = static_cast<float>(seed >> 8) * 0x1p-23f - 1.0f;
  }
  return values;
}

void print(const char* product, const Shape& s, const char* engine, uint32_t threads, double ours, double peer) {
  std::printf("%-10s %6lld %6lld %6lld  %-7s %2u thread(s) %8.1f GFLOP/s   OpenBLAS, 1 thread %8.1f   ratio %.2f\n",
              product, static_cast<long long>(s.m), static_cast<long long>(s.n), static_cast<long long>(s.k), engine,
              threads, ours, peer, ours / peer);
}

void bench_shape(const qz::Context& context, const Shape& s) {
  const auto a = noise(s.m * s.k, 1), b = noise(s.n * s.k, 2);
  std::vector<float> c(static_cast<size_t>(s.m * s.n)), c_peer(c.size());
  std::vector<uint16_t> half(b.size());
  qz::from_f32(b.data(), qz::DType::kBF16, b.size(), half.data());
  const qz::DenseWeight w32{b.data(), qz::DType::kF32, s.n, s.k}, w16{half.data(), qz::DType::kBF16, s.n, s.k};
  const auto weight32 = qz::weight_rows(w32), weight16 = qz::weight_rows(w16);
  const int m = static_cast<int>(s.m), n = static_cast<int>(s.n), k = static_cast<int>(s.k);
  const float one = 1, zero = 0;
  const double flops = 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  const char* engine = qz::gemm_engine();
  const uint32_t threads = context.pool->threads();

  // The peer works column-major: y = x w^T there is y^T = w x^T.
  const auto nt = [&](const qz::WeightRows& w) {
    check(qz::gemm_nt(context, {a.data(), s.m, s.k, s.k}, w, nullptr, false, c.data(), s.n));
  };
  auto r =
      race(flops, {[&] { nt(weight32); }, [&] { nt(weight16); },
                   [&] { sgemm_("T", "N", &n, &m, &k, &one, b.data(), &k, a.data(), &k, &zero, c_peer.data(), &n); }});
  print("nt f32", s, engine, threads, r[0], r[2]);
  print("nt bf16", s, engine, threads, r[1], r[2]);
  if (s.m < 32) return;
  r = race(
      flops,
      {[&] { check(qz::gemm_nn(context, {a.data(), s.m, s.k, s.k}, {b.data(), s.k, s.n, s.n}, 1, c.data(), s.n)); },
       [&] { sgemm_("N", "N", &n, &m, &k, &one, b.data(), &n, a.data(), &k, &one, c_peer.data(), &n); }});
  print("nn", s, engine, threads, r[0], r[1]);
  // X^T X with X = m x k: useful floating-point operations of one triangle.
  const double triangle = static_cast<double>(s.m) * static_cast<double>(s.k) * static_cast<double>(s.k + 1);
  std::vector<float> h(static_cast<size_t>(s.k * s.k)), h_peer(h.size());
  const qz::MatrixView x{a.data(), s.m, s.k, s.k};
  r = race(triangle, {[&] { check(qz::gemm_tn(context, x, x, 1, true, h.data(), s.k)); },
                      [&] { ssyrk_("U", "N", &k, &m, &one, a.data(), &k, &one, h_peer.data(), &k); }});
  print("tn lower", {s.k, s.k, s.m}, engine, threads, r[0], r[1]);
}

template <class T>
using Pages = std::vector<T, qz::PageAllocator<T>>;

void print_fast(const char* product, const Shape& s, double ours, double peak, const char* peer, double theirs) {
  std::printf("%-16s %6lld %6lld %6lld  %8.1f GFLOP/s, %4.1f %% of the peak   %s %8.1f   ratio %.2f\n", product,
              static_cast<long long>(s.m), static_cast<long long>(s.n), static_cast<long long>(s.k), ours,
              100 * ours / peak * 1e9, peer, theirs, ours / theirs);
  std::fflush(stdout);
}

// Products of activations and weights, as calibration has them, beside the exact ones and OpenBLAS.
void bench_fast(const qz::Context& exact, const qz::Context& fast, const Shape& s, double peak) {
  const auto size = static_cast<size_t>(s.n * s.k);
  const size_t copies = std::max<size_t>((size_t{512} << 20) / (4 * size), 2);
  const auto values = noise(s.n * s.k, 2), x = noise(s.m * s.k, 1);
  std::vector<Pages<float>> wide(copies, Pages<float>(size));
  std::vector<Pages<uint16_t>> half(2 * copies, Pages<uint16_t>(size));
  for (auto& w : wide) std::copy(values.begin(), values.end(), w.begin());
  for (auto& w : half) qz::from_f32(values.data(), qz::DType::kBF16, size, w.data());
  Pages<float> y(static_cast<size_t>(s.m * s.n));
  size_t turn = 0;
  const auto nt = [&](const qz::Context& context, const void* data, qz::DType type) {
    const qz::DenseWeight w{data, type, s.n, s.k};
    check(qz::gemm_nt(context, {x.data(), s.m, s.k, s.k}, qz::weight_rows(w), nullptr, false, y.data(), s.n));
  };
  const int m = static_cast<int>(s.m), n = static_cast<int>(s.n), k = static_cast<int>(s.k);
  const float one = 1, zero = 0;
  const auto r =
      race(2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k),
           {[&] { nt(fast, half[++turn % half.size()].data(), qz::DType::kBF16); },
            [&] { nt(fast, wide[++turn % copies].data(), qz::DType::kF32); },
            [&] { nt(exact, wide[++turn % copies].data(), qz::DType::kF32); },
            [&] {
              sgemm_("T", "N", &n, &m, &k, &one, wide[++turn % copies].data(), &k, x.data(), &k, &zero, y.data(), &n);
            }});
  print_fast("nt bf16 weights", s, r[0], peak, "exact", r[2]);
  print_fast("nt f32 weights", s, r[1], peak, "OpenBLAS, 1 thread", r[3]);
}

// The Hessian of n inputs over many tokens: useful operations of one triangle.
void bench_hessian(const qz::Context& exact, const qz::Context& fast, int64_t columns, int64_t tokens, double peak) {
  const auto values = noise(columns * tokens, 1);
  Pages<float> h(static_cast<size_t>(columns * columns));
  const qz::MatrixView x{values.data(), tokens, columns, columns};
  const int n = static_cast<int>(columns), k = static_cast<int>(tokens);
  const float one = 1;
  const auto r = race(static_cast<double>(columns) * static_cast<double>(columns + 1) * static_cast<double>(tokens),
                      {[&] { check(qz::gemm_tn(fast, x, x, 1, true, h.data(), columns)); },
                       [&] { check(qz::gemm_tn(exact, x, x, 1, true, h.data(), columns)); },
                       [&] { ssyrk_("U", "N", &n, &k, &one, values.data(), &n, &one, h.data(), &n); }});
  print_fast("tn lower", {columns, columns, tokens}, r[0], peak, "exact", r[1]);
  print_fast("tn lower", {columns, columns, tokens}, r[0], peak, "OpenBLAS, 1 thread", r[2]);
}

int bench_fast_products(int threads) {
  g_one_thread = false;
  const auto exact = qz::make_context(threads);
  const auto fast = qz::with_products(exact, qz::Products::kFast);
  const double peak = qz::best_peak(*exact, "bf16");
  std::printf("%s\n%u thread(s), %.1f GB/s out of memory, peak of bfloat16 %.0f GFLOP/s, of float32 %.0f\n",
              qz::engine_choice().c_str(), exact->pool->threads(), qz::read_bandwidth(*exact) / 1e9, peak / 1e9,
              qz::best_peak(*exact, "f32") / 1e9);
  for (const Shape& s : {Shape{64, 4096, 4096}, Shape{512, 4096, 4096}, Shape{2048, 4096, 4096}}) {
    bench_fast(*exact, *fast, s, peak);
  }
  bench_hessian(*exact, *fast, 4096, 8192, peak);
  std::printf("peak of bfloat16 after all: %.0f GFLOP/s\n", qz::best_peak(*exact, "bf16") / 1e9);
  return 0;
}

// The micro-kernel alone, its panels in the first-level cache: what the blocking around it can reach at most.
void bench_tile(const qz::PanelKernels& kernels) {
  constexpr int64_t kDepth = 128;
  const auto a = noise(kernels.mr * kDepth, 3), b = noise(kernels.nr * kDepth, 4);
  std::vector<float> c(static_cast<size_t>(kernels.mr * kernels.nr));
  const int64_t kc = kDepth * kernels.pair;
  const double flops = 2.0 * static_cast<double>(kernels.mr * kernels.nr * kc) * 2000;
  const auto r =
      race(flops, {[&] {
             for (int i = 0; i < 2000; ++i) {
               kernels.tile(kc, a.data(), b.data(), 1e-3f, true, kernels.mr, kernels.nr, c.data(), kernels.nr);
             }
           }});
  std::printf("tile       %6lld %6lld %6lld  %-11s  1 thread   %8.1f GFLOP/s\n", static_cast<long long>(kernels.mr),
              static_cast<long long>(kernels.nr), static_cast<long long>(kc), kernels.name, r[0]);
}

}  // namespace

int main(int argc, char** argv) {
  openblas_set_num_threads(1);
  if (argc > 1 && std::string_view(argv[1]) == "fast") {
    std::printf("peer: OpenBLAS, kernels for %s\n", openblas_get_corename());
    return bench_fast_products(argc > 2 ? std::atoi(argv[2]) : 0);
  }
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  std::vector<Shape> shapes = {{512, 2048, 2048}, {4096, 576, 576}, {2048, 1536, 576}, {256, 4096, 4096},
                               {64, 2048, 2048},  {4096, 256, 256}, {16, 4096, 4096},  {1, 4096, 4096}};
  if (argc > 4) shapes = {{std::atoll(argv[2]), std::atoll(argv[3]), std::atoll(argv[4])}};
  g_one_thread = threads == 1;
  std::printf("peer: OpenBLAS, kernels for %s\n", openblas_get_corename());
  const auto context = qz::make_context(threads);
  int count = 0;
  const qz::Engine* engines = qz::engines(&count);
  for (int e = 0; e < count; ++e) {
    if (!qz::force_gemm_engine(engines[e].name)) {
      std::printf("%s: not on this CPU\n", engines[e].name);
      continue;
    }
    bench_tile(*qz::engine().gemm);
    for (const Shape& shape : shapes) bench_shape(*context, shape);
    if (qz::panels(qz::Products::kFast).pair == 2) bench_tile(qz::panels(qz::Products::kFast));
  }
  return 0;
}
