#include "api/device_matrix.h"

#include "packed/bricks.h"

namespace qz {
namespace {

qz_tensor bytes_of(void* data, uint64_t size, qz_device device) {
  qz_tensor t = {};
  t.data = data;
  t.shape[0] = static_cast<int64_t>(size), t.stride[0] = 1;
  t.ndim = 1;
  t.dtype = QZ_DTYPE_U8;
  t.device = device;
  return t;
}

bool same(qz_device a, qz_device b) { return a.kind == b.kind && a.index == b.index; }

// On this device, its data there; shapes and types are the backend's to check.
Status check_place(const qz_tensor* t, qz_device device, const char* name) {
  if (!t) return error(Code::kInvalidArgument, "%s is NULL", name);
  if (!t->data) return error(Code::kInvalidArgument, "%s: data is NULL", name);
  if (same(t->device, device)) return {};
  return error(Code::kInvalidArgument, "%s: is on device (%d, %d), w on (%d, %d)", name, t->device.kind,
               t->device.index, device.kind, device.index);
}

}  // namespace

Result<std::unique_ptr<DeviceMatrix>> DeviceMatrix::make(const Context& context, const BackendList& list,
                                                         qz_device device, const QMatrix& q) {
  std::unique_ptr<DeviceMatrix> m(new DeviceMatrix);
  m->backend_ = backend_for(list, device);
  m->device_ = device;
  if (!m->backend_)
    return error(Code::kUnsupported, "no backend computes on device (%d, %d): qz_device_to_json says what is missing",
                 device.kind, device.index);
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
  return backend_->copy(nullptr, bytes_of(*to, from.size(), device_),
                        bytes_of(const_cast<uint8_t*>(from.data()), from.size(), {1, 0}));
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
  out->op.struct_size = sizeof out->op;
  out->op.kind = QZ_OP_GEMM;
  out->op.w = &view_;
  out->op.operands = out->operands;
  out->op.count = product.bias ? 3 : 2;
  if (backend_->supports(out->op) > 0) return {};
  const Status why = backend_->run(nullptr, out->op);  // which refuses it, in words
  return why.ok() ? error(Code::kInternal, "%s takes what it does not support", backend_->file().c_str()) : why;
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
