#include "estimate/weights.h"

#include <algorithm>

#include "base/checked.h"

namespace qz {
namespace {

constexpr int64_t kDefaultGroup = 128;

uint64_t u(int64_t n) { return static_cast<uint64_t>(n); }
uint64_t blocks(int64_t rows, int64_t cols, int64_t block) { return u(ceil_div(rows * cols, block)); }
// ggml's block types hold their scales: whole blocks per row.
MatrixBytes ggml(int64_t rows, int64_t cols, int64_t elements, int64_t bytes) {
  return {u(rows) * u(ceil_div(cols, elements)) * u(bytes), 0};
}

constexpr std::string_view kBnb = "bitsandbytes functional.py: blocks of 64, absmax, nested blocks of 256";
constexpr std::string_view kGgml = "ggml-common.h, block structs";

// The type of a plain weight by name; kNone: it is none.
DType plain_dtype(const std::string& text) {
  if (text == "f32" || text == "fp32") return DType::kF32;
  if (text == "f16" || text == "fp16") return DType::kF16;
  if (text == "bf16") return DType::kBF16;
  return DType::kNone;
}

std::string known_names() {
  std::string out = "f32, bf16, f16, [FORMAT:]SCHEME with FORMAT";
  for (const Format& f : formats()) out += (&f == &formats().front() ? " " : ", ") + std::string(f.name);
  for (const WeightSpec::Recipe& r : weight_recipes()) out += ", " + std::string(r.name);
  return out;
}

}  // namespace

const std::vector<WeightSpec::Recipe>& weight_recipes() {
  static const std::vector<WeightSpec::Recipe> table = {
      {"int8", 8, [](int64_t n, int64_t k) { return MatrixBytes{u(n) * u(k), 2 * u(n)}; },
       "8 bit, one F16 scale a row"},
      {"awq", 4,
       [](int64_t n, int64_t k) {
         const uint64_t groups = u(ceil_div(k, kDefaultGroup));
         return MatrixBytes{u(n) * u(k) / 2, groups * u(n) / 2 + 2 * groups * u(n)};
       },
       "AutoAWQ gemm layout: qweight, qzeros, F16 scales, groups of 128"},
      {"nf4", 4, [](int64_t n, int64_t k) { return MatrixBytes{(u(n) * u(k) + 1) / 2, 4 * blocks(n, k, 64) + 64}; },
       kBnb},
      {"nf4-dq", 4,
       [](int64_t n, int64_t k) {
         const uint64_t nb = blocks(n, k, 64);
         return MatrixBytes{(u(n) * u(k) + 1) / 2, nb + 4 * ((nb + 255) / 256) + 64 + 1024};
       },
       kBnb},
      {"hqq", 4, [](int64_t n, int64_t k) { return MatrixBytes{u(n) * u(k) / 2, 4 * blocks(n, k, 64)}; },
       "hqq: groups of 64, F16 scale and F16 zero point"},
      {"q4_0", 4, [](int64_t n, int64_t k) { return ggml(n, k, 32, 18); }, kGgml},
      {"q8_0", 8, [](int64_t n, int64_t k) { return ggml(n, k, 32, 34); }, kGgml},
      {"q4_k", 4, [](int64_t n, int64_t k) { return ggml(n, k, 256, 144); }, kGgml},
      {"q6_k", 6, [](int64_t n, int64_t k) { return ggml(n, k, 256, 210); }, kGgml},
  };
  return table;
}

MatrixBytes layout_bytes(const Format& format, const Scheme& scheme, int64_t rows, int64_t cols, bool g_idx) {
  MatrixBytes out;
  for (const PartSpec& part : format.layout(scheme, rows, cols, g_idx)) {
    uint64_t bytes = dtype_bits(part.dtype) / 8;
    for (const int64_t d : part.shape) bytes *= u(d);
    (part.name == format.part_names.front() ? out.codes : out.scales) += bytes;
  }
  return out;
}

Result<WeightSpec> WeightSpec::parse(const std::string& text, DType model_dtype) {
  WeightSpec spec;
  spec.text_ = text;
  spec.dtype_ = plain_dtype(text);
  if (spec.dtype_ != DType::kNone) return spec;
  const size_t colon = text.find(':');
  const std::string format = colon == std::string::npos ? "" : text.substr(0, colon);
  const std::string scheme = colon == std::string::npos ? text : text.substr(colon + 1);
  for (const Recipe& r : weight_recipes())
    if (text == r.name) spec.recipe_ = &r;
  if (spec.recipe_) return spec;
  if (format.empty()) spec.format_ = find_format(FormatId::kDefault);
  for (const Format& f : formats())
    if (f.name == format) spec.format_ = &f;
  auto found = scheme_preset(scheme);
  if (!spec.format_ || !found.ok())
    return error(Code::kInvalidArgument, "weights '%.60s' are not one of %s", text.c_str(), known_names().c_str());
  spec.scheme_ = *found;
  if (spec.scheme_.scale == DType::kNone) spec.scheme_.scale = spec.format_->scale_dtype(model_dtype);
  return spec;
}

double WeightSpec::bits() const {
  if (recipe_) return recipe_->bits;
  return format_ ? scheme_.bits : dtype_bits(dtype_);
}

Result<MatrixBytes> WeightSpec::matrix(int64_t rows, int64_t cols) const {
  if (recipe_) return recipe_->bytes(rows, cols);
  if (!format_) return MatrixBytes{u(rows) * u(cols) * dtype_bits(dtype_) / 8, 0};
  Scheme scheme = scheme_;
  if (scheme.is_grid() && scheme.group > cols) scheme.group = kGroupRow;  // as a plan resolves it
  QZ_TRY(format_->can_store(scheme, rows, cols, false));
  return layout_bytes(*format_, scheme, rows, cols, false);
}

Result<WeightTable> store_weights(const ModelShape& shape, const std::string& weights) {
  WeightTable out;
  out.embedding = shape.embedding_bytes;
  out.others = shape.other_bytes;
  if (weights.empty()) {
    for (const LinearShape& l : shape.linears) out.linears.push_back({l.stored_bytes, l.stored_scales});
    return out;
  }
  QZ_ASSIGN(const WeightSpec spec, WeightSpec::parse(weights, shape.dtype));
  const uint64_t plain = dtype_bits(spec.plain() ? spec.dtype() : shape.dtype) / 8;
  if (spec.plain()) {
    out.embedding = u(shape.embedding) * plain;
    out.others = u(shape.others) * plain;
  }
  for (const LinearShape& l : shape.linears) {
    MatrixBytes bytes{l.can_quantize ? u(l.rows) * u(l.cols) * plain : 0, 0};
    if (!spec.plain() && l.layer >= 0) {
      auto stored = spec.matrix(l.rows, l.cols);
      if (stored.ok()) {
        bytes = *stored;
      } else {
        out.kept.push_back(l.name + ": " + stored.status().text());
      }
    }
    out.linears.push_back(bytes);
  }
  return out;
}

}  // namespace qz
