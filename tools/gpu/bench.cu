// bench PLUGIN OUT.json [dry]: what the operations of libqz_cuda.so take on this GPU, beside the least that moving
// their bytes and doing their arithmetic could take. Every figure is the median of replays of a CUDA graph whose
// launches rotate over enough copies of the weights that the L2 cache holds none of them. dry: the list of cases, no
// GPU.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "plan.h"
#include "request.h"
#include "runtime.h"
#include "tests/backend/opened.h"

namespace {

using namespace qz::cuda;
using qz::check::Plugin;

struct Shape {
  int64_t rows, cols;
};
constexpr Shape kShapes[] = {{4096, 4096}, {8192, 8192}, {11008, 4096}, {28672, 8192}};
constexpr int64_t kTokens[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
constexpr int32_t kGroup = 128, kReplays = 30;

int failures = 0;
void must(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "%s: %s, %s\n", what, cudaGetErrorString(cudaGetLastError()), qz::check::failure().c_str());
  ++failures;
}

__global__ void fill_random(uint32_t* p, int64_t words, uint32_t keep, uint32_t add) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < words; i += step) {
    uint32_t h = static_cast<uint32_t>(i) * 2654435761u;
    h ^= h >> 15, h *= 2246822519u, h ^= h >> 13, h *= 3266489917u, h ^= h >> 16;
    p[i] = (h & keep) | add;
  }
}

struct Memory {
  void* p = nullptr;
  explicit Memory(uint64_t bytes) {
    must(cudaMalloc(&p, bytes) == cudaSuccess && cudaMemset(p, 0, bytes) == cudaSuccess, "memory");
  }
  // keep, add: bits of each pair of 16-bit floats that are random, and that are set.
  Memory(uint64_t bytes, uint32_t keep, uint32_t add) : Memory(bytes) {
    fill_random<<<1024, 256>>>(static_cast<uint32_t*>(p), static_cast<int64_t>(bytes / 4), keep, add);
  }
  ~Memory() { cudaFree(p); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
};

struct Time {
  double median = 0, low = 0, high = 0;  // microseconds; low, high: 10th and 90th percentile
};

// launch(i) for i in [0, launches) on `stream`, as one graph.
Time measure(cudaStream_t stream, int launches, const std::function<bool(int)>& launch) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess, "capture");
  for (int i = 0; i < launches; ++i) must(launch(i), "launch");
  must(cudaStreamEndCapture(stream, &graph) == cudaSuccess && cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess,
       "graph");
  cudaEvent_t begin, end;
  cudaEventCreate(&begin), cudaEventCreate(&end);
  std::vector<double> times;
  for (int i = -3; i < kReplays && exec; ++i) {
    cudaEventRecord(begin, stream);
    must(cudaGraphLaunch(exec, stream) == cudaSuccess, "replay");
    cudaEventRecord(end, stream);
    must(cudaEventSynchronize(end) == cudaSuccess, "replay");
    float ms = 0;
    cudaEventElapsedTime(&ms, begin, end);
    if (i >= 0) times.push_back(1000.0 * ms / launches);
  }
  cudaEventDestroy(begin), cudaEventDestroy(end);
  cudaGraphExecDestroy(exec), cudaGraphDestroy(graph);
  std::sort(times.begin(), times.end());
  if (times.empty()) return {};
  return {times[times.size() / 2], times[times.size() / 10], times[times.size() * 9 / 10]};
}

