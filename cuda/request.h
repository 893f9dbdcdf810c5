// A qz_op taken apart and checked: what the kernels are told, or why they do not take it.
#pragma once
#include <string>

#include "args.h"
#include "factor.h"
#include "gptq.h"
#include "qz/backend.h"

namespace qz::cuda {

struct Request {
  Weights w = {};
  int32_t device = 0;
  // DEQUANTIZE
  void* out = nullptr;
  int64_t out_stride = 0;
  Float out_type = Float::kF32;
  // GEMM
  const uint16_t* x = nullptr;
  void* y = nullptr;
  const float* bias = nullptr;
  int64_t x_stride = 0, y_stride = 0;
  int32_t m = 0;
  Float type = Float::kF16, y_type = Float::kF16;
  // HESSIAN, GPTQ_COLUMNS, CHOLESKY, CHOLESKY_SOLVE
  HessianArgs hessian = {};
  ColumnsArgs columns = {};
  CholeskyArgs cholesky = {};
  CholeskySolveArgs solve = {};
};

// "" or why not, in words. Reads shapes, types, strides and the alignment of addresses, no memory behind them.
std::string take_request(const qz_op& op, Request* out);

}  // namespace qz::cuda
