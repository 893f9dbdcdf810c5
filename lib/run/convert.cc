#include "run/convert.h"

#include <cmath>
#include <optional>

#include "method/rtn.h"
#include "packed/rewrite.h"
#include "tensor/convert.h"

namespace qz {
namespace {

// The first scale or zero point that `to` cannot hold; nullopt: it holds all.
std::optional<float> inexact(const QMatrix& q, DType to) {
  for (const std::vector<float>* values : {&q.scales, &q.float_zeros})
    for (const float v : *values)
      if (round_to(v, to) != v) return v;
  if (round_to(q.input_scale, to) != q.input_scale) return q.input_scale;
  return std::nullopt;
}

std::string scale_words(float v, DType to) {
  const Status words =
      error(Code::kUnsupported, "scale %.9g is not exact in %s", static_cast<double>(v), dtype_name(to));
  return words.text();
}

// The target's types: what it stores scales in, and what loaders compute in.
Scheme typed(Scheme s, const Format& format, DType model_dtype) {
  s.scale = format.scale_dtype(is_float(s.scale) ? s.scale : model_dtype);
  if (s.compute == DType::kNone) s.compute = model_dtype;
  return s;
}

// Rounded anew to the scheme of the target with as many bits, the finest groups first.
Result<Converted> round_anew(const Context& context, const QMatrix& q, const Format& format, DType model_dtype) {
  const char* const kinds[][4] = {{"w4g64a", "w4g64f", "nf4", "q4_0"}, {"w8", "w8g128f", "llm-int8", "q8_0"}};
  const bool four = q.scheme.bits <= 4;
  const Matrix w = dequantize(q);
  for (const char* name : kinds[four ? 0 : 1]) {
    QZ_ASSIGN(Scheme s, scheme_preset(name));
    s = typed(s, format, model_dtype);
    if (!format.can_store(s, q.rows, q.cols, false).ok()) continue;
    QZ_ASSIGN(QMatrix made, rtn(context, w.view(), s, format.min_zero));
    return Converted{std::move(made),
                     "rounded to nearest anew, from " + scheme_name(q.scheme) + " to " + scheme_name(s)};
  }
  return error(Code::kUnsupported, "%s: stores nothing like scheme %s", std::string(format.name).c_str(),
               scheme_name(q.scheme).c_str());
}

Status round_scales(QMatrix* q, DType to) {
  for (std::vector<float>* values : {&q->scales, &q->float_zeros})
    for (float& v : *values) {
      v = round_to(v, to);
      if (!std::isfinite(v)) return error(Code::kNumeric, "a scale overflows %s", dtype_name(to));
    }
  q->input_scale = round_to(q->input_scale, to);
  return {};
}

}  // namespace

Result<Converted> convert_matrix(const Context& context, const QMatrix& q, const Format& format, DType model_dtype,
                                 bool allow_loss) {
  const bool g_idx = !natural_groups(q.g_idx, q.cols, q.scheme);
  Status why;  // of the first scheme, which is the matrix's own
  std::optional<QMatrix> rounded;
  std::string lost;
  for (const bool inputs : {true, false}) {
    if (!inputs && q.scheme.activations == Activations::kNone) break;
    QMatrix source = q;
    if (!inputs) source.scheme.activations = Activations::kNone, source.input_scale = 0;
    for (Scheme s : rewritings(source.scheme, q.cols)) {
      s = typed(s, format, model_dtype);
      Status fits = format.can_store(s, q.rows, q.cols, g_idx);
      Result<QMatrix> same = fits.ok() ? rewrite(source, s) : Result<QMatrix>(fits);
      if (!same.ok()) {
        if (why.ok()) why = same.status();
        continue;
      }
      const std::optional<float> wrong = s.is_block() ? std::nullopt : inexact(*same, s.scale);
      if (!wrong && inputs) return Converted{std::move(*same), ""};
      if (wrong && why.ok()) why = error(Code::kUnsupported, "%s", scale_words(*wrong, s.scale).c_str());
      if (rounded) continue;
      lost = inputs ? "" : "inputs are floats instead of 8 bits";
      if (wrong) lost.append(lost.empty() ? "" : "; ").append(scale_words(*wrong, s.scale)).append(" and is rounded");
      rounded = std::move(*same);
    }
  }
  if (!allow_loss) {
    if (rounded && why.ok()) why = error(Code::kUnsupported, "%s", lost.c_str());
    return why;
  }
  if (!rounded) return round_anew(context, q, format, model_dtype);
  QZ_TRY(round_scales(&*rounded, rounded->scheme.scale));
  return Converted{std::move(*rounded), lost};
}

}  // namespace qz
