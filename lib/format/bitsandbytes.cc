// bitsandbytes 0.50: functional.py, QuantState.as_dict(packed=True), and nn/modules.py, Linear8bitLt. Four-bit blocks
// run over the flattened matrix; the first code of a byte is its high half. With double quantization the scales
// (absmax) are 8-bit codes in blocks of 256.
#include "format/bitsandbytes.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "base/json.h"
#include "base/simd.h"
#include "format/fields.h"
#include "format/parts.h"
#include "packed/codebook.h"

namespace qz {
namespace {

constexpr const char* kName = "bitsandbytes";
constexpr size_t kOffsetDigits = 24;  // the longest that a double is written in
constexpr std::string_view kNf4State = "weight.quant_state.bitsandbytes__nf4",
                           kFp4State = "weight.quant_state.bitsandbytes__fp4";

bool is_table(const Scheme& s) { return s.code == CodeKind::kNf4 || s.code == CodeKind::kFp4; }
std::string_view state_name(CodeKind code) { return code == CodeKind::kNf4 ? kNf4State : kFp4State; }

Status can_store(const Scheme& s, int64_t rows, int64_t cols, bool g_idx) {
  QZ_TRY(check_sides(rows, cols).with_prefix(kName));
  const bool blocks = is_table(s) && s.grouping == Grouping::kFlat && s.group >= 32 && s.group <= 4096 &&
                      (s.nested == 0 || s.nested == 256);
  if ((!blocks && s.code != CodeKind::kLlmInt8) || g_idx)
    return error(Code::kUnsupported, "%s: cannot store scheme %s, only nf4, fp4 and llm-int8", kName,
                 scheme_name(s).c_str());
  if (s.scale != DType::kF32 && s.scale != DType::kNone)
    return error(Code::kUnsupported, "%s: cannot store scales of type %s, only F32", kName, dtype_name(s.scale));
  return {};
}

// Python's repr of a float.
std::string float_words(double v) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, v).ptr;
  std::string words(text, end);
  if (words.find_first_of(".en") == std::string::npos) words.append(".0");
  return words;
}

// The JSON text, as Python's json.dumps separates. Its length must be known before the offset is: spaces follow it.
std::string state_text(const Scheme& s, int64_t rows, int64_t cols, float offset) {
  std::string text = "{\"quant_type\": \"";
  text += s.code == CodeKind::kNf4 ? "nf4" : "fp4";
  text += "\", \"blocksize\": ";
  text += std::to_string(s.group);
  text += ", \"dtype\": \"";
  text += torch_name(s.compute);
  text += "\", \"shape\": [";
  text += std::to_string(rows);
  text += ", ";
  text += std::to_string(cols);
  text += "]";
  if (s.nested == 0) return text.append("}");
  text += ", \"nested_blocksize\": ";
  text += std::to_string(s.nested);
  text += ", \"nested_dtype\": \"float32\", \"nested_offset\": ";
  const std::string digits = float_words(static_cast<double>(offset));
  text += digits;
  text += "}";
  text.append(kOffsetDigits - digits.size(), ' ');
  return text;
}

std::vector<PartSpec> layout(const Scheme& s, int64_t rows, int64_t cols, bool) {
  if (s.code == CodeKind::kLlmInt8)
    return {{"SCB", DType::kF32, {rows}}, {"weight", DType::kI8, {rows, cols}}, {"weight_format", DType::kU8, {}}};
  const int64_t blocks = s.scale_count(rows, cols);
  std::vector<PartSpec> parts = {
      {"weight", DType::kU8, {(rows * cols + 1) / 2, 1}},
      {"weight.absmax", s.nested ? DType::kU8 : DType::kF32, {blocks}},
      {"weight.quant_map", DType::kF32, {16}},
      {state_name(s.code), DType::kU8, {static_cast<int64_t>(state_text(s, rows, cols, 0).size())}}};
  if (s.nested == 0) return parts;
  parts.push_back({"weight.nested_absmax", DType::kF32, {(blocks + s.nested - 1) / s.nested}});
  parts.push_back({"weight.nested_quant_map", DType::kF32, {256}});
  return parts;
}

template <class T>
void fill(const std::vector<T>& values, Part* part) {
  std::memcpy(part->bytes.data(), values.data(), part->bytes.size());
}

QZ_SIMD_CLONES
void join_pairs(const uint8_t* codes, size_t bytes, uint8_t* out) {
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<uint8_t>(codes[2 * i] << 4 | codes[2 * i + 1]);
}

QZ_SIMD_CLONES
void shift_codes(const uint8_t* codes, size_t n, uint8_t* out) {
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(codes[i] - 128);
}

