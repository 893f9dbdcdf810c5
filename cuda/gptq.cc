#include "gptq.h"

#include <algorithm>

namespace qz::cuda {

Outcome run_hessian(const HessianArgs& args, int32_t device, void* stream, char* workspace) {
  const int32_t panel = hessian_panel(args.cols);
  for (int32_t first = 0; first < args.cols; first += panel) {
    const int32_t rows = std::min(panel, args.cols - first);
    DenseArgs d = {};
    d.x = args.x + first, d.x_stride = args.x_stride, d.x_across = true;
    d.w = args.x, d.w_stride = args.x_stride, d.w_across = true;
    d.y = args.h + int64_t{first} * args.cols, d.y_stride = args.cols, d.adds = true;
    d.m = rows, d.rows = first + rows, d.cols = args.m;
    d.type = args.type, d.y_type = Float::kF32;
    d.workspace = workspace + kCounterBytes;
    d.workspace_bytes = kLibraryBytes;
    QZ_CUDA_TRY(dense_product(device, stream, d));
  }
  return {};
}

// Before a block is solved, the errors of all columns behind it are multiplied by their part of the factor: as often as
// a rank-128 update of all that is open, but the errors are read where the update would rewrite the targets, and sums
// are those of lib/method/columns.cc.
Outcome run_columns(ColumnsArgs args, int32_t device, void* stream, char* workspace) {
  auto* sums = reinterpret_cast<float*>(workspace + kCounterBytes);
  for (int32_t end = args.cols; end > 0; end = args.begin) {
    args.begin = std::max(0, end - kColumnsWidth);
    args.width = end - args.begin;
    args.sums = end < args.cols ? sums : nullptr;
    if (args.sums) {
      DenseArgs d = {};
      d.x = args.errors + end, d.x_stride = args.cols;
      d.w = args.lower + int64_t{end} * args.cols + args.begin, d.w_stride = args.cols, d.w_across = true;
      d.y = sums, d.y_stride = kColumnsWidth;
      d.m = args.rows, d.rows = args.width, d.cols = args.cols - end;
      d.type = d.y_type = Float::kF32;
      d.workspace = workspace + columns_workspace(args.rows, args.cols) - kLibraryBytes;
      d.workspace_bytes = kLibraryBytes;
      QZ_CUDA_TRY(dense_product(device, stream, d));
    }
    QZ_CUDA_TRY(launched(launch_columns(args, stream), "columns of GPTQ"));
  }
  return {};
}

}  // namespace qz::cuda
