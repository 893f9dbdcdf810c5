// Products with one quantized matrix: tensors checked and made row-major, the codes re-tiled once, the rest is
// kernels/low_bit.h.
#include "kernels/gemm.h"

#include "api/handles.h"
#include "base/rows.h"
#include "packed/block_code.h"
#include "packed/integer_product.h"
#include "packed/tiles.h"
#include "tensor/convert.h"
#include "tensor/extremes.h"

namespace qz {
namespace {

// A 2-D tensor whose rows lie in one piece: its own memory, or a copy.
struct RowMajor {
  DType dtype = DType::kNone;
  int64_t rows = 0, cols = 0, stride = 0;
  void* data = nullptr;
  std::vector<uint8_t> copy;
};

int64_t bytes_of(DType dtype) { return static_cast<int64_t>(dtype_bits(dtype) / 8); }

uint8_t* element(const qz_tensor& t, int64_t r, int64_t c) {
  const int64_t at = r * t.stride[0] + c * t.stride[1];
  return static_cast<uint8_t*>(t.data) + at * bytes_of(static_cast<DType>(t.dtype));
}

Result<RowMajor> row_major(const qz_tensor* t, const char* name, int64_t cols, bool read) {
  QZ_TRY(check_tensor(t, 2, name));
  RowMajor m;
  m.dtype = static_cast<DType>(t->dtype);
  m.rows = t->shape[0], m.cols = t->shape[1];
  if (!is_float(m.dtype))
    return error(Code::kInvalidArgument, "%s: must be F32, F16 or BF16, is %s", name, dtype_name(m.dtype));
  if (m.cols != cols)
    return error(Code::kInvalidArgument, "%s: has %lld columns, the matrix needs %lld", name,
                 static_cast<long long>(m.cols), static_cast<long long>(cols));
  if ((t->stride[1] == 1 || cols == 1) && (t->stride[0] >= cols || m.rows == 1)) {
    m.data = t->data;
    m.stride = m.rows == 1 ? cols : t->stride[0];
    return m;
  }
  const auto size = static_cast<size_t>(bytes_of(m.dtype));
  m.copy.resize(static_cast<size_t>(m.rows * m.cols) * size);
  m.data = m.copy.data();
  m.stride = m.cols;
  for (int64_t r = 0; read && r < m.rows; ++r)
    for (int64_t c = 0; c < m.cols; ++c)
      std::memcpy(m.copy.data() + static_cast<size_t>(r * m.cols + c) * size, element(*t, r, c), size);
  return m;
}

Result<std::vector<float>> bias_from(const qz_tensor* t, int64_t rows) {
  std::vector<float> bias;
  if (!t) return bias;
  QZ_TRY(check_tensor(t, 1, "opts.bias"));
  const DType dtype = static_cast<DType>(t->dtype);
  if (!is_float(dtype))
    return error(Code::kInvalidArgument, "opts.bias: must be F32, F16 or BF16, is %s", dtype_name(dtype));
  if (t->shape[0] != rows)
    return error(Code::kInvalidArgument, "opts.bias: has %lld elements, the matrix needs %lld",
                 static_cast<long long>(t->shape[0]), static_cast<long long>(rows));
  bias.resize(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; ++i)
    to_f32(static_cast<const uint8_t*>(t->data) + i * t->stride[0] * bytes_of(dtype), dtype, 1,
           &bias[static_cast<size_t>(i)]);
  return bias;
}

Status tile_once(const qz_packed& w) {
  const std::lock_guard<std::mutex> lock(w.tiling);
  if (w.tiles) return {};
  QZ_ASSIGN(TiledWeights tiles, tile_matrix(*w.context, w.matrix));
  w.tiles = std::move(tiles);
  return {};
}

Result<Matrix> as_floats(const Context& context, const RowMajor& x) {
  Matrix out(x.rows, x.cols);
  const auto convert = [&](int64_t r) {
    to_f32(static_cast<const uint8_t*>(x.data) + r * x.stride * bytes_of(x.dtype), x.dtype, static_cast<size_t>(x.cols),
           out.row(r));
  };
  QZ_TRY(for_each_row(context, x.rows, convert, 16));
  return out;
}

void round_rows(const Matrix& from, RowMajor* to) {
  for (int64_t r = 0; r < to->rows; ++r)
    from_f32(from.row(r), to->dtype, static_cast<size_t>(to->cols),
             static_cast<uint8_t*>(to->data) + r * to->stride * bytes_of(to->dtype));
}

// From the codes as kernels read them. With allow_int8 x is rounded to 8 bits where integers can be multiplied:
// not by tables, 3 bits, or numbers that are not finite.
Status tiled(const qz_packed& w, const RowMajor& x, const float* bias, bool allow_int8, const RowMajor& y) {
  QZ_TRY(tile_once(w));
  const MutableRows out{y.data, y.dtype, y.stride};
  if (allow_int8 && w.matrix.scheme.code == CodeKind::kInt && takes_bytes(*w.tiles)) {
    QZ_ASSIGN(const Matrix in, as_floats(*w.context, x));
    if (all_finite(in.data(), in.rows() * in.cols()))
      return rounded_product(*w.context, *w.tiles, in.view(), bias, false, out);
  }
  return low_bit_product(*w.context, *w.tiles, {x.data, x.dtype, x.rows, x.cols, x.stride}, bias, false, out);
}

// Inputs rounded as w's scheme says, integers multiplied; one rounding to y's type, whatever is added up.
Status integers(const qz_packed& w, const RowMajor& x, const float* bias, RowMajor* y) {
  if (w.matrix.scheme.activations == Activations::kNone || !can_tile(w.matrix))
    return error(Code::kUnsupported, "w: is %s, expected integers with inputs of 8 bits: w8a8, w8a8s, llm-int8",
                 scheme_name(w.matrix.scheme).c_str());
  if (w.matrix.scheme.activations == Activations::kTensor && !(w.matrix.input_scale > 0))
    return error(Code::kInvalidArgument, "w: has no scale of its inputs");
  QZ_TRY(tile_once(w));
  if (!takes_integers(w.matrix, *w.tiles))
    return error(Code::kUnsupported, "w: the codes of %s are not multiplied by integers",
                 scheme_name(w.matrix.scheme).c_str());
  QZ_ASSIGN(const Matrix in, as_floats(*w.context, x));
  if (w.matrix.scheme.activations != Activations::kOutliers)
    return integer_product(*w.context, input_rule(w.matrix), *w.tiles, in.view(), bias, false,
                           {y->data, y->dtype, y->stride});
  Matrix out(x.rows, y->cols);
  QZ_TRY(integer_product(*w.context, input_rule(w.matrix), *w.tiles, in.view(), bias, false,
                         {out.data(), DType::kF32, out.cols()}));
  round_rows(out, y);
  return {};
}

// Codes that no kernel reads (FP8, GGUF blocks, groups across rows) become float32 a piece at a time.
Status expanded(const qz_packed& w, const RowMajor& x, const float* bias, RowMajor* y) {
  const auto fetch = [](const void* self, int64_t r, int64_t c0, int64_t c1, float* out) {
    dequantize_part(*static_cast<const QMatrix*>(self), r, c0, c1, out);
  };
  QZ_ASSIGN(const Matrix in, as_floats(*w.context, x));
  Matrix out(x.rows, y->cols);
  QZ_TRY(gemm_nt(*w.context, in.view(), {w.matrix.rows, w.matrix.cols, &w.matrix, fetch}, bias, false, out.data(),
                 out.cols()));
  round_rows(out, y);
  return {};
}

// The public products: of codes of up to 4 bits, of wider ones, of integers with integers.
enum class Product { kW4A16, kW8A16, kW8A8 };

Status product(const qz_tensor* x, const qz_packed* w, const qz_tensor* y, const qz_gemm_options* options,
               Product kind) {
  QZ_TRY(require(w, "w"));
  qz_gemm_options o;
  QZ_TRY(copy_options(options, "qz_gemm_options", &o));
  if (o.allow_int8_activations != 0 && o.allow_int8_activations != 1)
    return error(Code::kInvalidArgument, "opts.allow_int8_activations: is %d, expected 0 or 1",
                 o.allow_int8_activations);
  const QMatrix& q = w->matrix;
  const BlockCode* block = find_block_code(q.scheme.code);
  const int32_t bits = block ? block->bits : q.scheme.bits;
  const bool narrow = kind == Product::kW4A16;
  if (kind != Product::kW8A8 && (bits <= 4) != narrow)
    return error(Code::kUnsupported, "the codes of w have %d bits: use qz_gemm_%s", bits, narrow ? "w8a16" : "w4a16");
  if (w->device) {
    if (kind == Product::kW8A8) return error(Code::kUnsupported, "w: on a device, where inputs stay floats");
    if (o.allow_int8_activations) return error(Code::kUnsupported, "opts.allow_int8_activations: not on a device");
    return w->device->multiply({x, y, o.bias}, o.stream, o.workspace, o.workspace_bytes);
  }
  if (o.stream) return error(Code::kInvalidArgument, "opts.stream: must be NULL on the CPU");
  if (o.workspace || o.workspace_bytes)
    return error(Code::kInvalidArgument, "opts.workspace: must be NULL and 0 on the CPU");
  QZ_ASSIGN(const RowMajor in, row_major(x, "x", q.cols, true));
  QZ_ASSIGN(RowMajor out, row_major(y, "y", q.rows, false));
  if (in.rows != out.rows)
    return error(Code::kInvalidArgument, "y: has %lld rows, x has %lld", static_cast<long long>(out.rows),
                 static_cast<long long>(in.rows));
  QZ_ASSIGN(const std::vector<float> bias, bias_from(o.bias, q.rows));
  const float* b = bias.empty() ? nullptr : bias.data();
  if (kind == Product::kW8A8) {
    QZ_TRY(integers(*w, in, b, &out));
  } else if (can_tile(q)) {
    QZ_TRY(tiled(*w, in, b, o.allow_int8_activations == 1, out));
  } else {
    QZ_TRY(expanded(*w, in, b, &out));
  }
  if (out.copy.empty()) return {};
  const auto size = static_cast<size_t>(bytes_of(out.dtype));
  for (int64_t r = 0; r < out.rows; ++r)
    for (int64_t c = 0; c < out.cols; ++c)
      std::memcpy(element(*y, r, c), out.copy.data() + static_cast<size_t>(r * out.cols + c) * size, size);
  return {};
}

}  // namespace
}  // namespace qz

