#include <cmath>

#include "api/handles.h"
#include "method/gptq.h"
#include "method/rtn.h"
#include "tensor/convert.h"

namespace qz {

Status check_tensor(const qz_tensor* tensor, int32_t ndim, const char* name) {
  QZ_TRY(require(tensor, name));
  if (!tensor->data) return error(Code::kInvalidArgument, "%s: data is NULL", name);
  if (tensor->device.kind != 0 && tensor->device.kind != 1)
    return error(Code::kInvalidArgument, "%s: device kind %d is not the CPU", name, tensor->device.kind);
  if (tensor->ndim != ndim)
    return error(Code::kInvalidArgument, "%s: has %d dimensions, expected %d", name, tensor->ndim, ndim);
  uint64_t elements = 1;
  for (int32_t d = 0; d < ndim; d++) {
    if (tensor->shape[d] < 1 || tensor->stride[d] < 0)
      return error(Code::kInvalidArgument, "%s: shape and stride must be positive", name);
    if (__builtin_mul_overflow(elements, static_cast<uint64_t>(tensor->shape[d]), &elements) ||
        elements > (uint64_t{1} << 40))
      return error(Code::kInvalidArgument, "%s: has too many elements", name);
  }
  return {};
}

Result<Matrix> matrix_from(const qz_tensor& t, const char* name) {
  QZ_TRY(check_tensor(&t, 2, name));
  const DType dtype = static_cast<DType>(t.dtype);
  if (!is_float(dtype))
    return error(Code::kInvalidArgument, "%s: must be F32, F16 or BF16, is %s", name, dtype_name(dtype));
  Matrix m(t.shape[0], t.shape[1]);
  const size_t size = dtype_bits(dtype) / 8;
  for (int64_t r = 0; r < t.shape[0]; r++)
    for (int64_t c = 0; c < t.shape[1]; c++) {
      float* to = m.row(r) + c;
      to_f32(static_cast<const uint8_t*>(t.data) + static_cast<size_t>(r * t.stride[0] + c * t.stride[1]) * size, dtype,
             1, to);
      if (!std::isfinite(*to))
        return error(Code::kNumeric, "%s: element (%lld, %lld) is not finite", name, static_cast<long long>(r),
                     static_cast<long long>(c));
    }
  return m;
}

namespace {

Result<Part> part_from(const qz_part& from) {
  QZ_TRY(require(from.name, "part name"));
  const qz_tensor& t = from.tensor;
  if (t.ndim < 1 || t.ndim > 2)
    return error(Code::kInvalidArgument, "%s: has %d dimensions, expected 1 or 2", from.name, t.ndim);
  QZ_TRY(check_tensor(&t, t.ndim, from.name));
  Part part;
  part.name = from.name;
  part.dtype = static_cast<DType>(t.dtype);
  const size_t size = dtype_bits(part.dtype) / 8;
  if (size == 0) return error(Code::kInvalidArgument, "%s: dtype %d is not known", from.name, t.dtype);
  part.shape.assign(t.shape, t.shape + t.ndim);
  const int64_t rows = t.ndim == 2 ? t.shape[0] : 1, cols = t.shape[t.ndim - 1];
  part.bytes.resize(static_cast<size_t>(rows * cols) * size);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols; c++) {
      const int64_t at = t.ndim == 2 ? r * t.stride[0] + c * t.stride[1] : c * t.stride[0];
      std::memcpy(part.bytes.data() + static_cast<size_t>(r * cols + c) * size,
                  static_cast<const uint8_t*>(t.data) + static_cast<size_t>(at) * size, size);
    }
  return part;
}

Result<const Format*> format_from(qz_format id) {
  const Format* format = find_format(static_cast<FormatId>(id));
  if (!format) return error(Code::kInvalidArgument, "format %d does not store codes", id);
  return format;
}

Result<QMatrix> quantize(const ContextPtr& context, const Matrix& w, const qz_rule& rule, const qz_tensor* hessian) {
  QZ_ASSIGN(Scheme scheme, scheme_from(rule.scheme));
  if (scheme.scale == DType::kNone) scheme.scale = DType::kF32;
  if (scheme.group > w.cols()) scheme.group = kGroupRow;
  const bool solve = rule.method == QZ_METHOD_GPTQ || (rule.method == QZ_METHOD_DEFAULT && hessian);
  if (rule.method != QZ_METHOD_DEFAULT && rule.method != QZ_METHOD_RTN && rule.method != QZ_METHOD_GPTQ)
    return error(Code::kInvalidArgument, "method %d does not quantize", rule.method);
  if (!solve) return rtn(*context, w.view(), scheme, 0);
  if (!hessian) return error(Code::kInvalidArgument, "GPTQ needs a hessian");
  StageStats stats;
  QZ_ASSIGN(stats.h, matrix_from(*hessian, "hessian"));
  if (stats.h.rows() != w.cols() || stats.h.cols() != w.cols())
    return error(Code::kInvalidArgument, "hessian is [%lld, %lld], expected [%lld, %lld]",
                 static_cast<long long>(stats.h.rows()), static_cast<long long>(stats.h.cols()),
                 static_cast<long long>(w.cols()), static_cast<long long>(w.cols()));
  stats.cols = w.cols();
  stats.tokens = 1;  // the scale of H does not matter
  QZ_ASSIGN(const GptqOptions options, gptq_options_from(rule.gptq));
  QZ_ASSIGN(const HessianFactor factor, factor_hessian(*context, stats, options));
  QZ_ASSIGN(Solved solved, gptq(*context, w.view(), factor, stats, HeldOut(), scheme, options, RowMetric(), 0));
  return std::move(solved.q);
}

Status on_cpu(const qz_packed& p) {
  return p.device ? error(Code::kUnsupported, "p is on a device: take the matrix that it was made from") : Status();
}

}  // namespace
}  // namespace qz

