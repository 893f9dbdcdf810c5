// Dense products through cuBLASLt, which is opened when first needed: libqz_cuda.so runs without it, and says so where
// it is missing. The few declarations that are needed stand here, so that building takes no 400 MB of cuBLAS: the
// functions are C, the enumerations' values are frozen within a major version (cuBLAS library reference, chapter 3).
// tests/cuda compares them with cublasLt.h where that is installed.
#include <dlfcn.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <map>
#include <mutex>

#include "cublaslt_values.h"
#include "runtime.h"

namespace qz::cuda {
namespace {

// 13 is what libqz_cuda.so is built with; 12 has the same interface.
constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12"};

struct Library {
  int (*create)(void** handle);
  int (*matmul_desc_create)(void** desc, int compute, int scale);
  int (*matmul_desc_destroy)(void* desc);
  int (*matmul_desc_set)(void* desc, int attribute, const void* value, size_t size);
  int (*layout_create)(void** layout, int type, uint64_t rows, uint64_t cols, int64_t stride);
  int (*layout_destroy)(void* layout);
  int (*preference_create)(void** preference);
  int (*preference_destroy)(void* preference);
  int (*preference_set)(void* preference, int attribute, const void* value, size_t size);
  int (*heuristic)(void* handle, void* desc, void* a, void* b, void* c, void* d, void* preference, int wanted,
                   lt::Heuristic* results, int* found);
  int (*matmul)(void* handle, void* desc, const void* alpha, const void* a, void* a_layout, const void* b,
                void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                const void* algorithm, void* workspace, size_t workspace_bytes, void* stream);
  const char* (*status_string)(int status);
};

template <class F>
bool find(void* file, const char* name, F* out) {
  *out = reinterpret_cast<F>(dlsym(file, name));
  return *out != nullptr;
}

Outcome open(Library* l) {
  void* file = nullptr;
  for (const char* name : kNames)
    if (!file) file = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!file)
    return {QZ_STATUS_DEVICE, std::string("this needs cuBLASLt, but ") + kNames[0] +
                                  " is not there (pip install nvidia-cublas, or NVIDIA's CUDA toolkit)"};
  const bool all = find(file, "cublasLtCreate", &l->create) &&
                   find(file, "cublasLtMatmulDescCreate", &l->matmul_desc_create) &&
                   find(file, "cublasLtMatmulDescDestroy", &l->matmul_desc_destroy) &&
                   find(file, "cublasLtMatmulDescSetAttribute", &l->matmul_desc_set) &&
                   find(file, "cublasLtMatrixLayoutCreate", &l->layout_create) &&
                   find(file, "cublasLtMatrixLayoutDestroy", &l->layout_destroy) &&
                   find(file, "cublasLtMatmulPreferenceCreate", &l->preference_create) &&
                   find(file, "cublasLtMatmulPreferenceDestroy", &l->preference_destroy) &&
                   find(file, "cublasLtMatmulPreferenceSetAttribute", &l->preference_set) &&
                   find(file, "cublasLtMatmulAlgoGetHeuristic", &l->heuristic) &&
                   find(file, "cublasLtMatmul", &l->matmul) && find(file, "cublasLtGetStatusString", &l->status_string);
  return all ? Outcome() : Outcome{QZ_STATUS_DEVICE, "cuBLASLt lacks a function that this version needs"};
}

Outcome outcome_of(const Library& l, int status, const char* what) {
  if (status == 0) return {};
  return {QZ_STATUS_DEVICE, std::string("cuBLASLt, ") + what + ": " + l.status_string(status)};
}

// The library and a handle per device, made once.
struct Handles {
  std::mutex mutex;
  bool opened = false;
  Outcome opening;
  Library library = {};
  std::map<int32_t, void*> handle;  // never freed: they may not be when the process ends
};

Handles& handles() {
  static auto* one = new Handles;
  return *one;
}

Outcome handle_of(int32_t device, void** out) {
  Handles& h = handles();
  const std::lock_guard<std::mutex> lock(h.mutex);
  if (!h.opened) h.opening = open(&h.library);
  h.opened = true;
  if (!h.opening.ok()) return h.opening;
  void*& handle = h.handle[device];
  const OnDevice on(device);
  QZ_CUDA_TRY(on.outcome());
  if (!handle) QZ_CUDA_TRY(outcome_of(h.library, h.library.create(&handle), "start"));
  *out = handle;
  return {};
}

// A descriptor that frees itself.
class Descriptor {
 public:
  explicit Descriptor(int (*destroy)(void*)) : destroy_(destroy) {}
  ~Descriptor() {
    if (it_) destroy_(it_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  void** out() { return &it_; }
  operator void*() const { return it_; }

 private:
  void* it_ = nullptr;
  int (*destroy_)(void*);
};

int type_of(Float f) { return f == Float::kF32 ? lt::kF32 : f == Float::kF16 ? lt::kF16 : lt::kBF16; }

}  // namespace

Outcome prepare_dense(int32_t device) {
  void* handle = nullptr;
  return handle_of(device, &handle);
}

// cuBLASLt counts by columns: y^T [rows][m] = w [cols][rows]^T x^T [cols][m]. What lies across is there as it is
// wanted.
Outcome dense_product(int32_t device, void* stream, const DenseArgs& args) {
  void* handle = nullptr;
  QZ_CUDA_TRY(handle_of(device, &handle));
  const Library& l = handles().library;
  Descriptor product(l.matmul_desc_destroy), w(l.layout_destroy), x(l.layout_destroy), y(l.layout_destroy),
      preference(l.preference_destroy);
  const auto made = [&l](int status) { return outcome_of(l, status, "descriptors"); };
  QZ_CUDA_TRY(made(l.matmul_desc_create(product.out(), lt::kCompute32F, lt::kF32)));
  if (!args.w_across)
    QZ_CUDA_TRY(made(l.matmul_desc_set(product, lt::kTransposeA, &lt::kTransposed, sizeof lt::kTransposed)));
  if (args.x_across)
    QZ_CUDA_TRY(made(l.matmul_desc_set(product, lt::kTransposeB, &lt::kTransposed, sizeof lt::kTransposed)));
  const auto rows = static_cast<uint64_t>(args.rows), cols = static_cast<uint64_t>(args.cols),
             m = static_cast<uint64_t>(args.m);
  QZ_CUDA_TRY(made(l.layout_create(w.out(), type_of(args.type), args.w_across ? rows : cols,
                                   args.w_across ? cols : rows, args.w_stride)));
  QZ_CUDA_TRY(made(
      l.layout_create(x.out(), type_of(args.type), args.x_across ? m : cols, args.x_across ? cols : m, args.x_stride)));
  QZ_CUDA_TRY(made(l.layout_create(y.out(), type_of(args.y_type), rows, m, args.y_stride)));
  QZ_CUDA_TRY(made(l.preference_create(preference.out())));
  // Shares of columns are added in float32 or not made: other schemes add them in the type of y, rounding each.
  QZ_CUDA_TRY(made(l.preference_set(preference, lt::kReductionMask, &lt::kReduceInFloat, sizeof lt::kReduceInFloat)));
  // Kernels are chosen by the alignment of addresses, up to 16 bytes, a lane's widest access: what callers hand over
  // may have less than the 256 that is assumed.
  const void* const operands[] = {args.w, args.x, args.y, args.y};
  for (size_t i = 0; i < std::size(operands); ++i) {
    const auto address = std::bit_cast<uintptr_t>(operands[i]);
    const auto alignment = static_cast<uint32_t>(std::min<uintptr_t>(address & (~address + 1), 16));
    QZ_CUDA_TRY(made(l.preference_set(preference, lt::kAlignment[i], &alignment, sizeof alignment)));
  }
  QZ_CUDA_TRY(
      made(l.preference_set(preference, lt::kMaxWorkspace, &args.workspace_bytes, sizeof args.workspace_bytes)));
  lt::Heuristic best = {};
  int found = 0;
  QZ_CUDA_TRY(outcome_of(l, l.heuristic(handle, product, w, x, y, y, preference, 1, &best, &found), "choice"));
  if (found == 0) return {QZ_STATUS_UNSUPPORTED, "cuBLASLt has no kernel for this product"};
  const float one = 1, before = args.adds ? 1.0f : 0.0f;
  return outcome_of(l,
                    l.matmul(handle, product, &one, args.w, w, args.x, x, &before, args.y, y, args.y, y,
                             &best.algorithm, args.workspace, args.workspace_bytes, stream),
                    "product");
}

}  // namespace qz::cuda