extern "C" {

qz_status qz_gemm_w4a16(const qz_tensor* x, const qz_packed* w, const qz_tensor* y, const qz_gemm_options* opts) {
  return qz::guard("qz_gemm_w4a16", [&] { return qz::product(x, w, y, opts, qz::Product::kW4A16); });
}

qz_status qz_gemm_w8a16(const qz_tensor* x, const qz_packed* w, const qz_tensor* y, const qz_gemm_options* opts) {
  return qz::guard("qz_gemm_w8a16", [&] { return qz::product(x, w, y, opts, qz::Product::kW8A16); });
}

qz_status qz_gemm_w8a8(const qz_tensor* x, const qz_packed* w, const qz_tensor* y, const qz_gemm_options* opts) {
  return qz::guard("qz_gemm_w8a8", [&] { return qz::product(x, w, y, opts, qz::Product::kW8A8); });
}

qz_status qz_gemm_workspace(const qz_tensor* x, const qz_packed* w, const qz_tensor* y, const qz_gemm_options* opts,
                            uint64_t* bytes) {
  return qz::guard("qz_gemm_workspace", [&]() -> qz::Status {
    QZ_TRY(qz::require(bytes, "bytes"));
    QZ_TRY(qz::require(w, "w"));
    qz_gemm_options o;
    QZ_TRY(qz::copy_options(opts, "qz_gemm_options", &o));
    uint64_t need = 0;
    if (w->device) {
      QZ_ASSIGN(need, w->device->workspace({x, y, o.bias}));
    }
    *bytes = need;
    return {};
  });
}

}  // extern "C"
