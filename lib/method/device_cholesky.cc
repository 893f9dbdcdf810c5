#include "method/device_cholesky.h"

#include <cmath>

namespace qz {
namespace {

constexpr int64_t kWidth = 4;  // bytes of F32 and I32

// A library may look at signs alone, and take a pivot that is infinite or NaN: the first such ends it, as the CPU's.
int64_t finite_columns(int64_t n, const float* lower) {
  for (int64_t j = 0; j < n; j++) {
    const float pivot = lower[j * n + j];
    if (!(pivot > 0 && pivot < HUGE_VALF)) return j;
  }
  return n;
}

}  // namespace

Result<int64_t> cholesky_on(const Backend& backend, qz_device device, int64_t n, float* a) {
  int32_t first_bad = 0;  // lives longer than the operands, which wait for their copies
  Operand matrix(backend, device), info(backend, device);
  QZ_TRY(matrix.make(QZ_DTYPE_F32, kWidth, n, n));
  QZ_TRY(info.make(QZ_DTYPE_I32, kWidth, 1, 0));
  const qz_tensor operands[2] = {matrix.view(), info.view()};
  qz_op op = op_on(QZ_OP_CHOLESKY, operands, 2);
  Workspace workspace(backend, device);
  QZ_TRY(workspace.prepare(&op));
  QZ_TRY(matrix.put(a));
  QZ_TRY(backend.run(nullptr, op));
  QZ_TRY(info.get(&first_bad));
  QZ_TRY(matrix.get(a));
  QZ_TRY(backend.synchronize(nullptr, device.index));
  if (first_bad < 0 || first_bad > n)
    return error(Code::kDevice, "%s: a factorization of %lld columns ended at column %d", backend.file().c_str(),
                 static_cast<long long>(n), first_bad);
  return first_bad == 0 ? finite_columns(n, a) : first_bad - 1;
}

DeviceCholesky::DeviceCholesky(std::shared_ptr<const Backend> backend, qz_device device)
    : backend_(std::move(backend)),
      device_(device),
      lower_(*backend_, device),
      x_(*backend_, device),
      workspace_(*backend_, device) {}

qz_op DeviceCholesky::op_of(qz_tensor (&operands)[2], int64_t rows) const {
  operands[0] = lower_.view(), operands[1] = x_.view();
  operands[1].shape[0] = rows;
  return op_on(QZ_OP_CHOLESKY_SOLVE, operands, 2);
}

Result<std::unique_ptr<DeviceCholesky>> DeviceCholesky::make(std::shared_ptr<const Backend> backend, qz_device device,
                                                             int64_t n, const float* lower, int64_t most) {
  std::unique_ptr<DeviceCholesky> d(new DeviceCholesky(std::move(backend), device));
  QZ_TRY(d->lower_.make(QZ_DTYPE_F32, kWidth, n, n));
  QZ_TRY(d->x_.make(QZ_DTYPE_F32, kWidth, most, n));
  qz_tensor operands[2];
  qz_op op = d->op_of(operands, most);
  QZ_TRY(d->workspace_.prepare(&op));
  QZ_TRY(d->lower_.put(lower));
  return d;
}

Status DeviceCholesky::solve(int64_t rows, float* x) {
  qz_tensor operands[2];
  qz_op op = op_of(operands, rows);
  QZ_TRY(workspace_.prepare(&op));
  QZ_TRY(x_.put(x, rows));
  QZ_TRY(backend_->run(nullptr, op));
  QZ_TRY(x_.get(x, rows));
  return backend_->synchronize(nullptr, device_.index);
}

}  // namespace qz