using qz::Code;
using qz::error;
using qz::Status;

extern "C" {

qz_status qz_packed_quantize(const qz_context* ctx, const qz_tensor* w, const qz_rule* rule, const qz_tensor* hessian,
                             qz_packed** out) {
  return qz::guard("qz_packed_quantize", [&]() -> Status {
    QZ_TRY(qz::require(out, "out"));
    *out = nullptr;
    QZ_TRY(qz::require(ctx, "ctx"));
    QZ_TRY(qz::require(w, "w"));
    qz_rule r;
    QZ_TRY(qz::copy_options(rule, "qz_rule", &r));
    QZ_ASSIGN(const qz::Matrix weight, qz::matrix_from(*w, "w"));
    QZ_ASSIGN(qz::QMatrix q, qz::quantize(ctx->context, weight, r, hessian));
    *out = new qz_packed{ctx->context, std::move(q), {}, {}, {}, {}};
    return {};
  });
}

qz_status qz_packed_import(const qz_context* ctx, qz_format format, const qz_scheme* scheme, int64_t rows, int64_t cols,
                           const qz_part* parts, size_t count, qz_packed** out) {
  return qz::guard("qz_packed_import", [&]() -> Status {
    QZ_TRY(qz::require(out, "out"));
    *out = nullptr;
    QZ_TRY(qz::require(ctx, "ctx"));
    QZ_TRY(qz::require(parts, "parts"));
    if (rows < 1 || cols < 1 || rows > (1 << 24) || cols > (1 << 24))
      return error(Code::kInvalidArgument, "rows and cols must be positive");
    if (count > 64) return error(Code::kInvalidArgument, "%zu parts are too many", count);
    QZ_ASSIGN(const qz::Format* f, qz::format_from(format));
    qz::StoredScheme stored;
    QZ_ASSIGN(stored.scheme, qz::scheme_from(scheme));
    qz::Parts all;
    for (size_t i = 0; i < count; i++) {
      QZ_ASSIGN(qz::Part part, qz::part_from(parts[i]));
      if (part.name.find("g_idx") != std::string_view::npos) stored.g_idx = true;
      all.push_back(std::move(part));
    }
    QZ_ASSIGN(qz::QMatrix q, f->decode(all, stored, rows, cols));
    *out = new qz_packed{ctx->context, std::move(q), {}, {}, {}, {}};
    return {};
  });
}

qz_status qz_packed_export(qz_packed* p, qz_format format, qz_part* parts, size_t* count) {
  return qz::guard("qz_packed_export", [&]() -> Status {
    QZ_TRY(qz::require(p, "p"));
    QZ_TRY(qz::require(count, "count"));
    QZ_TRY(qz::on_cpu(*p));
    QZ_ASSIGN(const qz::Format* f, qz::format_from(format));
    qz::QMatrix q = p->matrix;
    q.scheme.scale = f->scale_dtype(q.scheme.scale);
    QZ_TRY(f->can_store(q.scheme, q.rows, q.cols, !q.g_idx.empty()));
    for (const float s : q.scales)
      if (qz::round_to(s, q.scheme.scale) != s)
        return error(Code::kUnsupported,
                     "scale %.9g is not exact in %s, which this format stores; quantize with scale = %s",
                     static_cast<double>(s), qz::dtype_name(q.scheme.scale), qz::dtype_name(q.scheme.scale));
    QZ_ASSIGN(qz::Parts made, f->encode(q));
    const size_t room = *count;
    *count = made.size();
    if (room < made.size())
      return error(Code::kBufferTooSmall, "%zu parts are needed, there is room for %zu", made.size(), room);
    QZ_TRY(qz::require(parts, "parts"));
    p->exported = std::move(made);
    for (size_t i = 0; i < p->exported.size(); i++) {
      qz::Part& part = p->exported[i];
      qz_tensor t = {};
      t.data = part.bytes.data();
      t.ndim = static_cast<int32_t>(part.shape.size());
      t.dtype = static_cast<qz_dtype>(part.dtype);
      t.device = {1, 0};
      int64_t stride = 1;
      for (int32_t d = t.ndim - 1; d >= 0; d--) {
        t.shape[d] = part.shape[static_cast<size_t>(d)];
        t.stride[d] = stride;
        stride *= t.shape[d];
      }
      parts[i] = {part.name.data(), t};
    }
    return {};
  });
}

qz_status qz_packed_dequantize(const qz_packed* p, const qz_tensor* w) {
  return qz::guard("qz_packed_dequantize", [&]() -> Status {
    QZ_TRY(qz::require(p, "p"));
    QZ_TRY(qz::on_cpu(*p));
    QZ_TRY(qz::check_tensor(w, 2, "w"));
    if (w->dtype != QZ_DTYPE_F32) return error(Code::kInvalidArgument, "w: must be F32");
    const qz::QMatrix& q = p->matrix;
    if (w->shape[0] != q.rows || w->shape[1] != q.cols)
      return error(Code::kInvalidArgument, "w is [%lld, %lld], the matrix is [%lld, %lld]",
                   static_cast<long long>(w->shape[0]), static_cast<long long>(w->shape[1]),
                   static_cast<long long>(q.rows), static_cast<long long>(q.cols));
    std::vector<float> row(static_cast<size_t>(q.cols));
    for (int64_t r = 0; r < q.rows; r++) {
      qz::dequantize_row(q, r, row.data());
      for (int64_t c = 0; c < q.cols; c++)
        static_cast<float*>(w->data)[r * w->stride[0] + c * w->stride[1]] = row[static_cast<size_t>(c)];
    }
    return {};
  });
}

qz_status qz_packed_to_device(const qz_context* ctx, const qz_packed* p, qz_device device, qz_packed** out) {
  return qz::guard("qz_packed_to_device", [&]() -> Status {
    QZ_TRY(qz::require(out, "out"));
    *out = nullptr;
    QZ_TRY(qz::require(ctx, "ctx"));
    QZ_TRY(qz::require(p, "p"));
    QZ_TRY(qz::on_cpu(*p));
    QZ_ASSIGN(auto there, qz::DeviceMatrix::make(*ctx->context, ctx->backends->list(), device, p->matrix));
    qz::QMatrix shape;
    shape.rows = p->matrix.rows, shape.cols = p->matrix.cols;
    shape.scheme = p->matrix.scheme;
    *out = new qz_packed{ctx->context, std::move(shape), {}, {}, {}, std::move(there)};
    return {};
  });
}

void qz_packed_free(qz_packed* p) { delete p; }

}  // extern "C"
