#include "backend/operand.h"

namespace qz {
namespace {

constexpr qz_device kHost = {1, 0};  // DLPack

}  // namespace

qz_tensor bytes_at(void* data, uint64_t bytes, qz_device device) {
  qz_tensor t = {};
  t.data = data;
  t.shape[0] = static_cast<int64_t>(bytes), t.stride[0] = 1;
  t.ndim = 1;
  t.dtype = QZ_DTYPE_U8;
  t.device = device;
  return t;
}

qz_op op_on(qz_op_kind kind, const qz_tensor* operands, size_t count) {
  qz_op op = {};
  op.struct_size = sizeof op;
  op.kind = kind;
  op.operands = operands, op.count = count;
  return op;
}

Status ask(const Backend& backend, const qz_op& op) {
  if (backend.supports(op) > 0) return {};
  const Status why = backend.run(nullptr, op);  // which refuses it, in words
  return why.ok() ? error(Code::kInternal, "%s takes what it does not support", backend.file().c_str()) : why;
}

Status Operand::make(qz_dtype dtype, int64_t width, int64_t rows, int64_t cols) {
  if (!backend_.computes()) return error(Code::kUnsupported, "%s: it only lists devices", backend_.file().c_str());
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
  const auto bytes = static_cast<uint64_t>(rows < 0 ? bytes_ : rows * row_bytes_);
  return backend_.copy(nullptr, bytes_at(view_.data, bytes, device_), bytes_at(const_cast<void*>(from), bytes, kHost));
}

Status Operand::get(void* to, int64_t rows) const {
  const auto bytes = static_cast<uint64_t>(rows < 0 ? bytes_ : rows * row_bytes_);
  return backend_.copy(nullptr, bytes_at(to, bytes, kHost), bytes_at(view_.data, bytes, device_));
}

Status Operand::zero() { return backend_.fill_zero(nullptr, device_.index, view_.data, static_cast<uint64_t>(bytes_)); }

Status Workspace::prepare(qz_op* op) {
  const Status asked = ask(backend_, *op);
  if (!asked.ok()) return asked.code() == Code::kInternal ? asked : Status(Code::kUnsupported, asked.text());
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
