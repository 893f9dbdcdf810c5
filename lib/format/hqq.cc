// HQQ 0.2.8, hqq/core/quantize.py (HQQLinear.state_dict with encoded_state_dict) and hqq/core/bitpack.py. The matrix is
// read row by row as lines of `group` (axis 1), or of rows * cols / group (axis 0) elements, and cut into equal numbers
// of lines that share bytes, the first in the high bits: reading row by row is all that packing has to know.
#include "format/hqq.h"

#include <algorithm>
#include <cstring>

#include "base/json.h"
#include "base/simd.h"
#include "format/bitsandbytes.h"
#include "format/fields.h"
#include "format/kept.h"
#include "format/parts.h"

namespace qz {
namespace {

constexpr const char* kName = "hqq";

// How codes share words, by width.
struct Packing {
  int32_t bits;
  const char* name;
  DType word;
  int32_t pieces, first_shift;  // piece p is shifted by first_shift - bits * p
};
constexpr Packing kPackings[] = {{8, "8bit_u8", DType::kU8, 1, 0},
                                 {4, "4bit_u8", DType::kU8, 2, 4},
                                 {3, "3bit_32", DType::kI32, 10, 27},
                                 {2, "2bit_u8", DType::kU8, 4, 6},
                                 {1, "1bit_u8", DType::kU8, 8, 7}};

const Packing* find_packing(int32_t bits) {
  for (const Packing& p : kPackings)
    if (p.bits == bits) return &p;
  return nullptr;
}

int64_t lines(const Scheme& s, int64_t rows, int64_t cols) {
  return s.grouping == Grouping::kStrided ? s.group : rows * cols / s.group;
}

int64_t packed_lines(const Packing& p, int64_t n) { return (n + p.pieces - 1) / p.pieces; }

Status can_store(const Scheme& s, int64_t rows, int64_t cols, bool g_idx) {
  QZ_TRY(check_sides(rows, cols).with_prefix(kName));
  if (s.code != CodeKind::kInt || !s.float_zero || s.nested || s.grouping == Grouping::kTile || s.group < 1 || g_idx ||
      s.activations != Activations::kNone)
    return error(Code::kUnsupported,
                 "%s: cannot store scheme %s, only integers with float zero points in groups, as w4g64f", kName,
                 scheme_name(s).c_str());
  const Packing* packing = find_packing(s.bits);
  if (!packing) return error(Code::kUnsupported, "%s: cannot store %d bits, only 1, 2, 3, 4 and 8", kName, s.bits);
  if (rows * cols % s.group != 0 || (s.grouping == Grouping::kRow && cols % s.group != 0))
    return error(Code::kUnsupported, "%s: groups of %d do not divide %lld columns", kName, s.group,
                 static_cast<long long>(cols));
  if (s.bits != 3 && lines(s, rows, cols) % packing->pieces != 0)
    return error(Code::kUnsupported, "%s: %lld groups are no multiple of %d, which share bytes", kName,
                 static_cast<long long>(lines(s, rows, cols)), packing->pieces);
  return {};
}

// The settings that are one number or one word.
struct Setting {
  std::string_view name;
  DType dtype;
  bool word;  // text as bytes, else one value
  std::string (*text)(const Scheme&);
  int32_t (*value)(const Scheme&);
};
std::string torch_words(DType dtype) { return std::string("torch.") + torch_name(dtype); }
constexpr auto kOff = [](const Scheme&) { return 0; };
constexpr auto kOn = [](const Scheme&) { return 1; };
constexpr auto kNoText = [](const Scheme&) { return std::string(); };
const Setting kSettings[] = {
    {"nbits", DType::kI32, false, kNoText, [](const Scheme& s) { return s.bits; }},
    {"group_size", DType::kI32, false, kNoText, [](const Scheme& s) { return s.group; }},
    {"axis", DType::kI32, false, kNoText, [](const Scheme& s) { return s.grouping == Grouping::kStrided ? 0 : 1; }},
    {"packing", DType::kU8, true, [](const Scheme& s) { return std::string(find_packing(s.bits)->name); }, kOff},
    {"unpack_view_dtype", DType::kU8, true,
     [](const Scheme& s) { return std::string(s.bits == 3 ? "torch.int32" : "torch.uint8"); }, kOff},
    {"compute_dtype", DType::kU8, true, [](const Scheme& s) { return torch_words(s.scale); }, kOff},
    {"channel_wise", DType::kU8, false, kNoText, kOn},
    {"encoded_state_dict", DType::kU8, false, kNoText, kOn},
    {"offload_meta", DType::kU8, false, kNoText, kOff},
    {"optimize", DType::kU8, false, kNoText, kOn},
    {"quant_scale", DType::kU8, false, kNoText, kOff},
    {"quant_zero", DType::kU8, false, kNoText, kOff},
    {"round_zero", DType::kU8, false, kNoText, [](const Scheme& s) { return s.bits == 4 ? 1 : 0; }},
    {"stores_quant_config", DType::kU8, false, kNoText, kOn},
    {"view_as_float", DType::kU8, false, kNoText, kOff},
};

std::vector<PartSpec> layout(const Scheme& s, int64_t rows, int64_t cols, bool) {
  const Packing& packing = *find_packing(s.bits);
  const int64_t n = lines(s, rows, cols), width = rows * cols / n, groups = s.scale_count(rows, cols);
  const std::vector<int64_t> per_group =
      s.grouping == Grouping::kStrided ? std::vector<int64_t>{1, groups} : std::vector<int64_t>{groups, 1};
  std::vector<PartSpec> parts = {{"W_q", packing.word, {packed_lines(packing, n), width}},
                                 {"scale", s.scale, per_group},
                                 {"zero", s.scale, per_group},
                                 {"shape", DType::kI64, {2}}};
  for (const Setting& setting : kSettings) {
    std::vector<int64_t> shape;
    if (setting.word) shape.push_back(static_cast<int64_t>(setting.text(s).size()));
    parts.push_back({setting.name, setting.dtype, shape});
  }
  return parts;
}

QZ_SIMD_CLONES
void add_shifted(const uint8_t* codes, size_t n, int32_t shift, uint8_t* out) {
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(out[i] | codes[i] << shift);
}

void pack_codes(const Packing& p, const std::vector<uint8_t>& codes, Part* part) {
  const size_t size = dtype_bits(p.word) / 8, piece = part->bytes.size() / size;
  for (int32_t k = 0; size == 1 && k < p.pieces; ++k) {  // words are zero at first
    const size_t at = static_cast<size_t>(k) * piece;
    if (at < codes.size())
      add_shifted(codes.data() + at, std::min(piece, codes.size() - at), p.first_shift - p.bits * k,
                  part->bytes.data());
  }
  if (size == 1) return;
  for (size_t i = 0; i < piece; ++i) {
    uint32_t word = 0;
    for (int32_t k = 0; k < p.pieces; ++k)
      if (const size_t at = static_cast<size_t>(k) * piece + i; at < codes.size())
        word |= static_cast<uint32_t>(codes[at]) << (p.first_shift - p.bits * k);
    std::memcpy(part->bytes.data() + i * size, &word, size);
  }
}

void unpack_codes(const Packing& p, const Part& part, std::vector<uint8_t>* codes) {
  const size_t size = dtype_bits(p.word) / 8, piece = part.bytes.size() / size;
  for (size_t i = 0; i < piece; ++i) {
    uint32_t word = 0;
    std::memcpy(&word, part.bytes.data() + i * size, size);
    for (int32_t k = 0; k < p.pieces; ++k)
      if (const size_t at = static_cast<size_t>(k) * piece + i; at < codes->size())
        (*codes)[at] = static_cast<uint8_t>(word >> (p.first_shift - p.bits * k) & ((1u << p.bits) - 1));
  }
}

Result<Parts> encode(const QMatrix& q) {
  QZ_TRY(check_qmatrix(q));
  const Scheme& s = q.scheme;
  QZ_TRY(can_store(s, q.rows, q.cols, !q.g_idx.empty()));
  Parts parts = make_parts(layout(s, q.rows, q.cols, false));
  pack_codes(*find_packing(s.bits), q.codes, &parts[0]);
  QZ_TRY(write_scales(q.scales, &parts[1]));
  QZ_TRY(write_scales(q.float_zeros, &parts[2]));
  const int64_t sides[2] = {q.rows, q.cols};
  std::memcpy(parts[3].bytes.data(), sides, sizeof sides);
  size_t i = 4;
  for (const Setting& setting : kSettings) {
    Part& part = parts[i++];
    const std::string text = setting.text(s);
    const int32_t value = setting.value(s);
    std::memcpy(part.bytes.data(), setting.word ? static_cast<const void*>(text.data()) : &value, part.bytes.size());
  }
  return parts;
}

// ---- reading

// A number that is stored as a tensor of its own; `fallback` when it is absent.
Result<int64_t> read_number(const Parts& parts, std::string_view name, int64_t fallback) {
  if (!find_part(parts, name)) return fallback;
  QZ_ASSIGN(const Part* part, take_part(parts, name, {DType::kI32, DType::kI64, DType::kU8, DType::kBool}, {{}, {1}}));
  if (part->dtype == DType::kU8 || part->dtype == DType::kBool) return int64_t{part->bytes[0]};
  int64_t v = 0;
  if (part->dtype == DType::kI32) {
    int32_t narrow;
    std::memcpy(&narrow, part->bytes.data(), 4);
    v = narrow;
  } else {
    std::memcpy(&v, part->bytes.data(), 8);
  }
  return v;
}

// The tensors of the layer win over the configuration.
Result<Scheme> read_scheme(const Parts& parts, Scheme s, int64_t rows, int64_t cols) {
  QZ_ASSIGN(const int64_t bits, read_number(parts, "nbits", s.bits));
  QZ_ASSIGN(const int64_t group, read_number(parts, "group_size", s.group));
  QZ_ASSIGN(const int64_t axis, read_number(parts, "axis", s.grouping == Grouping::kStrided ? 0 : 1));
  for (const char* off : {"quant_scale", "quant_zero", "view_as_float"}) {
    QZ_ASSIGN(const int64_t on, read_number(parts, off, 0));
    if (on != 0) return error(Code::kUnsupported, "%s: on, expected off", off);
  }
  if (bits < 1 || bits > 8 || !find_packing(static_cast<int32_t>(bits)))
    return error(Code::kUnsupported, "nbits: %lld, expected 1, 2, 3, 4 or 8", static_cast<long long>(bits));
  if (group < 1 || group > rows * cols || rows * cols % group != 0 || group > (1 << 24))
    return error(Code::kBadFile, "group_size: %lld, expected a divisor of %lld x %lld", static_cast<long long>(group),
                 static_cast<long long>(rows), static_cast<long long>(cols));
  if (axis != 0 && axis != 1) return error(Code::kBadFile, "axis: %lld, expected 0 or 1", static_cast<long long>(axis));
  s.bits = static_cast<int32_t>(bits);
  s.group = static_cast<int32_t>(group);
  s.grouping = axis == 0 ? Grouping::kStrided : cols % group == 0 ? Grouping::kRow : Grouping::kFlat;
  s.symmetric = false;
  s.float_zero = true;
  return s;
}

Result<QMatrix> decode(const Parts& parts, const StoredScheme& stored, int64_t rows, int64_t cols) {
  QZ_TRY(check_sides(rows, cols));
  QMatrix q;
  q.rows = rows;
  q.cols = cols;
  QZ_ASSIGN(q.scheme, read_scheme(parts, stored.scheme, rows, cols));
  Scheme& s = q.scheme;
  s.scale = DType::kF32;  // any type will do for the shapes
  const std::vector<PartSpec> specs = layout(s, rows, cols, false);
  if (find_part(parts, "shape")) {
    QZ_ASSIGN(const Part* shape, take_part(parts, "shape", {DType::kI64}, {{2}}));
    int64_t sides[2];
    std::memcpy(sides, shape->bytes.data(), sizeof sides);
    if (sides[0] != rows || sides[1] != cols)
      return error(Code::kBadFile, "shape: [%lld, %lld], expected [%lld, %lld]", static_cast<long long>(sides[0]),
                   static_cast<long long>(sides[1]), static_cast<long long>(rows), static_cast<long long>(cols));
  }
  const std::vector<DType> floats = {DType::kF16, DType::kBF16, DType::kF32};
  QZ_ASSIGN(const Part* codes, take_part(parts, "W_q", {specs[0].dtype}, {specs[0].shape}));
  QZ_ASSIGN(const Part* scale, take_part(parts, "scale", floats, {specs[1].shape}));
  QZ_ASSIGN(const Part* zero, take_part(parts, "zero", {scale->dtype}, {specs[2].shape}));
  q.codes.resize(static_cast<size_t>(rows * cols));
  unpack_codes(*find_packing(s.bits), *codes, &q.codes);
  QZ_ASSIGN(q.scales, read_scales(*scale));
  QZ_ASSIGN(q.float_zeros, read_scales(*zero));
  s.scale = scale->dtype;
  return q;
}

// ---- quantization_config: transformers' HqqConfig

Result<Json> config(const PlanSummary& plan) {
  QZ_ASSIGN(const Scheme s, common_scheme(plan, kName));
  const Json weights = {{"axis", s.grouping == Grouping::kStrided ? 0 : 1},
                        {"channel_wise", true},
                        {"group_size", s.group},
                        {"nbits", s.bits},
                        {"optimize", true},
                        {"round_zero", s.bits == 4},
                        {"view_as_float", false}};
  Json config = Json::object();
  config["quant_config"] = {{"offload_meta", false},
                            {"scale_quant_params", nullptr},
                            {"weight_quant_params", weights},
                            {"zero_quant_params", nullptr}};
  config["quant_method"] = kName;
  config["skip_modules"] = kept_names(plan);
  return config;
}

// quant_config is one set of settings, or one for each kind of layer under the end of its name ("self_attn.q_proj").
Result<const Json*> find_settings(const Json& config, std::string_view module) {
  const Json* settings = find_field(config, "quant_config");
  if (!settings || !settings->is_object())
    return error(Code::kBadFile, "quantization_config: key 'quant_config' is %s, expected an object",
                 settings ? json_words(*settings).c_str() : "missing");
  if (settings->contains("weight_quant_params")) return settings;
  for (const auto& [tag, value] : settings->items())
    if (module.size() > tag.size() && module.substr(module.size() - tag.size()) == tag &&
        module[module.size() - tag.size() - 1] == '.')
      return &value;
  return nullptr;
}

Result<std::optional<StoredScheme>> stored_scheme(const Json& config, std::string_view module) {
  QZ_ASSIGN(const std::optional<bool> kept, listed_as_kept(config, "skip_modules", module));
  if (kept ? *kept : is_head_name(module)) return std::optional<StoredScheme>();
  QZ_ASSIGN(const Json* settings, find_settings(config, module));
  if (!settings) return std::optional<StoredScheme>();
  const Json* weights = settings->is_object() ? find_field(*settings, "weight_quant_params") : nullptr;
  if (!weights || !weights->is_object())
    return error(Code::kBadFile, "quantization_config: key 'weight_quant_params' is %s, expected an object",
                 weights ? json_words(*weights).c_str() : "missing");
  QZ_ASSIGN(const int64_t bits, int_field(*weights, "nbits", 4));
  QZ_ASSIGN(const int64_t group, int_field(*weights, "group_size", 64));
  QZ_ASSIGN(const int64_t axis, int_field(*weights, "axis", 1));
  if (bits < 1 || bits > 8 || !find_packing(static_cast<int32_t>(bits)))
    return error(Code::kUnsupported, "quantization_config: nbits %lld, expected 1, 2, 3, 4 or 8",
                 static_cast<long long>(bits));
  if (group < 8 || group > 4096)
    return error(Code::kUnsupported, "quantization_config: group_size %lld, expected 8 to 4096",
                 static_cast<long long>(group));
  if (axis != 0 && axis != 1)
    return error(Code::kBadFile, "quantization_config: axis %lld, expected 0 or 1", static_cast<long long>(axis));
  StoredScheme stored;
  stored.scheme = {CodeKind::kInt, static_cast<int32_t>(bits), static_cast<int32_t>(group), false, DType::kNone};
  stored.scheme.float_zero = true;
  if (axis == 0) stored.scheme.grouping = Grouping::kStrided;
  return std::optional<StoredScheme>(stored);
}

}  // namespace

Format hqq_format() {
  Format f = {};
  f.id = FormatId::kHqq;
  f.name = kName;
  f.part_names = {"W_q", "scale", "zero", "shape"};
  for (const Setting& setting : kSettings) f.part_names.push_back(setting.name);
  f.can_store = can_store;
  f.scale_dtype = [](DType model_dtype) { return is_float(model_dtype) ? model_dtype : DType::kF16; };
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