Parts encode_int8(const QMatrix& q, Parts parts) {
  fill(q.scales, &parts[0]);
  shift_codes(q.codes.data(), q.codes.size(), parts[1].bytes.data());
  return parts;
}

Result<Parts> encode(const QMatrix& q) {
  QZ_TRY(check_qmatrix(q));
  QZ_TRY(can_store(q.scheme, q.rows, q.cols, !q.g_idx.empty()));
  Parts parts = make_parts(layout(q.scheme, q.rows, q.cols, false));
  if (q.scheme.code == CodeKind::kLlmInt8) return encode_int8(q, std::move(parts));
  join_pairs(q.codes.data(), q.codes.size() / 2, parts[0].bytes.data());
  if (q.codes.size() % 2 > 0) parts[0].bytes.back() = static_cast<uint8_t>(q.codes.back() << 4);
  fill(codebook(q.scheme.code), &parts[2]);
  const std::string text = state_text(q.scheme, q.rows, q.cols, q.nested.offset);
  std::memcpy(parts[3].bytes.data(), text.data(), parts[3].bytes.size());
  if (q.scheme.nested == 0) {
    fill(q.scales, &parts[1]);
    return parts;
  }
  fill(q.nested.codes, &parts[1]);
  fill(q.nested.absmax, &parts[4]);
  fill(q.nested.map, &parts[5]);
  return parts;
}

// ---- reading

Result<QMatrix> decode_int8(const Parts& parts, QMatrix q) {
  QZ_ASSIGN(const Part* weight, take_part(parts, "weight", {DType::kI8}, {{q.rows, q.cols}}));
  QZ_ASSIGN(const Part* scb, take_part(parts, "SCB", {DType::kF32}, {{q.rows}}));
  if (find_part(parts, "weight_format")) {
    QZ_ASSIGN(const Part* order, take_part(parts, "weight_format", {DType::kU8}, {{}, {1}}));
    if (order->bytes[0] != 0)
      return error(Code::kUnsupported, "weight_format: %d, expected 0 (rows); others belong to one GPU generation",
                   order->bytes[0]);
  }
  q.codes = weight->bytes;
  for (uint8_t& code : q.codes) code = static_cast<uint8_t>(code + 128);
  QZ_ASSIGN(q.scales, read_scales(*scb));
  q.scheme.scale = DType::kF32;
  return q;
}

Status bad_state(const char* key, const Json& state, const std::string& expected) {
  const Json* found = find_field(state, key);
  return error(Code::kBadFile, "quant_state: key '%s' is %s, expected %s", key,
               found ? json_words(*found).c_str() : "missing", expected.c_str());
}

// What quant_state says: block size, types, double quantization.
Status read_state(const Part& part, QMatrix* q) {
  QZ_ASSIGN(const Json state,
            parse_json({reinterpret_cast<const char*>(part.bytes.data()), part.bytes.size()}, std::string(part.name)));
  if (!state.is_object()) return error(Code::kBadFile, "%s: must be an object", std::string(part.name).c_str());
  Scheme& s = q->scheme;
  const char* type = s.code == CodeKind::kNf4 ? "nf4" : "fp4";
  if (state.value("quant_type", Json()) != type) return bad_state("quant_type", state, type);
  if (state.value("shape", Json()) != Json({q->rows, q->cols}))
    return bad_state("shape", state, Json({q->rows, q->cols}).dump());
  const Json* dtype = find_field(state, "dtype");
  s.compute = dtype && dtype->is_string() ? torch_dtype(dtype->get<std::string>()) : DType::kNone;
  if (s.compute == DType::kNone) return bad_state("dtype", state, "float32, float16 or bfloat16");
  const Json* block = find_field(state, "blocksize");
  if (!block || !block->is_number_unsigned() || *block < 32 || *block > 4096 ||
      (block->get<uint32_t>() & (block->get<uint32_t>() - 1)) != 0)
    return bad_state("blocksize", state, "a power of two from 32 to 4096");
  s.group = block->get<int32_t>();
  s.nested = 0;
  const Json* nested = find_field(state, "nested_blocksize");
  if (!nested) return {};
  if (*nested != 256) return bad_state("nested_blocksize", state, "256");
  if (state.value("nested_dtype", Json()) != "float32") return bad_state("nested_dtype", state, "float32");
  const Json* offset = find_field(state, "nested_offset");
  if (!offset || !offset->is_number() || !std::isfinite(static_cast<float>(offset->get<double>())))
    return bad_state("nested_offset", state, "a number");
  s.nested = 256;
  q->nested.offset = static_cast<float>(offset->get<double>());
  return {};
}