std::string json;
void row(const std::string& text) {
  json += (json.empty() ? "  " : ",\n  ") + text;
  std::printf("%s\n", text.c_str());
}
std::string format(const char* pattern, auto... values) {
  char text[512];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

uint64_t weight_bytes(const Shape& s) {
  return static_cast<uint64_t>(s.rows * s.cols / 2 + s.rows * (s.cols / kGroup) * 2);
}

// Bytes per second, read and written, of a large copy.
double copy_rate(cudaStream_t stream) {
  const uint64_t bytes = uint64_t{2} << 30;
  Memory a(bytes, 0xffffffff, 0), b(bytes);
  const Time t = measure(stream, 4, [&](int) {
    return cudaMemcpyAsync(b.p, a.p, bytes, cudaMemcpyDeviceToDevice, stream) == cudaSuccess;
  });
  return t.median > 0 ? 2.0 * static_cast<double>(bytes) / t.median * 1e6 : 0;
}

struct Bench {
  Plugin& plugin;
  cudaStream_t stream;
  int32_t units;
  uint64_t cache;
  double rate;

  void shape(const Shape& s) {
    const uint64_t codes_bytes = static_cast<uint64_t>(s.rows * s.cols / 2);
    const auto copies = static_cast<int>(std::max<uint64_t>(2, 3 * cache / weight_bytes(s) + 1));
    Memory codes(codes_bytes * copies, 0xffffffff, 0);
    Memory scales(static_cast<uint64_t>(s.rows * (s.cols / kGroup) * 2), 0x03ff03ff,
                  0x20002000);  // 0.008 to 0.016 in F16
    Memory x(static_cast<uint64_t>(4096 * s.cols * 2), 0x807f807f, 0x3f003f00),
        y(static_cast<uint64_t>(4096 * s.rows * 2));
    Memory dense(static_cast<uint64_t>(s.rows * s.cols * 2 * 2), 0x807f807f, 0x3c003c00);  // two copies of BF16
    for (const int64_t m : kTokens) {
      qz_bricks w = {};
      w.struct_size = sizeof w;
      w.bits = 4, w.group = kGroup, w.zero = 8, w.scale = QZ_DTYPE_F16;
      w.rows = s.rows, w.cols = s.cols;
      w.scales = scales.p;
      const qz_tensor operands[2] = {qz::check::matrix_of(plugin, x.p, m, s.cols, s.cols, QZ_DTYPE_BF16),
                                     qz::check::matrix_of(plugin, y.p, m, s.rows, s.rows, QZ_DTYPE_BF16)};
      qz_op op = qz::check::op_of(QZ_OP_GEMM, operands, 2);
      op.w = &w;
      w.codes = codes.p;
      op.workspace_bytes = plugin.api.workspace(plugin.api.self, &op);
      Memory workspace(std::max<uint64_t>(op.workspace_bytes, 256));
      op.workspace = workspace.p;
      const double bytes = static_cast<double>(weight_bytes(s)) + static_cast<double>(m * (s.rows + s.cols) * 2);
      const double flops = 2.0 * static_cast<double>(m * s.rows * s.cols);
      const int launches = std::clamp(copies, 4, 40);
      const Time ours = measure(stream, launches, [&](int i) {
        w.codes = static_cast<char*>(codes.p) + codes_bytes * static_cast<uint64_t>(i % copies);
        return plugin.api.run(plugin.api.self, stream, &op) == QZ_STATUS_OK;
      });
      DenseArgs d = {};
      d.x = x.p, d.y = y.p;
      d.w_stride = d.x_stride = s.cols, d.y_stride = s.rows;
      d.m = static_cast<int32_t>(m), d.rows = static_cast<int32_t>(s.rows), d.cols = static_cast<int32_t>(s.cols);
      d.type = d.y_type = Float::kBF16;
      Memory scratch(kLibraryBytes);
      d.workspace = scratch.p, d.workspace_bytes = kLibraryBytes;
      const Time theirs = measure(stream, 8, [&](int i) {
        d.w = static_cast<char*>(dense.p) + static_cast<uint64_t>(s.rows * s.cols * 2) * static_cast<uint64_t>(i % 2);
        return dense_product(0, stream, d).ok();
      });
      row(
          format("{\"rows\": %lld, \"cols\": %lld, \"m\": %lld, \"us\": %.2f, \"us_p10\": %.2f, \"us_p90\": %.2f, "
                 "\"memory_floor_us\": %.2f, \"gb_s\": %.0f, \"tflop_s\": %.1f, \"cublaslt_bf16_us\": %.2f}",
                 static_cast<long long>(s.rows), static_cast<long long>(s.cols), static_cast<long long>(m), ours.median,
                 ours.low, ours.high, bytes / rate * 1e6, bytes / ours.median / 1e3, flops / ours.median / 1e6,
                 theirs.median));
      if (m <= kStreamTokens) splits(s, w, operands, m, codes, codes_bytes, copies, false);
      if (m > 8 && m <= kRingTokens) splits(s, w, operands, m, codes, codes_bytes, copies, true);
    }
  }

  // The table of shares: what each number of them takes with the stream or the ring kernel, and which one the plan
  // picks. The plan's constants are calculated: this is what replaces them.
  void splits(const Shape& s, qz_bricks& w, const qz_tensor* operands, int64_t m, const Memory& codes,
              uint64_t codes_bytes, int copies, bool ring) {
    qz_op op = qz::check::op_of(QZ_OP_GEMM, operands, 2);
    op.w = &w;
    Request r;
    must(take_request(op, &r).empty(), "request");
    const RingCut planned =
        ring ? ring_cut(s.rows, s.cols, m, units) : RingCut{stream_splits(s.rows, s.cols, units), 1};
    const bool chosen = (kernel_for(m, false) == Kernel::kRing) == ring;
    for (const int32_t parts : {1, 2}) {
      if (ring ? parts == 1 && m <= 32 : parts == 2) continue;
      for (const int32_t shares : {1, 2, 3, 4, 6, 8, 12, 16}) {
        if (shares > qz::bricks_of(s.cols) / 4) continue;
        const RingCut cut = {shares, parts};
        Memory workspace(
            std::max<uint64_t>(ring ? ring_workspace(s.rows, m, cut) : stream_workspace(s.rows, m, shares), 256));
        ProductArgs a = {};
        a.w = r.w, a.x = r.x, a.y = r.y;
        a.arrived = static_cast<uint32_t*>(workspace.p);
        a.partial = reinterpret_cast<float*>(static_cast<char*>(workspace.p) + kCounterBytes);
        a.x_stride = r.x_stride, a.y_stride = r.y_stride;
        a.m = r.m, a.splits = shares, a.parts = parts;
        a.type = r.type, a.y_type = r.y_type;
        const Time t = measure(stream, std::clamp(copies, 4, 40), [&](int i) {
          a.w.codes = reinterpret_cast<const uint32_t*>(static_cast<char*>(codes.p) +
                                                        codes_bytes * static_cast<uint64_t>(i % copies));
          return (ring ? launch_ring(a, stream) : launch_stream(a, stream)) == 0;
        });
        const bool same = chosen && shares == planned.splits && parts == planned.parts;
        row(
            format("{\"rows\": %lld, \"cols\": %lld, \"m\": %lld, \"kernel\": \"%s\", \"splits\": %d, \"parts\": %d, "
                   "\"us\": %.2f, \"planned\": %s}",
                   static_cast<long long>(s.rows), static_cast<long long>(s.cols), static_cast<long long>(m),
                   ring ? "ring" : "stream", shares, parts, t.median, same ? "true" : "false"));
      }
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  if (argc > 3 && std::string(argv[3]) == "dry") {
    for (const Shape& s : kShapes)
      std::printf("%lld x %lld: %llu bytes of weights, %zu sizes of batch, %d shares on 132 multiprocessors\n",
                  static_cast<long long>(s.rows), static_cast<long long>(s.cols),
                  static_cast<unsigned long long>(weight_bytes(s)), std::size(kTokens),
                  stream_splits(s.rows, s.cols, 132));
    return 0;
  }
  Plugin plugin;
  if (!plugin.open(argv[1])) {
    std::printf("SKIPPED: no device: %s\n", qz::check::failure().c_str());
    return 77;
  }
  cudaDeviceProp properties;
  cudaStream_t stream;
  must(cudaGetDeviceProperties(&properties, 0) == cudaSuccess && cudaStreamCreate(&stream) == cudaSuccess, "device");
  const Outcome prepared = prepare_dense(0);
  if (!prepared.ok()) std::fprintf(stderr, "%s\n", prepared.words.c_str()), ++failures;
  must(load_ring() == 0, "kernels");  // of this program, beside the plug-in's
  Bench bench{plugin, stream, properties.multiProcessorCount, static_cast<uint64_t>(properties.l2CacheSize), 0};
  bench.rate = copy_rate(stream);
  row(format("{\"device\": \"%s\", \"multiprocessors\": %d, \"l2_bytes\": %d, \"copy_gb_s\": %.0f}", properties.name,
             properties.multiProcessorCount, properties.l2CacheSize, bench.rate / 1e9));
  for (const Shape& s : kShapes) bench.shape(s);
  std::FILE* file = std::fopen(argv[2], "w");
  must(file && std::fprintf(file, "[\n%s\n]\n", json.c_str()) > 0 && std::fclose(file) == 0, argv[2]);
  return failures != 0;
}
