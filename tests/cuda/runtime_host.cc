// The runtime of cuda/runtime.h on the emulator: one device whose memory is the host's, which the kernels may touch
// only where it was allocated; dense products in double precision.
#include "runtime.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "emulator.h"
#include "tensor/convert.h"

namespace qz::cuda {
namespace {

constexpr int32_t kMultiprocessors = 3;  // few, so that small matrices are cut into shares

DType dtype_of(Float f) { return DType(static_cast<int32_t>(f)); }

float value_at(const void* p, int64_t i, Float type) {
  float f;
  to_f32(static_cast<const char*>(p) + i * float_bytes(type), dtype_of(type), 1, &f);
  return f;
}

Outcome checked() {
  if (device().failure.empty()) return {};
  return {QZ_STATUS_INTERNAL, std::exchange(device().failure, "")};
}

}  // namespace

static_assert(static_cast<int32_t>(DType::kF32) == static_cast<int32_t>(Float::kF32) &&
              static_cast<int32_t>(DType::kF16) == static_cast<int32_t>(Float::kF16) &&
              static_cast<int32_t>(DType::kBF16) == static_cast<int32_t>(Float::kBF16));

Outcome launched(int error, const char* what) { return error == 0 ? checked() : Outcome{QZ_STATUS_DEVICE, what}; }
Outcome start(int32_t* count) {
  if (std::getenv("QZ_TEST_NO_GPU")) return {QZ_STATUS_DEVICE, "no driver: libcuda.so.1 is not there"};
  *count = std::getenv("QZ_TEST_OLD_GPU") ? 2 : 1;
  return {};
}
// QZ_TEST_OLD_GPU: the first is one that the kernels are not for. QZ_TEST_HOPPER: it has wgmma.
Outcome read_facts(int32_t index, Facts* out) {
  const bool old = std::getenv("QZ_TEST_OLD_GPU") && index == 0;
  *out = {"Emulated GPU", old ? 75 : std::getenv("QZ_TEST_HOPPER") ? 90 : 80, kMultiprocessors, uint64_t{1} << 30};
  return {};
}
OnDevice::OnDevice(int32_t) {}
OnDevice::~OnDevice() = default;

// QZ_TEST_GPU_BYTES: the most that it gives at once.
Outcome allocate(int32_t, uint64_t bytes, void** out) {
  if (const char* most = std::getenv("QZ_TEST_GPU_BYTES"); most && bytes > std::strtoull(most, nullptr, 10))
    return {QZ_STATUS_OUT_OF_MEMORY, "memory on the GPU"};
  if (posix_memalign(out, 256, bytes) != 0) return {QZ_STATUS_OUT_OF_MEMORY, "memory on the GPU"};
  std::memset(*out, 0xff, bytes);
  device().add(*out, bytes);
  return {};
}
void release(int32_t, void* pointer) {
  device().remove(pointer);
  std::free(pointer);
}
Outcome copy(int32_t, void*, void* to, const void* from, uint64_t bytes) {
  std::memcpy(to, from, bytes);
  return {};
}
Outcome fill_zero(int32_t, void*, void* pointer, uint64_t bytes) {
  std::memset(pointer, 0, bytes);
  return {};
}
Outcome synchronize(int32_t, void*) { return checked(); }

Outcome prepare_dense(int32_t) {
  if (!std::getenv("QZ_TEST_NO_CUBLASLT")) return {};
  return {QZ_STATUS_DEVICE, "this needs cuBLASLt, but libcublasLt.so.13 is not there"};
}
// QZ_TEST_GPU_BREAKS: at its first product. QZ_TEST_NO_KERNEL: a library that is there, but takes no product.
Outcome dense_product(int32_t, void*, const DenseArgs& a) {
  if (std::getenv("QZ_TEST_NO_KERNEL")) return {QZ_STATUS_UNSUPPORTED, "cuBLASLt has no kernel for this product"};
  if (std::getenv("QZ_TEST_GPU_BREAKS")) return {QZ_STATUS_DEVICE, "the GPU has fallen off the bus"};
  for (int64_t t = 0; t < a.m; ++t) {
    for (int64_t r = 0; r < a.rows; ++r) {
      double sum = 0;
      for (int64_t c = 0; c < a.cols; ++c)
        sum += double{value_at(a.x, a.x_across ? c * a.x_stride + t : t * a.x_stride + c, a.type)} *
               double{value_at(a.w, a.w_across ? c * a.w_stride + r : r * a.w_stride + c, a.type)};
      if (a.adds) sum += double{value_at(a.y, t * a.y_stride + r, a.y_type)};
      const auto rounded = static_cast<float>(sum);
      from_f32(&rounded, dtype_of(a.y_type), 1, static_cast<char*>(a.y) + (t * a.y_stride + r) * float_bytes(a.y_type));
    }
  }
  return {};
}

}  // namespace qz::cuda
