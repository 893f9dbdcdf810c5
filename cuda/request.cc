#include "request.h"

#include <bit>
#include <cstddef>
#include <limits>

#include "packed/layout.h"

namespace qz::cuda {
namespace {

static_assert(int32_t(Float::kF32) == QZ_DTYPE_F32 && int32_t(Float::kF16) == QZ_DTYPE_F16 &&
              int32_t(Float::kBF16) == QZ_DTYPE_BF16);

constexpr int32_t kCudaKind = 2;  // DLPack
constexpr int64_t kMost = (int64_t{1} << 31) - 2 * kBrickSide;

bool is_float(qz_dtype t) { return t == QZ_DTYPE_F32 || t == QZ_DTYPE_F16 || t == QZ_DTYPE_BF16; }
bool is_aligned(const void* p, uint64_t to) { return std::bit_cast<uintptr_t>(p) % to == 0; }

std::string take_weights(const qz_bricks* b, Weights* w) {
  if (!b) return "no weights";
  if (b->struct_size < sizeof *b) return "weights of an interface that is not known";
  if (b->code != QZ_CODE_INT || b->bits != 4) return "codes other than 4-bit integers";
  if (b->rows < 1 || b->cols < 1 || b->rows > kMost || b->cols > kMost) return "rows or columns out of range";
  if (b->group != 0 && (b->group < 16 || !std::has_single_bit(static_cast<uint32_t>(b->group))))
    return "groups that are not a power of two of at least 16 columns";
  if (b->zero < 0 || b->zero > 15) return "a zero point outside of 0 to 15";
  if (!is_float(b->scale)) return "scales that are not F16, BF16 or F32";
  if (!is_aligned(b->codes, 16) || !is_aligned(b->scales, 16) || !is_aligned(b->zeros, 16))
    return "weights that are not aligned to 16 bytes";
  w->codes = static_cast<const uint32_t*>(b->codes);
  w->scales = b->scales;
  w->zeros = b->zeros;
  w->rows = static_cast<int32_t>(b->rows), w->cols = static_cast<int32_t>(b->cols);
  w->group = b->group;
  w->groups = static_cast<int32_t>(brick_groups(b->cols, b->group));
  w->zero = b->zero;
  w->scale = Float(b->scale);
  return "";
}

// [rows, cols] with columns next to each other, on a GPU.
std::string check_matrix(const qz_tensor& t, const char* name, int64_t cols) {
  const std::string n = name;
  if (t.ndim != 2 || t.shape[0] < 1 || t.shape[0] > kMost || t.shape[1] != cols)
    return n + " of another shape than the weights say";
  if (!is_float(t.dtype)) return n + " that is not F16, BF16 or F32";
  if (!is_aligned(t.data, static_cast<uint64_t>(float_bytes(Float(t.dtype)))))
    return n + " at an address that is no multiple of its elements' size";
  if (t.device.kind != kCudaKind) return n + " that is not on a GPU";
  if ((cols > 1 && t.stride[1] != 1) || (t.shape[0] > 1 && t.stride[0] < cols))
    return n + " whose columns are not next to each other";
  return "";
}

// Of a matrix of one row any stride will do.
int64_t stride_of(const qz_tensor& t) { return t.shape[0] > 1 ? t.stride[0] : (t.shape[1] + 7) / 8 * 8; }

std::string take_dequantize(const qz_op& op, Request* r) {
  if (op.count != 1) return "DEQUANTIZE without its one operand";
  const qz_tensor& out = op.operands[0];
  if (std::string why = check_matrix(out, "an output", r->w.cols); !why.empty()) return why;
  if (out.shape[0] != r->w.rows) return "an output of another shape than the weights say";
  r->device = out.device.index;
  r->out = out.data;
  r->out_stride = stride_of(out);
  r->out_type = Float(out.dtype);
  return "";
}

std::string take_gemm(const qz_op& op, Request* r) {
  if (op.count != 2 && op.count != 3) return "GEMM without two or three operands";
  const qz_tensor &x = op.operands[0], &y = op.operands[1];
  if (std::string why = check_matrix(x, "x", r->w.cols); !why.empty()) return why;
  if (std::string why = check_matrix(y, "y", r->w.rows); !why.empty()) return why;
  if (x.dtype == QZ_DTYPE_F32) return "x that is not F16 or BF16";
  if (y.dtype != x.dtype && y.dtype != QZ_DTYPE_F32) return "y that is neither of the type of x nor F32";
  if (y.shape[0] != x.shape[0]) return "x and y of different numbers of tokens";
  if (y.device.index != x.device.index) return "x and y on different devices";
  if (!is_aligned(x.data, 16) || stride_of(x) % 8 != 0) return "rows of x that are not at multiples of 16 bytes";
  if (op.count == 3) {
    const qz_tensor& bias = op.operands[2];
    if (bias.ndim != 1 || bias.shape[0] != r->w.rows || bias.dtype != QZ_DTYPE_F32 ||
        (r->w.rows > 1 && bias.stride[0] != 1) || bias.device.kind != kCudaKind || bias.device.index != x.device.index)
      return "a bias that is not [rows] F32 beside x";
    if (!is_aligned(bias.data, sizeof(float))) return "a bias at an address that is no multiple of 4";
    r->bias = static_cast<const float*>(bias.data);
  }
  r->device = x.device.index;
  r->x = static_cast<const uint16_t*>(x.data);
  r->y = y.data;
  r->x_stride = stride_of(x), r->y_stride = stride_of(y);
  r->m = static_cast<int32_t>(x.shape[0]);
  r->type = Float(x.dtype), r->y_type = Float(y.dtype);
  return "";
}

// Dense, of one type, on one GPU.
std::string check_dense(const qz_tensor& t, const char* name, qz_dtype type, int64_t rows, int64_t cols) {
  const std::string n = name;
  const bool line = rows == 0;  // [cols]
  if (t.ndim != (line ? 1 : 2) || t.shape[0] != (line ? cols : rows) || (!line && t.shape[1] != cols))
    return n + " of another shape than the others say";
  if (t.dtype != type) return n + " of another type than the operation takes";
  const int64_t width = type == QZ_DTYPE_U8 ? 1 : 4;
  if (!is_aligned(t.data, static_cast<uint64_t>(width))) return n + " between elements";
  if (t.device.kind != kCudaKind) return n + " that is not on a GPU";
  const int64_t last = t.stride[line ? 0 : 1];
  if ((cols > 1 && last != 1) || (!line && rows > 1 && t.stride[0] != cols)) return n + " that is not dense";
  return "";
}

std::string take_hessian(const qz_op& op, Request* r) {
  if (op.count != 2) return "HESSIAN without its two operands";
  const qz_tensor &x = op.operands[0], &h = op.operands[1];
  if (x.ndim != 2 || x.shape[1] < 1 || x.shape[1] > kMost) return "x of no columns";
  if (std::string why = check_matrix(x, "x", x.shape[1]); !why.empty()) return why;
  if (x.dtype == QZ_DTYPE_F32) return "x that is not F16 or BF16";
  if (!is_aligned(x.data, 16) || stride_of(x) % 8 != 0) return "rows of x that are not at multiples of 16 bytes";
  if (std::string why = check_dense(h, "h", QZ_DTYPE_F32, x.shape[1], x.shape[1]); !why.empty()) return why;
  if (h.device.index != x.device.index) return "x and h on different devices";
  r->device = x.device.index;
  r->hessian = {static_cast<const uint16_t*>(x.data), static_cast<float*>(h.data),      stride_of(x),
                static_cast<int32_t>(x.shape[0]),     static_cast<int32_t>(x.shape[1]), Float(x.dtype)};
  return "";
}

std::string take_columns(const qz_op& op, Request* r) {
  if (op.count != 7) return "GPTQ_COLUMNS without its seven operands";
  if (op.struct_size < sizeof op || !op.grid || op.grid->struct_size < sizeof *op.grid)
    return "GPTQ_COLUMNS without a grid";
  if (op.grid->most < 1 || op.grid->most > 255) return "codes beyond 8 bits";
  const qz_tensor& target = op.operands[0];
  if (target.ndim != 2 || target.shape[0] < 1 || target.shape[1] < 1 || target.shape[0] > kMost ||
      target.shape[1] > kMost)
    return "targets of no rows or columns";
  const int64_t rows = target.shape[0], cols = target.shape[1];
  if (op.grid->group < 1 || op.grid->group > kMost) return "groups of no columns";
  const int64_t groups = (cols + op.grid->group - 1) / op.grid->group;
  struct Want {
    const char* name;
    qz_dtype type;
    int64_t rows, cols;
  };
  const Want wants[] = {{"a target", QZ_DTYPE_F32, rows, cols},       {"a factor", QZ_DTYPE_F32, cols, cols},
                        {"an order", QZ_DTYPE_I32, 0, cols},          {"a scale", QZ_DTYPE_F32, rows, groups},
                        {"a zero point", QZ_DTYPE_F32, rows, groups}, {"codes", QZ_DTYPE_U8, rows, cols},
                        {"errors", QZ_DTYPE_F32, rows, cols}};
  for (size_t i = 0; i < op.count; ++i) {
    const qz_tensor& t = op.operands[i];
    if (std::string why = check_dense(t, wants[i].name, wants[i].type, wants[i].rows, wants[i].cols); !why.empty())
      return why;
    if (t.device.index != target.device.index) return "operands on different devices";
  }
  const auto data = [&op](size_t i) { return op.operands[i].data; };
  ColumnsArgs& a = r->columns;
  a.target = static_cast<const float*>(data(0));
  a.lower = static_cast<const float*>(data(1));
  a.order = static_cast<const int32_t*>(data(2));
  a.scale = static_cast<const float*>(data(3));
  a.zero = static_cast<const float*>(data(4));
  a.codes = static_cast<uint8_t*>(data(5));
  a.errors = static_cast<float*>(data(6));
  a.rows = static_cast<int32_t>(rows), a.cols = static_cast<int32_t>(cols), a.groups = static_cast<int32_t>(groups);
  a.group = static_cast<int32_t>(op.grid->group);
  a.most = static_cast<float>(op.grid->most);
  r->device = target.device.index;
  return "";
}

// a, or L, and what stands beside it.
std::string take_square(const qz_op& op, const char* kind, int64_t* n, Request* r) {
  if (op.count != 2) return std::string(kind) + " without its two operands";
  const qz_tensor &a = op.operands[0], &other = op.operands[1];
  if (a.ndim != 2 || a.shape[0] < 1 || a.shape[0] > kMost) return "a matrix of no rows";
  *n = a.shape[0];
  if (std::string why = check_dense(a, "a matrix", QZ_DTYPE_F32, *n, *n); !why.empty()) return why;
  if (other.device.index != a.device.index) return "operands on different devices";
  r->device = a.device.index;
  return "";
}

std::string take_cholesky(const qz_op& op, Request* r) {
  int64_t n = 0;
  if (std::string why = take_square(op, "CHOLESKY", &n, r); !why.empty()) return why;
  if (std::string why = check_dense(op.operands[1], "an info", QZ_DTYPE_I32, 0, 1); !why.empty()) return why;
  r->cholesky = {static_cast<float*>(op.operands[0].data), static_cast<int32_t*>(op.operands[1].data),
                 static_cast<int32_t>(n)};
  return "";
}

std::string take_solve(const qz_op& op, Request* r) {
  int64_t n = 0;
  if (std::string why = take_square(op, "CHOLESKY_SOLVE", &n, r); !why.empty()) return why;
  const qz_tensor& x = op.operands[1];
  if (x.ndim != 2 || x.shape[0] < 1 || x.shape[0] > kMost) return "x of no rows";
  if (std::string why = check_dense(x, "x", QZ_DTYPE_F32, x.shape[0], n); !why.empty()) return why;
  r->solve = {static_cast<const float*>(op.operands[0].data), static_cast<float*>(x.data), static_cast<int32_t>(n),
              static_cast<int32_t>(x.shape[0])};
  return "";
}

}  // namespace

std::string take_request(const qz_op& op, Request* out) {
  *out = {};
  if (op.struct_size < offsetof(qz_op, grid)) return "an operation of an interface that is not known";
  if (op.kind == QZ_OP_HESSIAN) return take_hessian(op, out);
  if (op.kind == QZ_OP_GPTQ_COLUMNS) return take_columns(op, out);
  if (op.kind == QZ_OP_CHOLESKY) return take_cholesky(op, out);
  if (op.kind == QZ_OP_CHOLESKY_SOLVE) return take_solve(op, out);
  if (std::string why = take_weights(op.w, &out->w); !why.empty()) return why;
  if (op.kind == QZ_OP_DEQUANTIZE) return take_dequantize(op, out);
  if (op.kind == QZ_OP_GEMM) return take_gemm(op, out);
  return "an operation that is not known";
}

}  // namespace qz::cuda
