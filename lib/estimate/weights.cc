#include "estimate/weights.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "format/complete.h"
#include "packed/block_code.h"

namespace qz {
namespace {

uint64_t u(int64_t n) { return static_cast<uint64_t>(n); }

// What tools store when nothing is said.
constexpr std::pair<std::string_view, std::string_view> kUsual[] = {{"awq", "awq:w4g128a"}, {"hqq", "hqq:w4g64f"}};

// Block types of GGUF files that packed/block_code.h has no code for: weights and bytes of a block (ggml-common.h).
struct BlockType {
  std::string_view name;
  int32_t bits, elements, bytes;
};
constexpr BlockType kBlockTypes[] = {{"q4_k", 4, 256, 144}, {"q6_k", 6, 256, 210}};

// A matrix that any format may hold, to ask which can: its sides are multiples of all tiles.
constexpr int64_t kAnySide = 4096;

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
  out += " and SCHEME such as w4g128, w8, nf4, nf4-dq, fp8, w4g64f";
  for (const auto& [name, spelled] : kUsual) out += ", " + std::string(name);
  for (const BlockCode& b : block_codes()) out += std::string(", ") + b.name;
  for (const BlockType& b : kBlockTypes) out += ", " + std::string(b.name);
  return out;
}

const Format* first_that_holds(const Scheme& scheme) {
  for (const FormatId id : {FormatId::kDefault, FormatId::kBitsandbytes, FormatId::kHqq, FormatId::kAwq})
    if (const Format* f = find_format(id);
        f->can_store(complete_scheme(*f, scheme, DType::kBF16, kAnySide), kAnySide, kAnySide, false).ok())
      return f;
  return find_format(FormatId::kDefault);  // which says why not
}

}  // namespace

MatrixBytes layout_bytes(const Format& format, const Scheme& scheme, int64_t rows, int64_t cols, bool g_idx) {
  MatrixBytes out;
  for (const PartSpec& part : format.layout(scheme, rows, cols, g_idx)) {
    uint64_t bytes = dtype_bits(part.dtype) / 8;
    for (const int64_t d : part.shape) bytes *= u(d);
    out.scales += std::min(bytes, out.codes);
    out.codes = std::max(bytes, out.codes);  // the codes are the largest part
  }
  return out;
}

Result<WeightSpec> WeightSpec::parse(const std::string& given, DType model_dtype) {
  WeightSpec spec;
  spec.text_ = given;
  spec.dtype_ = plain_dtype(given);
  spec.model_dtype_ = model_dtype;
  if (spec.dtype_ != DType::kNone) return spec;
  for (const BlockType& b : kBlockTypes) {
    if (given != b.name) continue;
    spec.scheme_.bits = b.bits, spec.block_elements_ = b.elements, spec.block_bytes_ = b.bytes;
    return spec;
  }
  std::string text = given;
  for (const auto& [name, spelled] : kUsual)
    if (given == name) text = spelled;
  const size_t colon = text.find(':');
  const std::string format = colon == std::string::npos ? "" : text.substr(0, colon);
  auto found = scheme_preset(colon == std::string::npos ? text : text.substr(colon + 1));
  if (found.ok()) {
    spec.scheme_ = *found;
    if (const BlockCode* block = find_block_code(found->code); block && format.empty()) {
      spec.block_elements_ = block->elements, spec.block_bytes_ = block->bytes;
      return spec;
    }
    if (format.empty()) spec.format_ = first_that_holds(*found);
    for (const Format& f : formats())
      if (f.name == format) spec.format_ = &f;
  }
  if (!spec.format_)
    return error(Code::kInvalidArgument, "weights '%.60s' are not one of %s", given.c_str(), known_names().c_str());
  return spec;
}

double WeightSpec::bits() const { return plain() ? dtype_bits(dtype_) : scheme_.bits; }

Result<MatrixBytes> WeightSpec::matrix(int64_t rows, int64_t cols) const {
  if (block_bytes_ > 0) return MatrixBytes{u(rows) * u(ceil_div(cols, block_elements_)) * u(block_bytes_), 0};
  if (!format_) return MatrixBytes{u(rows) * u(cols) * dtype_bits(dtype_) / 8, 0};
  const Scheme scheme = complete_scheme(*format_, scheme_, model_dtype_, cols);
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
    if (!spec.plain() && l.layer >= 0 && l.can_quantize) {
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
