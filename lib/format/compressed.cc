#include "format/compressed.h"

#include <cassert>
#include <cstring>

#include "format/bits.h"
#include "format/parts.h"

namespace qz {
namespace {

constexpr const char* kName = "compressed-tensors";

// 8-bit weights whose layer also takes 8-bit inputs, and FP8, are stored as they are; the others are packed.
bool is_packed(const Scheme& s) {
  return s.code == CodeKind::kInt && (s.bits != 8 || s.activations == Activations::kNone);
}

Status can_store_fp8(const Scheme& s, int64_t rows, int64_t cols) {
  QZ_TRY(check_sides(rows, cols).with_prefix(kName));
  QZ_TRY(check_consistent(s).with_prefix(kName));
  const bool fits = s.grouping == Grouping::kTile || (s.grouping == Grouping::kRow && s.group < 0);
  if (!fits || s.nested || s.activations == Activations::kOutliers)
    return error(Code::kUnsupported, "%s: cannot store scheme %s, FP8 has scales of rows, tensors or tiles", kName,
                 scheme_name(s).c_str());
  return {};
}

Status can_store(const Scheme& scheme, int64_t rows, int64_t cols, bool g_idx) {
  if (scheme.code == CodeKind::kFp8) return can_store_fp8(scheme, rows, cols);
  Scheme weights = scheme;
  weights.activations = Activations::kNone;
  QZ_TRY(check_storable(kName, weights, {2, 3, 4, 8}, rows, cols));
  if (scheme.activations == Activations::kOutliers)
    return error(Code::kUnsupported, "%s: cannot store outlier columns of activations", kName);
  if (g_idx)  // 0.19 refuses "actorder": "group" and ignores weight_g_idx: the model would load and be wrong
    return error(Code::kUnsupported,
                 "%s: cannot store g_idx, releases since 0.19 do not read it; order static needs none", kName);
  return {};
}

DType scale_dtype(DType model_dtype) { return is_float(model_dtype) ? model_dtype : DType::kBF16; }

std::vector<int64_t> scale_shape(const Scheme& s, int64_t rows, int64_t cols) {
  if (s.group == kGroupTensor) return {1};
  return {s.grouping == Grouping::kTile ? (rows + s.group - 1) / s.group : rows, s.groups(cols)};
}

std::vector<PartSpec> plain_layout(const Scheme& s, int64_t rows, int64_t cols) {
  const DType code = s.code == CodeKind::kFp8 ? DType::kF8E4M3 : DType::kI8;
  std::vector<PartSpec> parts = {{"weight", code, {rows, cols}}, {"weight_scale", s.scale, scale_shape(s, rows, cols)}};
  if (!s.symmetric) parts.push_back({"weight_zero_point", DType::kI8, scale_shape(s, rows, cols)});
  if (s.activations == Activations::kTensor) parts.push_back({"input_scale", s.scale, {1}});
  return parts;
}

std::vector<PartSpec> packed_layout(const Scheme& s, int64_t rows, int64_t cols) {
  const bool tensor = s.group == kGroupTensor;
  const std::vector<int64_t> per_group = scale_shape(s, rows, cols);
  std::vector<PartSpec> parts = {{"weight_packed", DType::kI32, {rows, packed_words(Packing::kStream, cols, s.bits)}},
                                 {"weight_scale", s.scale, per_group},
                                 {"weight_shape", DType::kI64, {2}}};
  // Zero points of groups and rows are packed down the rows; that of a tensor is stored as it is, signed.
  if (!s.symmetric && tensor) parts.push_back({"weight_zero_point", DType::kI8, {1}});
  if (!s.symmetric && !tensor)
    parts.push_back({"weight_zero_point", DType::kI32, {packed_words(Packing::kStream, rows, s.bits), s.groups(cols)}});
  if (s.activations == Activations::kTensor) parts.push_back({"input_scale", s.scale, {1}});
  return parts;
}

std::vector<PartSpec> layout(const Scheme& s, int64_t rows, int64_t cols, bool) {
  assert(is_float(s.scale));
  return is_packed(s) ? packed_layout(s, rows, cols) : plain_layout(s, rows, cols);
}

// FP8 codes are the bytes themselves, integers become signed.
Result<Parts> encode_plain(const QMatrix& q, Parts parts) {
  const int mid = q.scheme.code == CodeKind::kFp8 ? 0 : q.scheme.mid_code();
  const auto shifted = [&](const std::vector<uint8_t>& codes, Part* part) {
    for (size_t i = 0; i < codes.size(); ++i) part->bytes[i] = static_cast<uint8_t>(codes[i] - mid);
  };
  shifted(q.codes, &parts[0]);
  QZ_TRY(write_scales(q.scales, &parts[1]));
  if (!q.scheme.symmetric) shifted(q.zeros, &parts[2]);
  return parts;
}

Result<Parts> encode_packed(const QMatrix& q, Parts parts) {
  const Scheme& s = q.scheme;
  Part &packed = parts[0], &scale = parts[1], &shape = parts[2];
  const int64_t bytes = packed.shape[1] * 4;
  for (int64_t r = 0; r < q.rows; ++r)
    pack(Packing::kStream, q.codes.data() + r * q.cols, q.cols, s.bits, packed.bytes.data() + r * bytes);
  QZ_TRY(write_scales(q.scales, &scale));
  const int64_t sides[2] = {q.rows, q.cols};
  std::memcpy(shape.bytes.data(), sides, sizeof sides);
  if (s.symmetric) return parts;
  if (s.group == kGroupTensor)
    parts[3].bytes[0] = static_cast<uint8_t>(q.zeros[0] - s.mid_code());
  else
    pack_down(Packing::kStream, transposed(q.zeros, q.rows, q.groups()).data(), q.groups(), q.rows, s.bits,
              parts[3].bytes.data());
  return parts;
}

Result<Parts> encode(const QMatrix& q) {
  QZ_TRY(check_qmatrix(q));
  const Scheme& s = q.scheme;
  QZ_TRY(can_store(s, q.rows, q.cols, !natural_groups(q.g_idx, q.cols, s)));
  Parts empty = make_parts(layout(s, q.rows, q.cols, false));
  QZ_ASSIGN(Parts parts, is_packed(s) ? encode_packed(q, std::move(empty)) : encode_plain(q, std::move(empty)));
  if (s.activations == Activations::kTensor) QZ_TRY(write_scales({q.input_scale}, &parts.back()));
  return parts;
}

// How n codes lie in `words` words: the two layouts differ in length almost always, else the version decides.
Packing packing_for(const StoredScheme& stored, int64_t n, int64_t words) {
  const int64_t stream = packed_words(Packing::kStream, n, stored.scheme.bits);
  const int64_t padded = packed_words(Packing::kPadded, n, stored.scheme.bits);
  if (stream == padded) return stored.dense ? Packing::kStream : Packing::kPadded;
  return words == padded ? Packing::kPadded : Packing::kStream;
}

Status check_shape(const Parts& parts, int64_t rows, int64_t cols) {
  QZ_ASSIGN(const Part* part, take_part(parts, "weight_shape", {DType::kI64, DType::kI32}, {{2}}));
  int64_t sides[2];
  if (part->dtype == DType::kI64) {
    std::memcpy(sides, part->bytes.data(), 16);
  } else {
    int32_t narrow[2];
    std::memcpy(narrow, part->bytes.data(), 8);
    sides[0] = narrow[0], sides[1] = narrow[1];
  }
  if (sides[0] != rows || sides[1] != cols)
    return error(Code::kBadFile, "weight_shape: [%lld, %lld], expected [%lld, %lld]", static_cast<long long>(sides[0]),
                 static_cast<long long>(sides[1]), static_cast<long long>(rows), static_cast<long long>(cols));
  return {};
}

Result<std::vector<uint8_t>> decode_zeros(const Parts& parts, const StoredScheme& stored, int64_t rows,
                                          int64_t groups) {
  const Scheme& s = stored.scheme;
  if (s.group == kGroupTensor) {
    QZ_ASSIGN(const Part* part, take_part(parts, "weight_zero_point", {DType::kI8}, {{1}, {}, {1, 1}}));
    const int zero = static_cast<int8_t>(part->bytes[0]) + s.mid_code();
    if (zero < 0 || zero > s.max_code())
      return error(Code::kBadFile, "weight_zero_point: %d, expected %d to %d", zero - s.mid_code(), -s.mid_code(),
                   s.max_code() - s.mid_code());
    return std::vector<uint8_t>{static_cast<uint8_t>(zero)};
  }
  const int64_t stream = packed_words(Packing::kStream, rows, s.bits),
                padded = packed_words(Packing::kPadded, rows, s.bits);
  QZ_ASSIGN(const Part* part,
            take_part(parts, "weight_zero_point", {DType::kI32}, {{stream, groups}, {padded, groups}}));
  std::vector<uint8_t> zeros(static_cast<size_t>(rows * groups));
  unpack_down(packing_for(stored, rows, part->shape[0]), part->bytes.data(), groups, rows, s.bits, zeros.data());
  return transposed(zeros, groups, rows);
}

// weight_g_idx as 0.12.2 wrote it; -1 everywhere is its "not set".
Result<std::vector<int32_t>> decode_g_idx(const Parts& parts, int64_t cols, const Scheme& scheme) {
  QZ_ASSIGN(const Part* part, take_part(parts, "weight_g_idx", {DType::kI32}, {{cols}}));
  const std::vector<uint8_t> unset(part->bytes.size(), 0xFF);
  if (part->bytes == unset) return std::vector<int32_t>();
  return read_g_idx(*part, cols, scheme);
}

// Signed integers or FP8 numbers, one byte each.
Result<QMatrix> decode_plain(const Parts& parts, QMatrix q) {
  const Scheme& s = q.scheme;
  const bool fp8 = s.code == CodeKind::kFp8;
  const int mid = fp8 ? 0 : s.mid_code();
  std::vector<std::vector<int64_t>> shapes = {scale_shape(s, q.rows, q.cols)};
  if (s.group == kGroupTensor) shapes = {{1}, {}, {1, 1}};
  if (s.group == kGroupRow) shapes = {{q.rows, 1}, {q.rows}};
  QZ_ASSIGN(const Part* weight, take_part(parts, "weight", {fp8 ? DType::kF8E4M3 : DType::kI8}, {{q.rows, q.cols}}));
  QZ_ASSIGN(const Part* scale, take_part(parts, "weight_scale", {DType::kF16, DType::kBF16, DType::kF32}, shapes));
  const auto shifted = [&](const Part& part, std::vector<uint8_t>* codes) {
    *codes = part.bytes;
    for (uint8_t& code : *codes) code = static_cast<uint8_t>(code + mid);
  };
  shifted(*weight, &q.codes);
  for (size_t i = 0; i < q.codes.size(); ++i)
    if (fp8 ? (q.codes[i] & 127) == 127 : q.codes[i] > s.max_code())
      return error(Code::kBadFile, "weight: element %zu is not a number of %d bits", i, s.bits);
  if (!s.symmetric) {
    QZ_ASSIGN(const Part* zero, take_part(parts, "weight_zero_point", {DType::kI8}, shapes));
    shifted(*zero, &q.zeros);
  }
  QZ_ASSIGN(q.scales, read_scales(*scale));
  q.scheme.scale = scale->dtype;
  return q;
}

Result<QMatrix> decode_packed(const Parts& parts, const StoredScheme& stored, QMatrix q) {
  const int64_t rows = q.rows, cols = q.cols;
  const Scheme& s = q.scheme;
  QZ_TRY(check_shape(parts, rows, cols));
  const int64_t stream = packed_words(Packing::kStream, cols, s.bits),
                padded = packed_words(Packing::kPadded, cols, s.bits);
  QZ_ASSIGN(const Part* packed, take_part(parts, "weight_packed", {DType::kI32}, {{rows, stream}, {rows, padded}}));
  std::vector<std::vector<int64_t>> shapes = {{rows, q.groups()}};
  if (s.group == kGroupTensor) shapes = {{1}, {}, {1, 1}};
  QZ_ASSIGN(const Part* scale, take_part(parts, "weight_scale", {DType::kF16, DType::kBF16, DType::kF32}, shapes));
  if (stored.g_idx || find_part(parts, "weight_g_idx")) {
    QZ_ASSIGN(q.g_idx, decode_g_idx(parts, cols, s));
  }
  if (!s.symmetric) {
    QZ_ASSIGN(q.zeros, decode_zeros(parts, stored, rows, q.groups()));
  } else if (find_part(parts, "weight_zero_point")) {
    return error(Code::kBadFile, "weight_zero_point: found, although the configuration says symmetric");
  }
  q.codes.resize(static_cast<size_t>(rows * cols));
  const Packing packing = packing_for(stored, cols, packed->shape[1]);
  for (int64_t r = 0; r < rows; ++r)
    unpack(packing, packed->bytes.data() + r * packed->shape[1] * 4, cols, s.bits, q.codes.data() + r * cols);
  QZ_ASSIGN(q.scales, read_scales(*scale));
  q.scheme.scale = scale->dtype;
  return q;
}

Result<QMatrix> decode(const Parts& parts, const StoredScheme& stored, int64_t rows, int64_t cols) {
  QMatrix q;
  q.rows = rows;
  q.cols = cols;
  q.scheme = stored.scheme;
  Scheme grid = stored.scheme;
  if (grid.code == CodeKind::kFp8) {
    QZ_TRY(can_store_fp8(grid, rows, cols));
  } else {
    QZ_TRY(check_readable(grid, rows, cols));
  }
  // Which of the two layouts a file has is not always what it says: some write 8-bit weights plain whatever the inputs.
  const bool plain = q.scheme.code == CodeKind::kFp8 ||
                     (q.scheme.bits == 8 && !find_part(parts, "weight_packed") && find_part(parts, "weight"));
  QZ_ASSIGN(q, plain ? decode_plain(parts, std::move(q)) : decode_packed(parts, stored, std::move(q)));
  if (q.scheme.activations != Activations::kTensor) return q;
  QZ_ASSIGN(const Part* input,
            take_part(parts, "input_scale", {DType::kF16, DType::kBF16, DType::kF32}, {{1}, {}, {1, 1}}));
  QZ_ASSIGN(const std::vector<float> scale, read_scales(*input));
  q.input_scale = scale[0];
  return q;
}

}  // namespace

Format compressed_format() {
  Format f = {};
  f.id = FormatId::kCompressed;
  f.name = kName;
  f.part_names = {"weight_packed", "weight_scale", "weight_shape", "weight_zero_point",
                  "weight_g_idx",  "weight",       "input_scale",  "input_zero_point"};
  f.can_store = can_store;
  f.scale_dtype = scale_dtype;
  f.layout = layout;
  f.encode = encode;
  f.decode = decode;
  f.config = compressed_config;
  f.stored_scheme = [](const Json& config, std::string_view module, int64_t, int64_t) {
    return compressed_stored_scheme(config, module);
  };
  return f;
}

}  // namespace qz