// The bytes of the codes; bnb_4bit_quant_storage may have given them another type.
Result<const Part*> take_codes(const Parts& parts, uint64_t bytes) {
  const Part* part = find_part(parts, "weight");
  if (!part)
    return error(Code::kBadFile, "weight: missing, expected %llu bytes", static_cast<unsigned long long>(bytes));
  QZ_ASSIGN(
      const Part* checked,
      take_part(parts, "weight", {DType::kU8, DType::kI8, DType::kF16, DType::kBF16, DType::kF32}, {part->shape}));
  if (checked->bytes.size() != bytes)
    return error(Code::kBadFile, "weight: %zu bytes of codes, expected %llu", checked->bytes.size(),
                 static_cast<unsigned long long>(bytes));
  return checked;
}

Status decode_nested(const Parts& parts, const std::vector<PartSpec>& specs, QMatrix* q) {
  QZ_ASSIGN(const Part* codes, take_part(parts, "weight.absmax", {DType::kU8}, {specs[1].shape}));
  QZ_ASSIGN(const Part* absmax, take_part(parts, "weight.nested_absmax", {DType::kF32}, {specs[4].shape}));
  QZ_ASSIGN(const Part* map, take_part(parts, "weight.nested_quant_map", {DType::kF32}, {specs[5].shape}));
  q->nested.codes = codes->bytes;
  QZ_ASSIGN(q->nested.absmax, read_scales(*absmax));
  QZ_ASSIGN(q->nested.map, read_scales(*map));
  q->scales = nested_scales(q->nested, q->scheme.nested);
  for (size_t i = 0; i < q->scales.size(); ++i)
    if (!std::isfinite(q->scales[i]))
      return error(Code::kBadFile, "weight.nested_absmax: scale %zu is not a finite number", i);
  return {};
}

Result<QMatrix> decode(const Parts& parts, const StoredScheme& stored, int64_t rows, int64_t cols) {
  QZ_TRY(check_sides(rows, cols));
  QMatrix q;
  q.rows = rows;
  q.cols = cols;
  q.scheme = stored.scheme;
  Scheme& s = q.scheme;
  if (s.code == CodeKind::kLlmInt8) return decode_int8(parts, std::move(q));
  if (!is_table(s) || s.grouping != Grouping::kFlat)
    return error(Code::kInvalidArgument, "scheme %s is none of %s's", scheme_name(s).c_str(), kName);
  const Part* state = find_part(parts, state_name(s.code));
  if (!state) return error(Code::kBadFile, "%s: missing", std::string(state_name(s.code)).c_str());
  QZ_TRY(read_state(*state, &q));
  const std::vector<PartSpec> specs = layout(s, rows, cols, false);
  QZ_ASSIGN(const Part* weight, take_codes(parts, static_cast<uint64_t>(rows * cols + 1) / 2));
  QZ_ASSIGN(const Part* map, take_part(parts, "weight.quant_map", {DType::kF32}, {{16}}));
  QZ_ASSIGN(const std::vector<float> table, read_scales(*map));
  if (table != codebook(s.code)) return error(Code::kUnsupported, "weight.quant_map: not bitsandbytes' table");
  if (s.nested) {
    QZ_TRY(decode_nested(parts, specs, &q));
  } else {
    QZ_ASSIGN(const Part* absmax, take_part(parts, "weight.absmax", {DType::kF32}, {specs[1].shape}));
    QZ_ASSIGN(q.scales, read_scales(*absmax));
  }
  q.codes.resize(static_cast<size_t>(rows * cols));
  for (size_t i = 0; i < q.codes.size(); ++i)
    q.codes[i] = i % 2 ? weight->bytes[i / 2] & 15 : static_cast<uint8_t>(weight->bytes[i / 2] >> 4);
  s.scale = DType::kF32;
  return q;
}

}  // namespace

Format bitsandbytes_format() {
  Format f = {};
  f.id = FormatId::kBitsandbytes;
  f.name = kName;
  f.part_names = {
      "weight",  "weight.absmax", "weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map", kNf4State,
      kFp4State, "SCB",           "weight_format"};
  f.can_store = can_store;
  f.scale_dtype = [](DType) { return DType::kF32; };
  f.layout = layout;
  f.encode = encode;
  f.decode = decode;
  f.config = bitsandbytes_config;
  f.stored_scheme = [](const Json& config, std::string_view module, int64_t, int64_t) {
    return bitsandbytes_stored_scheme(config, module);
  };
  return f;
}

}  // namespace qz
