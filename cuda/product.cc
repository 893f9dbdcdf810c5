#include "product.h"

#include <algorithm>

#include "packed/layout.h"
#include "plan.h"

namespace qz::cuda {
namespace {

constexpr int32_t kWideCapability = 90;  // instructions of sm_90a, which no other has

Kernel kernel_of(const Facts& gpu, const Request& r) { return kernel_for(r.m, takes_wide(gpu)); }

ProductArgs product_of(const Request& r, int32_t splits, int32_t parts, char* workspace) {
  ProductArgs a = {};
  a.w = r.w;
  a.x = r.x, a.y = r.y, a.bias = r.bias;
  a.arrived = reinterpret_cast<uint32_t*>(workspace);
  a.partial = splits > 1 ? reinterpret_cast<float*>(workspace + kCounterBytes) : nullptr;
  a.x_stride = r.x_stride, a.y_stride = r.y_stride;
  a.m = r.m, a.splits = splits, a.parts = parts;
  a.type = r.type, a.y_type = r.y_type;
  return a;
}

// Slice after slice: dequantized into the cache, then multiplied by cuBLASLt.
Outcome run_dense(const Request& r, void* stream, char* workspace) {
  const DenseSpace space = dense_workspace(r.w.rows, r.w.cols, r.m, r.bias != nullptr);
  const int64_t slice = dense_slice(r.w.rows, r.w.cols);
  for (int64_t first = 0; first < r.w.rows; first += slice) {
    const auto rows = static_cast<int32_t>(std::min<int64_t>(slice, r.w.rows - first));
    const DequantizeArgs expand = {r.w,
                                   workspace + space.weights,
                                   dense_stride(r.w.cols),
                                   r.type,
                                   static_cast<int32_t>(first / kBrickSide),
                                   static_cast<int32_t>(bricks_of(rows))};
    QZ_CUDA_TRY(launched(launch_dequantize(expand, stream), "dequantize"));
    void* y = static_cast<char*>(r.y) + first * float_bytes(r.y_type);
    DenseArgs d = {};
    d.w = expand.out, d.x = r.x;
    d.y = r.bias ? workspace + space.sums : y;
    d.w_stride = expand.stride, d.x_stride = r.x_stride, d.y_stride = r.bias ? rows : r.y_stride;
    d.m = r.m, d.rows = rows, d.cols = r.w.cols;
    d.type = r.type, d.y_type = r.bias ? Float::kF32 : r.y_type;
    d.workspace = workspace + space.library;
    d.workspace_bytes = kLibraryBytes;
    QZ_CUDA_TRY(dense_product(r.device, stream, d));
    if (!r.bias) continue;
    const FinishArgs finish = {static_cast<const float*>(d.y), r.bias + first, y, r.y_stride, r.m, rows, r.y_type};
    QZ_CUDA_TRY(launched(launch_finish(finish, stream), "bias"));
  }
  return {};
}

}  // namespace

bool takes_wide(const Facts& gpu) { return kTakesWide && gpu.capability == kWideCapability; }

bool is_dense(const Facts& gpu, const Request& r) { return kernel_of(gpu, r) == Kernel::kDense; }

uint64_t product_workspace(const Facts& gpu, const Request& r) {
  switch (kernel_of(gpu, r)) {
    case Kernel::kStream:
      return stream_workspace(r.w.rows, r.m, stream_splits(r.w.rows, r.w.cols, gpu.multiprocessors));
    case Kernel::kRing:
      return ring_workspace(r.w.rows, r.m, ring_cut(r.w.rows, r.w.cols, r.m, gpu.multiprocessors));
    case Kernel::kWide:
      return 0;
    case Kernel::kDense:
      break;
  }
  return dense_workspace(r.w.rows, r.w.cols, r.m, r.bias != nullptr).total;
}

Outcome run_product(const Facts& gpu, const Request& r, void* stream, char* workspace) {
  switch (kernel_of(gpu, r)) {
    case Kernel::kStream: {
      const int32_t splits = stream_splits(r.w.rows, r.w.cols, gpu.multiprocessors);
      return launched(launch_stream(product_of(r, splits, 1, workspace), stream), "product for few tokens");
    }
    case Kernel::kRing: {
      const RingCut cut = ring_cut(r.w.rows, r.w.cols, r.m, gpu.multiprocessors);
      return launched(launch_ring(product_of(r, cut.splits, cut.parts, workspace), stream),
                      "product for 9 to 64 tokens");
    }
    case Kernel::kWide:
      return launched(launch_wide(product_of(r, 1, 1, workspace), stream), "product for many tokens");
    case Kernel::kDense:
      break;
  }
  return run_dense(r, stream, workspace);
}

}  // namespace qz::cuda
