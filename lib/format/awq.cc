// AWQ, version "gemm": AutoAWQ 0.2.9 awq/modules/linear/gemm.py, GPTQModel 7.7 qlinear/torch_awq.py. Codes run along
// the outputs, eight to a word in the order 0 2 4 6 1 3 5 7; zero points are stored as they are. AutoAWQ writes scales
// as F16, GPTQModel also as BF16.
#include "format/awq.h"

#include <cstring>

#include "base/json.h"
#include "format/bits.h"
#include "format/fields.h"
#include "format/kept.h"
#include "format/parts.h"

namespace qz {
namespace {

constexpr const char* kName = "awq";
constexpr int kOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};  // the column that nibble i of a word holds

Status can_store(const Scheme& scheme, int64_t rows, int64_t cols, bool g_idx) {
  QZ_TRY(check_storable(kName, scheme, {4}, rows, cols));
  if (scheme.group == kGroupTensor)
    return error(Code::kUnsupported, "%s: cannot store one scale per tensor, only groups or one per row", kName);
  if (g_idx) return error(Code::kUnsupported, "%s: cannot store g_idx; order static needs none", kName);
  if (scheme.scale == DType::kF32)
    return error(Code::kUnsupported, "%s: cannot store scales of type F32, only F16 and BF16", kName);
  if (rows % 8 != 0)
    return error(Code::kUnsupported, "%s: cannot store %lld rows, they must be a multiple of 8", kName,
                 static_cast<long long>(rows));
  return {};
}

std::vector<PartSpec> layout(const Scheme& s, int64_t rows, int64_t cols, bool) {
  return {{"qweight", DType::kI32, {cols, rows / 8}},
          {"qzeros", DType::kI32, {s.groups(cols), rows / 8}},
          {"scales", s.scale == DType::kBF16 ? DType::kBF16 : DType::kF16, {s.groups(cols), rows}}};
}

// codes [lines][n], n a multiple of 8 -> words [lines][n / 8].
void pack_words(const std::vector<uint8_t>& codes, uint8_t* words) {
  for (size_t w = 0; w < codes.size() / 8; ++w) {
    uint32_t word = 0;
    for (int i = 0; i < 8; ++i) word |= static_cast<uint32_t>(codes[w * 8 + static_cast<size_t>(kOrder[i])]) << (4 * i);
    std::memcpy(words + w * 4, &word, 4);
  }
}

std::vector<uint8_t> unpack_words(const std::vector<uint8_t>& words) {
  std::vector<uint8_t> codes(words.size() * 2);
  for (size_t w = 0; w < words.size() / 4; ++w) {
    uint32_t word;
    std::memcpy(&word, words.data() + w * 4, 4);
    for (int i = 0; i < 8; ++i) codes[w * 8 + static_cast<size_t>(kOrder[i])] = word >> (4 * i) & 15;
  }
  return codes;
}

Result<Parts> encode(const QMatrix& q) {
  QZ_TRY(check_qmatrix(q));
  const Scheme& s = q.scheme;
  QZ_TRY(can_store(s, q.rows, q.cols, !natural_groups(q.g_idx, q.cols, s)));
  Parts parts = make_parts(layout(s, q.rows, q.cols, false));
  pack_words(transposed(q.codes, q.rows, q.cols), parts[0].bytes.data());
  std::vector<uint8_t> zeros(static_cast<size_t>(q.rows * q.groups()), static_cast<uint8_t>(s.mid_code()));
  if (!s.symmetric) zeros = transposed(q.zeros, q.rows, q.groups());
  pack_words(zeros, parts[1].bytes.data());
  QZ_TRY(write_scales(transposed(q.scales, q.rows, q.groups()), &parts[2]));
  return parts;
}

Result<QMatrix> decode(const Parts& parts, const StoredScheme& stored, int64_t rows, int64_t cols) {
  QZ_TRY(check_readable(stored.scheme, rows, cols));
  QMatrix q;
  q.rows = rows;
  q.cols = cols;
  q.scheme = stored.scheme;
  const Scheme& s = q.scheme;
  if (s.bits != 4 || s.group == kGroupTensor || rows % 8 != 0)
    return error(Code::kUnsupported, "%s: %d bits, %lld rows: expected 4 bits and a multiple of 8 rows", kName, s.bits,
                 static_cast<long long>(rows));
  const std::vector<PartSpec> specs = layout(s, rows, cols, false);
  QZ_ASSIGN(const Part* qweight, take_part(parts, "qweight", {DType::kI32}, {specs[0].shape}));
  QZ_ASSIGN(const Part* qzeros, take_part(parts, "qzeros", {DType::kI32}, {specs[1].shape}));
  QZ_ASSIGN(const Part* scales, take_part(parts, "scales", {DType::kF16, DType::kBF16}, {specs[2].shape}));
  q.codes = transposed(unpack_words(qweight->bytes), cols, rows);
  const std::vector<uint8_t> zeros = unpack_words(qzeros->bytes);
  if (!s.symmetric) q.zeros = transposed(zeros, q.groups(), rows);
  for (size_t i = 0; s.symmetric && i < zeros.size(); ++i)
    if (zeros[i] != s.mid_code())
      return error(Code::kBadFile, "qzeros: zero point %d of group %zu, row %zu, expected %d because sym is true",
                   zeros[i], i / static_cast<size_t>(rows), i % static_cast<size_t>(rows), s.mid_code());
  QZ_ASSIGN(const std::vector<float> values, read_scales(*scales));
  q.scales = transposed(values, q.groups(), rows);
  q.scheme.scale = scales->dtype;
  return q;
}

// zero_point stays true for symmetric matrices, whose zero points are all 8: loaders take false for another layout.
// GPTQModel's key "sym" says it.
Result<Json> config(const PlanSummary& plan) {
  QZ_ASSIGN(const Scheme s, common_scheme(plan, kName));
  for (const PlannedModule& m : plan.modules)
    if (m.quantized && is_head(m))
      return error(Code::kUnsupported, "%s: '%s' cannot be quantized, loaders keep the head", kName, m.name.c_str());
  Json config = Json::object();
  config["bits"] = s.bits;
  config["group_size"] = s.group;
  config["modules_to_not_convert"] = keeps_beside_head(plan) ? kept_names(plan) : Json();
  config["quant_method"] = kName;
  if (s.symmetric) config["sym"] = true;
  config["version"] = "gemm";
  config["zero_point"] = true;
  return config;
}

Result<std::optional<StoredScheme>> stored_scheme(const Json& config, std::string_view module) {
  QZ_ASSIGN(const std::string format, string_field(config, "format", "gemm"));
  QZ_ASSIGN(std::string version, string_field(config, "version", format));
  for (char& c : version)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (version != "gemm")
    return error(Code::kUnsupported, "quantization_config: version '%.60s', expected gemm", version.c_str());
  QZ_ASSIGN(const bool head, bool_field(config, "lm_head", false));
  if (is_head_name(module) && !head) return std::optional<StoredScheme>();
  QZ_ASSIGN(const std::optional<bool> kept, listed_as_kept(config, "modules_to_not_convert", module));
  if (kept && *kept) return std::optional<StoredScheme>();
  QZ_ASSIGN(const int64_t bits, int_field(config, "bits", int64_t{4}));
  QZ_ASSIGN(const int64_t group, int_field(config, "group_size", 128));
  QZ_ASSIGN(const bool zero_point, bool_field(config, "zero_point", true));
  QZ_ASSIGN(const bool sym, bool_field(config, "sym", !zero_point));
  if (bits != 4)
    return error(Code::kUnsupported, "quantization_config: bits %lld, expected 4", static_cast<long long>(bits));
  if (group != -1 && (group < 16 || group > 1024 || group % 8 != 0))
    return error(Code::kUnsupported,
                 "quantization_config: group_size %lld, expected a multiple of 8 from 16 to 1024, or -1",
                 static_cast<long long>(group));
  StoredScheme stored;
  stored.scheme = {CodeKind::kInt, 4, static_cast<int32_t>(group), sym, DType::kNone};
  return std::optional<StoredScheme>(stored);
}

}  // namespace

Format awq_format() {
  Format f = {};
  f.id = FormatId::kAwq;
  f.name = kName;
  f.part_names = {"qweight", "qzeros", "scales"};
  f.can_store = can_store;
  f.scale_dtype = [](DType) { return DType::kF16; };
  f.layout = layout;
  f.encode = encode;
  f.decode = decode;
  f.config = config;
  f.stored_scheme = [](const Json& json, std::string_view module, int64_t, int64_t) {
    return stored_scheme(json, module);
  };
  return f;
}

}  // namespace qz
