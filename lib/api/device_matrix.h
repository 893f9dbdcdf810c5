// A quantized matrix in the memory of a backend's device, and its products there.
#pragma once
#include <memory>

#include "backend/list.h"
#include "base/aligned.h"
#include "base/context.h"
#include "packed/qmatrix.h"

namespace qz {

class DeviceMatrix {
 public:
  // Laid out on the host, copied, waited for. kUnsupported: no backend computes on this device, or the matrix has no
  // such layout (packed/bricks.h).
  static Result<std::unique_ptr<DeviceMatrix>> make(const Context& context, const BackendList& list, qz_device device,
                                                    const QMatrix& q);
  ~DeviceMatrix();
  DeviceMatrix(const DeviceMatrix&) = delete;
  DeviceMatrix& operator=(const DeviceMatrix&) = delete;

  struct Product {
    const qz_tensor* x;
    const qz_tensor* y;
    const qz_tensor* bias;  // or nullptr
  };
  // Bytes of scratch that this product needs; the words say what the backend does not take.
  Result<uint64_t> workspace(const Product& product) const;
  // workspace: on the device, zero-filled before its first use; nullptr: if one is needed, allocated for this call,
  // which then waits.
  Status multiply(const Product& product, void* stream, void* workspace, uint64_t bytes) const;

 private:
  DeviceMatrix() = default;
  Status upload(const AlignedBytes& from, void** to);
  struct Request {
    qz_tensor operands[3];
    qz_op op;
  };
  Status take(const Product& product, Request* out) const;

  std::shared_ptr<const Backend> backend_;
  qz_device device_ = {};
  void *codes_ = nullptr, *scales_ = nullptr, *zeros_ = nullptr;
  qz_bricks view_ = {};
};

}  // namespace qz
