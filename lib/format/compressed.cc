#include "format/compressed.h"

#include <cassert>
#include <cstring>

#include "format/bits.h"
#include "format/parts.h"

namespace qz {
namespace {

constexpr const char* kName = "compressed-tensors";

Status can_store(const Scheme& scheme, int64_t rows, int64_t cols, bool g_idx) {
  QZ_TRY(check_storable(kName, scheme, {2, 3, 4, 8}, rows, cols));
  if (g_idx)  // 0.19 refuses "actorder": "group" and ignores weight_g_idx: the model would load and be wrong
    return error(Code::kUnsupported,
                 "%s: cannot store g_idx, releases since 0.19 do not read it; order static needs none", kName);
  return {};
}

DType scale_dtype(DType model_dtype) { return is_float(model_dtype) ? model_dtype : DType::kBF16; }

std::vector<PartSpec> layout(const Scheme& s, int64_t rows, int64_t cols, bool) {
  assert(is_float(s.scale));
  const bool tensor = s.group == kGroupTensor;
  const std::vector<int64_t> per_group = tensor ? std::vector<int64_t>{1} : std::vector<int64_t>{rows, s.groups(cols)};
  std::vector<PartSpec> parts = {{"weight_packed", DType::kI32, {rows, packed_words(Packing::kStream, cols, s.bits)}},
                                 {"weight_scale", s.scale, per_group},
                                 {"weight_shape", DType::kI64, {2}}};
  // Zero points of groups and rows are packed down the rows; that of a tensor is stored as it is, signed.
  if (!s.symmetric && tensor) parts.push_back({"weight_zero_point", DType::kI8, {1}});
  if (!s.symmetric && !tensor)
    parts.push_back({"weight_zero_point", DType::kI32, {packed_words(Packing::kStream, rows, s.bits), s.groups(cols)}});
  return parts;
}

Result<Parts> encode(const QMatrix& q) {
  QZ_TRY(check_qmatrix(q));
  const Scheme& s = q.scheme;
  QZ_TRY(can_store(s, q.rows, q.cols, !natural_groups(q.g_idx, q.cols, s)));
  Parts parts = make_parts(layout(s, q.rows, q.cols, false));
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

Result<QMatrix> decode(const Parts& parts, const StoredScheme& stored, int64_t rows, int64_t cols) {
  QZ_TRY(check_readable(stored.scheme, rows, cols));
  QMatrix q;
  q.rows = rows;
  q.cols = cols;
  q.scheme = stored.scheme;
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

}  // namespace

Format compressed_format() {
  Format f = {};
  f.id = FormatId::kCompressed;
  f.name = kName;
  f.part_names = {"weight_packed", "weight_scale", "weight_shape", "weight_zero_point", "weight_g_idx"};
  f.can_store = can_store;
  f.scale_dtype = scale_dtype;
  f.layout = layout;
  f.encode = encode;
  f.decode = decode;
  f.config = compressed_config;
  f.extra_files = [](const Json&) { return std::vector<ConfigFile>(); };
  f.stored_scheme = [](const Json& config, std::string_view module, int64_t, int64_t) {
    return compressed_stored_scheme(config, module);
  };
  return f;
}

}  // namespace qz
