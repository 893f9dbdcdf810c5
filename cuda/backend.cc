// libqz_cuda.so: the table of qz/backend.h.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#include "factor.h"
#include "gptq.h"
#include "packed/layout.h"
#include "plan.h"
#include "request.h"
#include "runtime.h"

namespace qz::cuda {
namespace {

constexpr int32_t kCpuKind = 1, kCudaKind = 2;  // DLPack
constexpr int32_t kLeastCapability = 80;
constexpr int32_t kWideCapability = 90;  // instructions of sm_90a, which no other has
constexpr uint64_t kWorkspaceAlignment = 256;

struct Backend {
  const qz_host_api* host = nullptr;
  std::vector<Facts> devices;   // by CUDA's indices
  std::vector<int32_t> usable;  // those that the kernels are for
  std::mutex loading;
  std::vector<bool> loaded;  // of each device, whether its kernels are, under `loading`

  qz_status answer(const Outcome& outcome) const {
    return outcome.ok() ? QZ_STATUS_OK : host->fail(host->host, outcome.status, outcome.words.c_str());
  }
  bool is_wide(int32_t index) const { return devices[static_cast<size_t>(index)].capability == kWideCapability; }
  Kernel kernel(int32_t index, int64_t m) const { return kernel_for(m, kTakesWide && is_wide(index)); }
  bool has(int32_t index) const { return std::find(usable.begin(), usable.end(), index) != usable.end(); }
};

const Backend& of(void* self) { return *static_cast<const Backend*>(self); }

Outcome no_device(int32_t index) {
  return {QZ_STATUS_INVALID_ARGUMENT, "there is no usable GPU " + std::to_string(index)};
}

// Runs f() and turns what must not leave through C into a status.
template <class F>
qz_status guarded(void* self, F&& f) noexcept {
  try {
    return of(self).answer(f());
  } catch (const std::bad_alloc&) {
    return QZ_STATUS_OUT_OF_MEMORY;
  } catch (...) {
    return QZ_STATUS_INTERNAL;
  }
}

// The first memory of a device is the time to bring it the kernels: listing devices must cost no context, and a product
// in a captured stream must load nothing.
Outcome load_kernels(Backend& b, int32_t device) {
  const std::lock_guard<std::mutex> lock(b.loading);
  b.loaded.resize(b.devices.size());
  if (b.loaded[static_cast<size_t>(device)]) return {};
  const OnDevice on(device);
  QZ_CUDA_TRY(on.outcome());
  QZ_CUDA_TRY(launched(load_dequantize(), "loading kernels"));
  QZ_CUDA_TRY(launched(load_stream(), "loading kernels"));
  QZ_CUDA_TRY(launched(load_ring(), "loading kernels"));
  if (b.is_wide(device)) QZ_CUDA_TRY(launched(load_wide(), "loading kernels"));
  QZ_CUDA_TRY(launched(load_columns(), "loading kernels"));
  QZ_CUDA_TRY(launched(load_finish(), "loading kernels"));
  b.loaded[static_cast<size_t>(device)] = true;
  return {};
}

uint64_t bytes_of(const qz_tensor& t) {
  uint64_t n = t.dtype == QZ_DTYPE_I64                                                          ? 8
               : t.dtype == QZ_DTYPE_F32 || t.dtype == QZ_DTYPE_I32                             ? 4
               : t.dtype == QZ_DTYPE_F16 || t.dtype == QZ_DTYPE_BF16 || t.dtype == QZ_DTYPE_I16 ? 2
                                                                                                : 1;
  for (int32_t i = 0; i < t.ndim; ++i) n *= static_cast<uint64_t>(t.shape[i]);
  return n;
}

Outcome copy_tensor(const Backend& b, void* stream, const qz_tensor& to, const qz_tensor& from) {
  if (to.dtype != from.dtype || bytes_of(to) != bytes_of(from))
    return {QZ_STATUS_INVALID_ARGUMENT, "a copy between tensors of different types or sizes"};
  const bool reads = from.device.kind == kCudaKind, writes = to.device.kind == kCudaKind;
  if ((!reads && from.device.kind != kCpuKind) || (!writes && to.device.kind != kCpuKind) || (!reads && !writes) ||
      (reads && writes && to.device.index != from.device.index))
    return {QZ_STATUS_INVALID_ARGUMENT, "a copy that is not between the host and one GPU"};
  const int32_t index = reads ? from.device.index : to.device.index;
  if (!b.has(index)) return no_device(index);
  return copy(index, stream, to.data, from.data, bytes_of(to));
}

Outcome run_dequantize(const Request& r, void* stream) {
  const DequantizeArgs args = {r.w, r.out, r.out_stride, r.out_type, 0, static_cast<int32_t>(bricks_of(r.w.rows))};
  return launched(launch_dequantize(args, stream), "dequantize");
}

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

bool is_dense(const Backend& b, const qz_op& op, const Request& r) {
  return op.kind == QZ_OP_GEMM && b.kernel(r.device, r.m) == Kernel::kDense;
}

bool needs_library(const Backend& b, const qz_op& op, const Request& r) {
  return is_dense(b, op, r) || op.kind == QZ_OP_HESSIAN ||
         (op.kind == QZ_OP_GPTQ_COLUMNS && columns_multiply(r.columns.cols));
}

int32_t units_of(const Backend& b, const Request& r) {
  return b.devices[static_cast<size_t>(r.device)].multiprocessors;
}

uint64_t workspace_of(const Backend& b, const qz_op& op, const Request& r) {
  if (op.kind == QZ_OP_HESSIAN) return hessian_workspace();
  if (op.kind == QZ_OP_CHOLESKY_SOLVE) return cholesky_solve_workspace();
  if (op.kind == QZ_OP_GPTQ_COLUMNS) return columns_workspace(r.columns.rows, r.columns.cols);
  if (op.kind != QZ_OP_GEMM) return 0;
  switch (b.kernel(r.device, r.m)) {
    case Kernel::kStream:
      return stream_workspace(r.w.rows, r.m, stream_splits(r.w.rows, r.w.cols, units_of(b, r)));
    case Kernel::kRing:
      return ring_workspace(r.w.rows, r.m, ring_cut(r.w.rows, r.w.cols, r.m, units_of(b, r)));
    case Kernel::kWide:
      return 0;
    case Kernel::kDense:
      break;
  }
  return dense_workspace(r.w.rows, r.w.cols, r.m, r.bias != nullptr).total;
}

// Of a factorization the library says it, and may fail.
Outcome workspace_of(const Backend& b, const qz_op& op, const Request& r, uint64_t* bytes) {
  if (op.kind == QZ_OP_CHOLESKY) return cholesky_workspace(r.device, r.cholesky.n, bytes);
  *bytes = workspace_of(b, op, r);
  return {};
}

// What supports(), workspace() and run() agree on. Libraries are opened and their handles made here, at the
// latest by workspace(): a stream that is being captured takes no new handles.
Outcome take(const Backend& b, const qz_op& op, Request* r) {
  if (const std::string why = take_request(op, r); !why.empty())
    return {QZ_STATUS_UNSUPPORTED, "the GPU does not take " + why};
  if (!b.has(r->device)) return no_device(r->device);
  if (op.kind == QZ_OP_CHOLESKY || op.kind == QZ_OP_CHOLESKY_SOLVE) return prepare_factor(r->device);
  return needs_library(b, op, *r) ? prepare_dense(r->device) : Outcome();
}

Outcome run_op(const Backend& b, void* stream, const qz_op& op) {
  Request r;
  QZ_CUDA_TRY(take(b, op, &r));
  uint64_t need = 0;
  QZ_CUDA_TRY(workspace_of(b, op, r, &need));
  if (op.workspace_bytes < need || (need && !op.workspace))
    return {QZ_STATUS_INVALID_ARGUMENT, "a workspace of " + std::to_string(op.workspace_bytes) +
                                            " bytes, but the operation needs " + std::to_string(need)};
  if (need && reinterpret_cast<uintptr_t>(op.workspace) % kWorkspaceAlignment != 0)
    return {QZ_STATUS_INVALID_ARGUMENT, "a workspace at an address that is no multiple of 256"};
  const OnDevice on(r.device);
  QZ_CUDA_TRY(on.outcome());
  if (op.kind == QZ_OP_DEQUANTIZE) return run_dequantize(r, stream);
  auto* workspace = static_cast<char*>(op.workspace);
  if (op.kind == QZ_OP_HESSIAN) return run_hessian(r.hessian, r.device, stream, workspace);
  if (op.kind == QZ_OP_GPTQ_COLUMNS) return run_columns(r.columns, r.device, stream, workspace);
  if (op.kind == QZ_OP_CHOLESKY) return run_cholesky(r.cholesky, r.device, stream, workspace);
  if (op.kind == QZ_OP_CHOLESKY_SOLVE) return run_cholesky_solve(r.solve, r.device, stream, workspace);
  if (is_dense(b, op, r)) return run_dense(r, stream, workspace);
  if (b.kernel(r.device, r.m) == Kernel::kWide)
    return launched(launch_wide(product_of(r, 1, 1, workspace), stream), "product for many tokens");
  if (b.kernel(r.device, r.m) == Kernel::kRing) {
    const RingCut cut = ring_cut(r.w.rows, r.w.cols, r.m, units_of(b, r));
    return launched(launch_ring(product_of(r, cut.splits, cut.parts, workspace), stream), "product for 9 to 64 tokens");
  }
  const int32_t splits = stream_splits(r.w.rows, r.w.cols, units_of(b, r));
  return launched(launch_stream(product_of(r, splits, 1, workspace), stream), "product for few tokens");
}

qz_status device_info(void* self, size_t i, qz_device_info* out) {
  return guarded(self, [&]() -> Outcome {
    const Backend& b = of(self);
    if (i >= b.usable.size()) return no_device(static_cast<int32_t>(i));
    const int32_t index = b.usable[i];
    const Facts& facts = b.devices[static_cast<size_t>(index)];
    qz_device_info info = {};
    info.struct_size = out->struct_size;
    info.device = {kCudaKind, index};
    const std::string arch = "sm_" + std::to_string(facts.capability);
    std::memcpy(info.name, facts.name.data(), std::min(facts.name.size(), sizeof info.name - 1));
    std::memcpy(info.arch, arch.data(), std::min(arch.size(), sizeof info.arch - 1));
    info.memory_total = facts.memory;
    std::memcpy(out, &info, std::min<size_t>(out->struct_size, sizeof info));
    return {};
  });
}

void fill(qz_backend_api* t) {
  t->name = "cuda";
  t->destroy = [](void* self) { delete static_cast<Backend*>(self); };
  t->device_count = [](void* self) { return of(self).usable.size(); };
  t->device_info = device_info;
  t->alloc = [](void* self, int32_t index, uint64_t size, void** out) {
    return guarded(self, [&]() -> Outcome {
      if (!of(self).has(index)) return no_device(index);
      *out = nullptr;
      QZ_CUDA_TRY(load_kernels(*static_cast<Backend*>(self), index));
      return size ? allocate(index, size, out) : Outcome();
    });
  };
  t->release = [](void* self, int32_t index, void* pointer) {
    if (pointer && of(self).has(index)) release(index, pointer);
  };
  t->copy = [](void* self, void* stream, const qz_tensor* to, const qz_tensor* from) {
    return guarded(self, [&] { return copy_tensor(of(self), stream, *to, *from); });
  };
  t->fill_zero = [](void* self, void* stream, int32_t index, void* pointer, uint64_t size) {
    return guarded(self,
                   [&] { return of(self).has(index) ? fill_zero(index, stream, pointer, size) : no_device(index); });
  };
  t->supports = [](void* self, const qz_op* op) -> int32_t {
    Request r;
    return guarded(self, [&] { return take(of(self), *op, &r); }) == QZ_STATUS_OK;
  };
  t->workspace = [](void* self, const qz_op* op) -> uint64_t {
    uint64_t bytes = 0;
    (void)guarded(self, [&]() -> Outcome {
      Request r;
      QZ_CUDA_TRY(take(of(self), *op, &r));
      return workspace_of(of(self), *op, r, &bytes);
    });
    return bytes;
  };
  t->run = [](void* self, void* stream, const qz_op* op) {
    return guarded(self, [&] { return run_op(of(self), stream, *op); });
  };
  t->synchronize = [](void* self, void* stream, int32_t index) {
    return guarded(self, [&] { return of(self).has(index) ? synchronize(index, stream) : no_device(index); });
  };
}

Outcome list_devices(Backend* b) {
  int32_t count = 0;
  QZ_CUDA_TRY(start(&count));
  b->devices.resize(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) {
    Facts& facts = b->devices[static_cast<size_t>(i)];
    QZ_CUDA_TRY(read_facts(i, &facts));
    if (facts.capability >= kLeastCapability) b->usable.push_back(i);
  }
  if (!b->usable.empty()) return {};
  const Facts& first = b->devices[0];
  return {QZ_STATUS_DEVICE, "GPU 0, " + first.name + ", has compute capability " +
                                std::to_string(first.capability / 10) + "." + std::to_string(first.capability % 10) +
                                ": 8.0 is the least"};
}

}  // namespace
}  // namespace qz::cuda

extern "C" QZ_API qz_status qz_backend_open(uint32_t abi, const qz_host_api* host, qz_backend_api* out) {
  using qz::cuda::Backend;
  if (abi != QZ_BACKEND_ABI) return QZ_STATUS_UNSUPPORTED;
  auto* backend = new (std::nothrow) Backend;
  if (!backend) return QZ_STATUS_OUT_OF_MEMORY;
  backend->host = host;
  const qz_status status = qz::cuda::guarded(backend, [&] { return qz::cuda::list_devices(backend); });
  if (status != QZ_STATUS_OK) {
    delete backend;
    return status;
  }
  qz_backend_api table = {};
  table.struct_size = static_cast<uint32_t>(std::min<size_t>(out->struct_size, sizeof table));
  table.self = backend;
  qz::cuda::fill(&table);
  std::memcpy(out, &table, table.struct_size);
  return QZ_STATUS_OK;
}
