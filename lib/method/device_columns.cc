#include "method/device_columns.h"

#include <algorithm>
#include <deque>

#include "backend/operand.h"

namespace qz {

Result<std::vector<uint8_t>> solve_columns_on(const Backend& backend, qz_device device, MatrixView target,
                                              const HessianFactor& factor, const Grid& grid, const Lattice& lattice) {
  if (lattice.points.count) return error(Code::kUnsupported, "%s: codes of a table", backend.file().c_str());
  const int64_t rows = target.rows, cols = target.cols;
  // What the device copies lives longer than the operands, which wait for it.
  Matrix dense(target.stride == cols ? 0 : rows, cols);
  std::vector<uint8_t> codes(static_cast<size_t>(rows * cols));
  std::deque<Operand> operands;  // target, lower, order, scale, zero, codes, errors
  const auto add = [&](qz_dtype dtype, int64_t width, int64_t r, int64_t c) {
    return operands.emplace_back(backend, device).make(dtype, width, r, c);
  };
  QZ_TRY(add(QZ_DTYPE_F32, 4, rows, cols));
  QZ_TRY(add(QZ_DTYPE_F32, 4, cols, cols));
  QZ_TRY(add(QZ_DTYPE_I32, 4, cols, 0));
  QZ_TRY(add(QZ_DTYPE_F32, 4, rows, grid.groups));
  QZ_TRY(add(QZ_DTYPE_F32, 4, rows, grid.groups));
  QZ_TRY(add(QZ_DTYPE_U8, 1, rows, cols));
  QZ_TRY(add(QZ_DTYPE_F32, 4, rows, cols));
  std::vector<qz_tensor> views;
  for (const Operand& o : operands) views.push_back(o.view());
  qz_op_grid choice = {};
  choice.struct_size = sizeof choice;
  choice.most = static_cast<int32_t>(lattice.points.most);
  choice.group = lattice.group;
  qz_op op = op_on(QZ_OP_GPTQ_COLUMNS, views.data(), views.size());
  op.grid = &choice;
  Workspace workspace(backend, device);
  QZ_TRY(workspace.prepare(&op));
  for (int64_t r = 0; r < dense.rows(); ++r) std::copy_n(target.row(r), cols, dense.row(r));
  QZ_TRY(operands[0].put(dense.rows() ? dense.data() : target.data));
  QZ_TRY(operands[1].put(factor.lower.data()));
  QZ_TRY(operands[2].put(factor.order.data()));
  QZ_TRY(operands[3].put(grid.scale.data()));
  QZ_TRY(operands[4].put(grid.zero.data()));
  QZ_TRY(backend.run(nullptr, op));
  QZ_TRY(operands[5].get(codes.data()));
  QZ_TRY(backend.synchronize(nullptr, device.index));
  return codes;
}

}  // namespace qz
