// Factorizations through cuSOLVER, which is opened when first needed: libqz_cuda.so runs without it, and says so where
// it, or a library that it needs itself, is missing. The few declarations that are needed stand here, as in
// cublaslt.cc; its 64-bit interface is the same in 11 and 12 (cuSOLVER library reference, "cuSolverDN 64-bit API").
//
// cuSOLVER counts by columns: what is lower row by row is its upper triangle, and rows of x are its columns.
#include <dlfcn.h>

#include <map>
#include <mutex>
#include <vector>

#include "cusolver_values.h"
#include "factor.h"

namespace qz::cuda {
namespace {

// Of CUDA 13, which libqz_cuda.so is built with, and of CUDA 12.
constexpr const char* kNames[] = {"libcusolver.so.12", "libcusolver.so.11"};

struct Library {
  int (*create)(void** handle);
  int (*set_stream)(void* handle, void* stream);
  int (*params_create)(void** params);
  int (*potrf_size)(void* handle, void* params, int triangle, int64_t n, int type, const void* a, int64_t stride,
                    int compute, size_t* device_bytes, size_t* host_bytes);
  int (*potrf)(void* handle, void* params, int triangle, int64_t n, int type, void* a, int64_t stride, int compute,
               void* device_buffer, size_t device_bytes, void* host_buffer, size_t host_bytes, int* info);
  int (*potrs)(void* handle, void* params, int triangle, int64_t n, int64_t columns, int type, const void* a,
               int64_t stride, int b_type, void* b, int64_t b_stride, int* info);
};

template <class F>
bool find(void* file, const char* name, F* out) {
  *out = reinterpret_cast<F>(dlsym(file, name));
  return *out != nullptr;
}

// The loader's words name the library that is missing: it may be one that cuSOLVER itself needs.
Outcome open(Library* l) {
  void* file = nullptr;
  std::string why;
  for (const char* name : kNames) {
    if (!file) file = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!file && why.empty()) why = dlerror();
  }
  if (!file)
    return {QZ_STATUS_DEVICE, std::string("this needs cuSOLVER, but ") + kNames[0] + " cannot be opened: " + why +
                                  " (pip install nvidia-cusolver, or NVIDIA's CUDA toolkit)"};
  const bool all = find(file, "cusolverDnCreate", &l->create) && find(file, "cusolverDnSetStream", &l->set_stream) &&
                   find(file, "cusolverDnCreateParams", &l->params_create) &&
                   find(file, "cusolverDnXpotrf_bufferSize", &l->potrf_size) &&
                   find(file, "cusolverDnXpotrf", &l->potrf) && find(file, "cusolverDnXpotrs", &l->potrs);
  return all ? Outcome()
             : Outcome{QZ_STATUS_DEVICE,
                       "this needs cuSOLVER of CUDA 12 or 13, but the one that is there "
                       "lacks a function"};
}

Outcome outcome_of(int status, const char* what) {
  if (status == 0) return {};
  return {QZ_STATUS_DEVICE, std::string("cuSOLVER, ") + what + ": status " + std::to_string(status)};
}

// A handle has one stream at a time: calls are made under its mutex.
struct Handle {
  std::mutex mutex;
  void *handle = nullptr, *params = nullptr;
  std::vector<char> scratch;  // on the host, while a factorization runs
};

// The library and a handle per device, made once. Under the mutex handles are found, not used: no device waits for
// another.
struct Handles {
  std::mutex mutex;
  bool opened = false;
  Outcome opening;
  Library library = {};
  std::map<int32_t, Handle> handle;  // never freed: they may not be when the process ends
};

Handles& handles() {
  static auto* one = new Handles;
  return *one;
}

// f(library, handle) on the device, the only one at work with that handle.
template <class F>
Outcome with_handle(int32_t device, const F& f) {
  Handles& h = handles();
  std::unique_lock<std::mutex> finding(h.mutex);
  if (!h.opened) h.opening = open(&h.library);
  h.opened = true;
  if (!h.opening.ok()) return h.opening;
  Handle& handle = h.handle[device];
  finding.unlock();
  const std::lock_guard<std::mutex> lock(handle.mutex);
  const OnDevice on(device);
  QZ_CUDA_TRY(on.outcome());
  if (!handle.handle) QZ_CUDA_TRY(outcome_of(h.library.create(&handle.handle), "start"));
  if (!handle.params) QZ_CUDA_TRY(outcome_of(h.library.params_create(&handle.params), "parameters"));
  return f(h.library, handle);
}

struct Sizes {
  size_t device = 0, host = 0;
};

Outcome sizes_of(const Library& l, const Handle& h, int32_t n, const void* a, Sizes* out) {
  return outcome_of(
      l.potrf_size(h.handle, h.params, solver::kUpper, n, solver::kF32, a, n, solver::kF32, &out->device, &out->host),
      "size of a factorization");
}

}  // namespace

Outcome prepare_factor(int32_t device) {
  return with_handle(device, [](const Library&, Handle&) { return Outcome(); });
}

Outcome cholesky_workspace(int32_t device, int32_t n, uint64_t* bytes) {
  return with_handle(device, [&](const Library& l, const Handle& h) -> Outcome {
    Sizes sizes;
    QZ_CUDA_TRY(sizes_of(l, h, n, nullptr, &sizes));
    *bytes = kCounterBytes + aligned(sizes.device);
    return {};
  });
}

Outcome run_cholesky(const CholeskyArgs& args, int32_t device, void* stream, char* workspace) {
  return with_handle(device, [&](const Library& l, Handle& h) -> Outcome {
    Sizes sizes;
    QZ_CUDA_TRY(sizes_of(l, h, args.n, nullptr, &sizes));  // as the workspace was asked for
    h.scratch.resize(sizes.host);
    QZ_CUDA_TRY(outcome_of(l.set_stream(h.handle, stream), "stream"));
    QZ_CUDA_TRY(
        outcome_of(l.potrf(h.handle, h.params, solver::kUpper, args.n, solver::kF32, args.a, args.n, solver::kF32,
                           workspace + kCounterBytes, sizes.device, h.scratch.data(), sizes.host, args.info),
                   "factorization"));
    // The next one may have another stream, and overwrite what this one still reads.
    return sizes.host ? synchronize(device, stream) : Outcome();
  });
}

Outcome run_cholesky_solve(const CholeskySolveArgs& args, int32_t device, void* stream, char* workspace) {
  return with_handle(device, [&](const Library& l, const Handle& h) -> Outcome {
    QZ_CUDA_TRY(outcome_of(l.set_stream(h.handle, stream), "stream"));
    return outcome_of(l.potrs(h.handle, h.params, solver::kUpper, args.n, args.m, solver::kF32, args.lower, args.n,
                              solver::kF32, args.x, args.n, reinterpret_cast<int*>(workspace + kCounterBytes)),
                      "solve");
  });
}

}  // namespace qz::cuda
