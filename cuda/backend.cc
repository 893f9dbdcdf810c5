// libqz_cuda.so: the table of qz/backend.h.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#include "factor.h"
#include "gptq.h"
#include "packed/layout.h"
#include "product.h"
#include "request.h"
#include "runtime.h"

namespace qz::cuda {
namespace {

constexpr int32_t kCpuKind = 1, kCudaKind = 2;  // DLPack
constexpr int32_t kLeastCapability = 80;
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
  const Facts& facts(int32_t index) const { return devices[static_cast<size_t>(index)]; }
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
  if (takes_wide(b.facts(device))) QZ_CUDA_TRY(launched(load_wide(), "loading kernels"));
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

// What supports(), workspace() and run() agree on: what is asked, and the bytes of scratch that it needs, which a
// library may not say. Libraries are opened and their handles made here, at the latest by workspace(): a stream that is
// being captured takes no new handles.
Outcome take(const Backend& b, const qz_op& op, Request* r, uint64_t* bytes) {
  *bytes = 0;
  if (const std::string why = take_request(op, r); !why.empty())
    return {QZ_STATUS_UNSUPPORTED, "the GPU does not take " + why};
  if (!b.has(r->device)) return no_device(r->device);
  bool multiplies = false;  // by cuBLASLt
  if (op.kind == QZ_OP_GEMM) {
    multiplies = is_dense(b.facts(r->device), *r);
    *bytes = product_workspace(b.facts(r->device), *r);
  } else if (op.kind == QZ_OP_HESSIAN) {
    multiplies = true;
    *bytes = hessian_workspace();
  } else if (op.kind == QZ_OP_GPTQ_COLUMNS) {
    multiplies = columns_multiply(r->columns.cols);
    *bytes = columns_workspace(r->columns.rows, r->columns.cols);
  } else if (op.kind == QZ_OP_CHOLESKY) {
    return cholesky_workspace(r->device, r->cholesky.n, bytes);
  } else if (op.kind == QZ_OP_CHOLESKY_SOLVE) {
    *bytes = cholesky_solve_workspace();
    return prepare_factor(r->device);
  }
  return multiplies ? prepare_dense(r->device) : Outcome();
}

Outcome run_op(const Backend& b, void* stream, const qz_op& op) {
  Request r;
  uint64_t need = 0;
  QZ_CUDA_TRY(take(b, op, &r, &need));
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
  return run_product(b.facts(r.device), r, stream, workspace);
}

qz_status device_info(void* self, size_t i, qz_device_info* out) {
  return guarded(self, [&]() -> Outcome {
    const Backend& b = of(self);
    if (i >= b.usable.size()) return no_device(static_cast<int32_t>(i));
    const int32_t index = b.usable[i];
    const Facts& facts = b.facts(index);
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
    uint64_t bytes = 0;
    return guarded(self, [&] { return take(of(self), *op, &r, &bytes); }) == QZ_STATUS_OK;
  };
  t->workspace = [](void* self, const qz_op* op) -> uint64_t {
    uint64_t bytes = 0;
    Request r;
    return guarded(self, [&] { return take(of(self), *op, &r, &bytes); }) == QZ_STATUS_OK ? bytes : 0;
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
