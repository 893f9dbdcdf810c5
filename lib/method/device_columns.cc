#include "method/device_columns.h"

#include <algorithm>
#include <deque>

namespace qz {
namespace {

constexpr qz_device kHost = {1, 0};  // DLPack

// Memory of the device with a shape, given back at the end.
class Operand {
 public:
  Operand(const Backend& backend, qz_device device) : backend_(backend), device_(device) {}
  ~Operand() { backend_.release(device_.index, view_.data); }
  Operand(const Operand&) = delete;
  Operand& operator=(const Operand&) = delete;

  // cols 0: one row.
  Status make(qz_dtype dtype, int64_t width, int64_t rows, int64_t cols) {
    bytes_ = width * rows * (cols ? cols : 1);
    view_.ndim = cols ? 2 : 1;
    view_.shape[0] = rows, view_.shape[1] = cols;
    view_.stride[0] = cols ? cols : 1, view_.stride[1] = 1;
    view_.dtype = dtype;
    view_.device = device_;
    QZ_ASSIGN(view_.data, backend_.alloc(device_.index, static_cast<uint64_t>(bytes_)));
    return {};
  }
  Status put(const void* from) {
    return backend_.copy(nullptr, bytes(view_.data, device_), bytes(const_cast<void*>(from), kHost));
  }
  Status get(void* to) const { return backend_.copy(nullptr, bytes(to, kHost), bytes(view_.data, device_)); }
  const qz_tensor& view() const { return view_; }

 private:
  qz_tensor bytes(void* data, qz_device device) const {
    qz_tensor t = {};
    t.data = data;
    t.shape[0] = bytes_, t.stride[0] = 1;
    t.ndim = 1;
    t.dtype = QZ_DTYPE_U8;
    t.device = device;
    return t;
  }
  const Backend& backend_;
  qz_device device_;
  qz_tensor view_ = {};
  int64_t bytes_ = 0;
};

}  // namespace

Result<std::vector<uint8_t>> solve_columns_on(const Backend& backend, qz_device device, MatrixView target,
                                              const HessianFactor& factor, const Grid& grid, const Lattice& lattice) {
  if (!backend.computes()) return error(Code::kUnsupported, "%s: it only lists devices", backend.file().c_str());
  if (lattice.points.count) return error(Code::kUnsupported, "%s: codes of a table", backend.file().c_str());
  const int64_t rows = target.rows, cols = target.cols;
  Matrix dense(target.stride == cols ? 0 : rows, cols);
  for (int64_t r = 0; r < dense.rows(); ++r) std::copy_n(target.row(r), cols, dense.row(r));
  std::deque<Operand> operands;  // target, lower, order, scale, zero, codes, errors
  const auto add = [&](qz_dtype dtype, int64_t width, int64_t r, int64_t c, const void* from) -> Status {
    QZ_TRY(operands.emplace_back(backend, device).make(dtype, width, r, c));
    return from ? operands.back().put(from) : Status();
  };
  QZ_TRY(add(QZ_DTYPE_F32, 4, rows, cols, dense.rows() ? dense.data() : target.data));
  QZ_TRY(add(QZ_DTYPE_F32, 4, cols, cols, factor.lower.data()));
  QZ_TRY(add(QZ_DTYPE_I32, 4, cols, 0, factor.order.data()));
  QZ_TRY(add(QZ_DTYPE_F32, 4, rows, grid.groups, grid.scale.data()));
  QZ_TRY(add(QZ_DTYPE_F32, 4, rows, grid.groups, grid.zero.data()));
  QZ_TRY(add(QZ_DTYPE_U8, 1, rows, cols, nullptr));
  QZ_TRY(add(QZ_DTYPE_F32, 4, rows, cols, nullptr));
  std::vector<qz_tensor> views;
  for (const Operand& o : operands) views.push_back(o.view());
  qz_op_grid choice = {};
  choice.struct_size = sizeof choice;
  choice.most = static_cast<int32_t>(lattice.points.most);
  choice.group = lattice.group;
  qz_op op = {};
  op.struct_size = sizeof op;
  op.kind = QZ_OP_GPTQ_COLUMNS;
  op.operands = views.data(), op.count = views.size();
  op.grid = &choice;
  if (backend.supports(op) <= 0) {
    const Status why = backend.run(nullptr, op);  // which refuses it, in words
    return why.ok() ? error(Code::kInternal, "%s takes what it does not support", backend.file().c_str()) : why;
  }
  op.workspace_bytes = backend.workspace(op);
  Operand workspace(backend, device);
  if (op.workspace_bytes) {
    QZ_TRY(workspace.make(QZ_DTYPE_U8, 1, static_cast<int64_t>(op.workspace_bytes), 0));
    op.workspace = workspace.view().data;
    QZ_TRY(backend.fill_zero(nullptr, device.index, op.workspace, op.workspace_bytes));
  }
  QZ_TRY(backend.run(nullptr, op));
  std::vector<uint8_t> codes(static_cast<size_t>(rows * cols));
  QZ_TRY(operands[5].get(codes.data()));
  QZ_TRY(backend.synchronize(nullptr, device.index));
  return codes;
}

}  // namespace qz
