#include "api/device_matrix.h"

#include "backend/operand.h"
#include "packed/bricks.h"

namespace qz {
namespace {

// On this device, its data there; shapes and types are the backend's to check.
Status check_place(const qz_tensor* t, qz_device device, const char* name) {
  if (!t) return error(Code::kInvalidArgument, "%s is NULL", name);
  if (!t->data) return error(Code::kInvalidArgument, "%s: data is NULL", name);
  if (same_device(t->device, device)) return {};
  return error(Code::kInvalidArgument, "%s: is on device (%d, %d), w on (%d, %d)", name, t->device.kind,
               t->device.index, device.kind, device.index);
}

}  // namespace

Result<std::unique_ptr<DeviceMatrix>> DeviceMatrix::make(const Context& context, const BackendList& list,
                                                         qz_device device, const QMatrix& q) {
  std::unique_ptr<DeviceMatrix> m(new DeviceMatrix);
  QZ_ASSIGN(m->backend_, backend_for(list, device));
  m->device_ = device;
  QZ_ASSIGN(const Bricks bricks, lay_bricks(context, q));
  QZ_TRY(m->upload(bricks.codes, &m->codes_));
  QZ_TRY(m->upload(bricks.scales, &m->scales_));
  QZ_TRY(m->upload(bricks.zeros, &m->zeros_));
  QZ_TRY(m->backend_->synchronize(nullptr, device.index));
  qz_bricks& v = m->view_;
  v.struct_size = sizeof v;
  v.code = QZ_CODE_INT;
  v.bits = 4;
  v.group = bricks.group;
  v.zero = bricks.zero;
  v.scale = static_cast<qz_dtype>(bricks.scale_type);
  v.rows = bricks.rows, v.cols = bricks.cols;
  v.codes = m->codes_, v.scales = m->scales_, v.zeros = static_cast<const uint8_t*>(m->zeros_);
  return m;
}

Status DeviceMatrix::upload(const AlignedBytes& from, void** to) {
  if (from.empty()) return {};
  QZ_ASSIGN(*to, backend_->alloc(device_.index, from.size()));
  return backend_->copy(nullptr, bytes_at(*to, from.size(), device_),
                        bytes_at(const_cast<uint8_t*>(from.data()), from.size(), {1, 0}));
}

DeviceMatrix::~DeviceMatrix() {
  if (!backend_) return;
  for (void* p : {codes_, scales_, zeros_}) backend_->release(device_.index, p);
}

Status DeviceMatrix::take(const Product& product, Request* out) const {
  QZ_TRY(check_place(product.x, device_, "x"));
  QZ_TRY(check_place(product.y, device_, "y"));
  if (product.bias) QZ_TRY(check_place(product.bias, device_, "opts.bias"));
  *out = {};
  out->operands[0] = *product.x;
  out->operands[1] = *product.y;
  if (product.bias) out->operands[2] = *product.bias;
  out->op = op_on(QZ_OP_GEMM, out->operands, product.bias ? 3 : 2);
  out->op.w = &view_;
  return ask(*backend_, out->op);
}

Result<uint64_t> DeviceMatrix::workspace(const Product& product) const {
  Request r;
  QZ_TRY(take(product, &r));
  return backend_->workspace(r.op);
}

Status DeviceMatrix::multiply(const Product& product, void* stream, void* workspace, uint64_t bytes) const {
  Request r;
  QZ_TRY(take(product, &r));
  r.op.workspace = workspace;
  r.op.workspace_bytes = bytes;
  if (workspace) return backend_->run(stream, r.op);
  r.op.workspace_bytes = backend_->workspace(r.op);
  if (r.op.workspace_bytes == 0) return backend_->run(stream, r.op);
  QZ_ASSIGN(r.op.workspace, backend_->alloc(device_.index, r.op.workspace_bytes));
  Status status = backend_->fill_zero(stream, device_.index, r.op.workspace, r.op.workspace_bytes);
  if (status.ok()) status = backend_->run(stream, r.op);
  const Status waited = backend_->synchronize(stream, device_.index);
  backend_->release(device_.index, r.op.workspace);
  return status.ok() ? waited : status;
}

}  // namespace qz
