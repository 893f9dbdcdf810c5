#include "method/device_hessian.h"

#include <algorithm>

#include "base/rows.h"
#include "tensor/convert.h"

namespace qz {
namespace {

int64_t stride_of(int64_t cols) { return ceil_div(cols, 8) * 8; }  // rows of x begin at multiples of 16 bytes

}  // namespace

uint64_t DeviceHessian::host_bytes(int64_t cols, int64_t most) {
  return static_cast<uint64_t>(most * stride_of(cols)) * sizeof(uint16_t);
}

DeviceHessian::DeviceHessian(std::shared_ptr<const Backend> backend, qz_device device, int64_t cols)
    : backend_(std::move(backend)),
      device_(device),
      cols_(cols),
      stride_(stride_of(cols)),
      x_(*backend_, device),
      h_(*backend_, device),
      workspace_(*backend_, device) {}

Status DeviceHessian::multiply() {
  qz_tensor operands[] = {x_.view(), h_.view()};
  operands[0].shape[1] = cols_;
  qz_op op = op_on(QZ_OP_HESSIAN, operands, 2);
  QZ_TRY(workspace_.prepare(&op));
  return backend_->run(nullptr, op);
}

Result<std::unique_ptr<DeviceHessian>> DeviceHessian::make(std::shared_ptr<const Backend> backend, qz_device device,
                                                           int64_t cols, int64_t most) {
  std::unique_ptr<DeviceHessian> d(new DeviceHessian(std::move(backend), device, cols));
  QZ_TRY(d->x_.make(QZ_DTYPE_BF16, 2, most, d->stride_));
  QZ_TRY(d->h_.make(QZ_DTYPE_F32, 4, cols, cols));
  QZ_TRY(d->x_.zero());
  QZ_TRY(d->h_.zero());
  QZ_TRY(d->multiply());  // of zeros: later there would be no way back to the CPU
  d->rounded_.resize(static_cast<size_t>(most * d->stride_));
  return d;
}

// The host rounds while the device still multiplies what came before.
Status DeviceHessian::add(const Context& context, MatrixView x) {
  QZ_TRY(backend_->synchronize(nullptr, device_.index));
  QZ_TRY(for_each_row(context, x.rows, [&](int64_t r) {
    from_f32(x.row(r), DType::kBF16, static_cast<size_t>(cols_), rounded_.data() + r * stride_);
  }));
  std::fill(rounded_.begin() + x.rows * stride_, rounded_.end(), uint16_t{0});
  QZ_TRY(x_.put(rounded_.data()));
  return multiply();
}

Status DeviceHessian::get(Matrix* h) const {
  QZ_TRY(h_.get(h->data()));
  return backend_->synchronize(nullptr, device_.index);
}

}  // namespace qz
