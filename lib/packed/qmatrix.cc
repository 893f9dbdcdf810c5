#include "packed/qmatrix.h"

#include <bit>
#include <cmath>

#include "base/checked.h"
#include "base/sha256.h"
#include "base/simd.h"
#include "packed/block_code.h"
#include "packed/codebook.h"

namespace qz {
namespace {

static_assert(std::endian::native == std::endian::little, "hashes and packed tensors are little-endian");

QZ_SIMD_CLONES
uint8_t largest(const uint8_t* v, size_t n) {
  uint8_t most = 0;
  for (size_t i = 0; i < n; ++i) most = v[i] > most ? v[i] : most;
  return most;
}

Status check_count(const char* what, size_t found, uint64_t expected) {
  if (found == expected) return {};
  return error(Code::kInvalidArgument, "matrix: %zu %s, expected %llu", found, what,
               static_cast<unsigned long long>(expected));
}

Status check_finite(const char* what, const std::vector<float>& v) {
  for (size_t i = 0; i < v.size(); ++i)
    if (!std::isfinite(v[i])) return error(Code::kInvalidArgument, "matrix: %s %zu is not finite", what, i);
  return {};
}

// How many bytes `codes` has. False when a number overflows.
bool count_codes(const QMatrix& q, uint64_t* codes) {
  uint64_t elements = 0;
  if (!checked_mul(static_cast<uint64_t>(q.rows), static_cast<uint64_t>(q.cols), &elements) || elements >> 62)
    return false;
  *codes = elements;
  if (const BlockCode* block = find_block_code(q.scheme.code))
    return checked_mul(elements / static_cast<uint64_t>(block->elements), static_cast<uint64_t>(block->bytes), codes);
  return true;
}

Status check_shape(const QMatrix& q, uint64_t* codes) {
  const Scheme& s = q.scheme;
  if (q.rows <= 0 || q.cols <= 0)
    return error(Code::kInvalidArgument, "matrix: shape [%lld, %lld]", static_cast<long long>(q.rows),
                 static_cast<long long>(q.cols));
  if (const Status status = check_consistent(s); !status.ok())
    return error(Code::kInvalidArgument, "matrix: code kind %d, bits %d, group %d: %s", static_cast<int>(s.code),
                 s.bits, s.group, status.text().c_str());
  if (!count_codes(q, codes))
    return error(Code::kInvalidArgument, "matrix: shape [%lld, %lld] overflows", static_cast<long long>(q.rows),
                 static_cast<long long>(q.cols));
  if (s.is_block() && q.cols % s.group != 0)
    return error(Code::kInvalidArgument, "matrix: %lld columns, expected a multiple of %d",
                 static_cast<long long>(q.cols), s.group);
  if (s.grouping == Grouping::kStrided && q.rows * q.cols % s.group != 0)
    return error(Code::kInvalidArgument, "matrix: %lld elements, expected a multiple of %d",
                 static_cast<long long>(q.rows * q.cols), s.group);
  return {};
}

Status check_nested(const QMatrix& q, uint64_t scales) {
  const uint64_t block = static_cast<uint64_t>(q.scheme.nested);
  if (block == 0) return check_count("codes of scales", q.nested.codes.size(), 0);
  QZ_TRY(check_count("codes of scales", q.nested.codes.size(), scales));
  QZ_TRY(check_count("scales of scales", q.nested.absmax.size(), (scales + block - 1) / block));
  QZ_TRY(check_count("values of the map of scales", q.nested.map.size(), 256));
  QZ_TRY(check_finite("scale of scales", q.nested.absmax));
  QZ_TRY(check_finite("value of the map of scales", q.nested.map));
  if (q.scales != nested_scales(q.nested, q.scheme.nested))
    return error(Code::kInvalidArgument, "matrix: the scales are not what their codes stand for");
  return {};
}

void hash_number(Sha256* hash, int64_t v) { hash->update(&v, sizeof v); }

template <class T>
void hash_array(Sha256* hash, const std::vector<T>& v) {
  hash_number(hash, static_cast<int64_t>(v.size()));
  hash->update(v.data(), v.size() * sizeof(T));
}

}  // namespace

bool natural_groups(const std::vector<int32_t>& g_idx, int64_t cols, const Scheme& scheme) {
  const int64_t size = scheme.group_size(cols);
  for (size_t c = 0; c < g_idx.size(); ++c)
    if (g_idx[c] != static_cast<int64_t>(c) / size) return false;
  return true;
}

Status check_qmatrix(const QMatrix& q) {
  const Scheme& s = q.scheme;
  uint64_t codes = 0;
  QZ_TRY(check_shape(q, &codes));
  const uint64_t scales = static_cast<uint64_t>(s.scale_count(q.rows, q.cols));
  QZ_TRY(check_count("codes", q.codes.size(), codes));
  QZ_TRY(check_count("scales", q.scales.size(), scales));
  QZ_TRY(check_count("zero points", q.zeros.size(), s.symmetric || s.float_zero ? 0 : scales));
  QZ_TRY(check_count("float zero points", q.float_zeros.size(), s.float_zero ? scales : 0));
  if (const int most = largest(q.codes.data(), q.codes.size()); !s.is_block() && most > s.max_code())
    return error(Code::kInvalidArgument, "matrix: code %d, expected at most %d", most, s.max_code());
  if (const int most = largest(q.zeros.data(), q.zeros.size()); most > s.max_code())
    return error(Code::kInvalidArgument, "matrix: zero point %d, expected at most %d", most, s.max_code());
  for (size_t i = 0; s.code == CodeKind::kFp8 && i < q.codes.size(); ++i)
    if ((q.codes[i] & 127) == 127) return error(Code::kInvalidArgument, "matrix: code %zu is not a number", i);
  if (const BlockCode* block = find_block_code(s.code)) {
    int64_t wrong = 0;
    if (!finite_blocks(*block, q.codes.data(), q.rows * q.cols / block->elements, &wrong))
      return error(Code::kInvalidArgument, "matrix: the scale of block %lld is not finite",
                   static_cast<long long>(wrong));
  }
  QZ_TRY(check_finite("scale", q.scales));
  QZ_TRY(check_finite("zero point", q.float_zeros));
  QZ_TRY(check_nested(q, scales));
  if (!std::isfinite(q.input_scale)) return error(Code::kInvalidArgument, "matrix: the scale of inputs is not finite");
  if (!q.g_idx.empty() && (s.grouping != Grouping::kRow || s.is_block()))
    return error(Code::kInvalidArgument, "matrix: g_idx of groups that do not run along rows");
  if (!q.g_idx.empty()) QZ_TRY(check_count("columns in g_idx", q.g_idx.size(), static_cast<uint64_t>(q.cols)));
  for (size_t c = 0; c < q.g_idx.size(); ++c)
    if (q.g_idx[c] < 0 || q.g_idx[c] >= q.groups())
      return error(Code::kInvalidArgument, "matrix: column %zu is in group %d, expected 0 to %lld", c, q.g_idx[c],
                   static_cast<long long>(q.groups() - 1));
  return {};
}

std::string hash_qmatrix(const QMatrix& q) {
  Sha256 hash;
  const Scheme& s = q.scheme;
  const char label[] = "libqz matrix 1";  // changes when the meaning of the bytes changes
  hash.update(label, sizeof label);
  for (int64_t v : {q.rows, q.cols, static_cast<int64_t>(s.code), static_cast<int64_t>(s.bits),
                    static_cast<int64_t>(s.group), static_cast<int64_t>(s.symmetric)})
    hash_number(&hash, v);
  hash_array(&hash, q.codes);
  hash_array(&hash, q.scales);
  hash_array(&hash, q.zeros);
  hash_array(&hash, natural_groups(q.g_idx, q.cols, s) ? std::vector<int32_t>() : q.g_idx);
  if (s.is_grid() && s.activations == Activations::kNone) return hash.hex();  // as it was before there were others
  for (int64_t v : {static_cast<int64_t>(s.grouping), static_cast<int64_t>(s.float_zero),
                    static_cast<int64_t>(s.nested), static_cast<int64_t>(s.activations)})
    hash_number(&hash, v);
  hash_array(&hash, q.float_zeros);
  hash_array(&hash, q.nested.codes);
  hash_array(&hash, q.nested.absmax);
  hash_array(&hash, q.nested.map);
  hash_array(&hash, std::vector<float>{q.nested.offset, q.input_scale});
  return hash.hex();
}

}  // namespace qz
