#include "backend/operand.h"

namespace qz {
namespace {

constexpr qz_device kHost = {1, 0};  // DLPack

}  // namespace

Status Operand::make(qz_dtype dtype, int64_t width, int64_t rows, int64_t cols) {
  row_bytes_ = width * (cols ? cols : 1);
  bytes_ = row_bytes_ * rows;
  view_.ndim = cols ? 2 : 1;
  view_.shape[0] = rows, view_.shape[1] = cols;
  view_.stride[0] = cols ? cols : 1, view_.stride[1] = 1;
  view_.dtype = dtype;
  view_.device = device_;
  QZ_ASSIGN(view_.data, backend_.alloc(device_.index, static_cast<uint64_t>(bytes_)));
  return {};
}

Status Operand::put(const void* from, int64_t rows) {
  const int64_t bytes = rows < 0 ? bytes_ : rows * row_bytes_;
  return backend_.copy(nullptr, flat(view_.data, device_, bytes), flat(const_cast<void*>(from), kHost, bytes));
}

Status Operand::get(void* to, int64_t rows) const {
  const int64_t bytes = rows < 0 ? bytes_ : rows * row_bytes_;
  return backend_.copy(nullptr, flat(to, kHost, bytes), flat(view_.data, device_, bytes));
}

Status Operand::zero() { return backend_.fill_zero(nullptr, device_.index, view_.data, static_cast<uint64_t>(bytes_)); }

qz_tensor Operand::flat(void* data, qz_device device, int64_t bytes) const {
  qz_tensor t = {};
  t.data = data;
  t.shape[0] = bytes, t.stride[0] = 1;
  t.ndim = 1;
  t.dtype = QZ_DTYPE_U8;
  t.device = device;
  return t;
}

Status Workspace::prepare(qz_op* op) {
  if (backend_.supports(*op) <= 0) {
    const Status why = backend_.run(nullptr, *op);  // which refuses it, in words
    if (why.ok()) return error(Code::kInternal, "%s takes what it does not support", backend_.file().c_str());
    return Status(Code::kUnsupported, why.text());
  }
  const uint64_t need = backend_.workspace(*op);
  if (need > bytes_) {
    backend_.release(device_.index, data_);
    data_ = nullptr, bytes_ = 0;
    QZ_ASSIGN(data_, backend_.alloc(device_.index, need));
    bytes_ = need;
    QZ_TRY(backend_.fill_zero(nullptr, device_.index, data_, need));
  }
  op->workspace = need ? data_ : nullptr;
  op->workspace_bytes = need;
  return {};
}

}  // namespace qz
