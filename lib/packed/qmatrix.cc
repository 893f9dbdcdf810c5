#include "packed/qmatrix.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/checked.h"
#include "base/sha256.h"
#include "base/simd.h"

namespace qz {
namespace {

static_assert(std::endian::native == std::endian::little, "hashes and packed tensors are little-endian");

QZ_SIMD_CLONES
void dequantize_run(const uint8_t* codes, int64_t n, int32_t zero, float scale, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(codes[i] - zero) * scale;
}

QZ_SIMD_CLONES
uint8_t largest(const uint8_t* v, size_t n) {
  uint8_t most = 0;
  for (size_t i = 0; i < n; ++i) most = v[i] > most ? v[i] : most;
  return most;
}

void hash_number(Sha256* hash, int64_t v) { hash->update(&v, sizeof v); }

template <class T>
void hash_array(Sha256* hash, const std::vector<T>& v) {
  hash_number(hash, static_cast<int64_t>(v.size()));
  hash->update(v.data(), v.size() * sizeof(T));
}

}  // namespace

void dequantize_row(const QMatrix& q, int64_t r, float* out) {
  const uint8_t* codes = q.codes.data() + r * q.cols;
  if (!q.g_idx.empty()) {
    for (int64_t c = 0; c < q.cols; ++c) {
      const int64_t g = q.group_of(c);
      out[c] = static_cast<float>(codes[c] - q.zero(r, g)) * q.scale(r, g);
    }
    return;
  }
  const int64_t size = q.scheme.group_size(q.cols);
  for (int64_t g = 0, c = 0; c < q.cols; ++g, c += size)
    dequantize_run(codes + c, std::min(size, q.cols - c), q.zero(r, g), q.scale(r, g), out + c);
}

Matrix dequantize(const QMatrix& q) {
  Matrix w(q.rows, q.cols);
  for (int64_t r = 0; r < q.rows; ++r) dequantize_row(q, r, w.row(r));
  return w;
}

bool natural_groups(const std::vector<int32_t>& g_idx, int64_t cols, const Scheme& scheme) {
  const int64_t size = scheme.group_size(cols);
  for (size_t c = 0; c < g_idx.size(); ++c)
    if (g_idx[c] != static_cast<int64_t>(c) / size) return false;
  return true;
}

Status check_qmatrix(const QMatrix& q) {
  const Scheme& s = q.scheme;
  if (q.rows <= 0 || q.cols <= 0)
    return error(Code::kInvalidArgument, "matrix: shape [%lld, %lld]", static_cast<long long>(q.rows),
                 static_cast<long long>(q.cols));
  if (s.code != CodeKind::kInt || s.bits < 2 || s.bits > 8 || s.group == 0 || s.group < kGroupTensor)
    return error(Code::kInvalidArgument, "matrix: code kind %d, bits %d, group %d", static_cast<int>(s.code), s.bits,
                 s.group);
  uint64_t codes = 0, scales = 0;
  if (!checked_mul(static_cast<uint64_t>(q.rows), static_cast<uint64_t>(q.cols), &codes) ||
      !checked_mul(static_cast<uint64_t>(q.rows), static_cast<uint64_t>(q.groups()), &scales))
    return error(Code::kInvalidArgument, "matrix: shape [%lld, %lld] overflows", static_cast<long long>(q.rows),
                 static_cast<long long>(q.cols));
  if (s.group == kGroupTensor) scales = 1;
  if (q.codes.size() != codes)
    return error(Code::kInvalidArgument, "matrix: %zu codes, expected %llu", q.codes.size(),
                 static_cast<unsigned long long>(codes));
  if (q.scales.size() != scales)
    return error(Code::kInvalidArgument, "matrix: %zu scales, expected %llu", q.scales.size(),
                 static_cast<unsigned long long>(scales));
  if (q.zeros.size() != (s.symmetric ? 0 : scales))
    return error(Code::kInvalidArgument, "matrix: %zu zero points, expected %llu", q.zeros.size(),
                 static_cast<unsigned long long>(s.symmetric ? 0 : scales));
  if (const int most = largest(q.codes.data(), q.codes.size()); most > s.max_code())
    return error(Code::kInvalidArgument, "matrix: code %d, expected at most %d", most, s.max_code());
  if (const int most = largest(q.zeros.data(), q.zeros.size()); most > s.max_code())
    return error(Code::kInvalidArgument, "matrix: zero point %d, expected at most %d", most, s.max_code());
  for (size_t i = 0; i < q.scales.size(); ++i)
    if (!std::isfinite(q.scales[i])) return error(Code::kInvalidArgument, "matrix: scale %zu is not finite", i);
  if (!q.g_idx.empty() && static_cast<int64_t>(q.g_idx.size()) != q.cols)
    return error(Code::kInvalidArgument, "matrix: g_idx of %zu columns, expected %lld", q.g_idx.size(),
                 static_cast<long long>(q.cols));
  for (size_t c = 0; c < q.g_idx.size(); ++c)
    if (q.g_idx[c] < 0 || q.g_idx[c] >= q.groups())
      return error(Code::kInvalidArgument, "matrix: column %zu is in group %d, expected 0 to %lld", c, q.g_idx[c],
                   static_cast<long long>(q.groups() - 1));
  return {};
}

std::string hash_qmatrix(const QMatrix& q) {
  Sha256 hash;
  const char label[] = "libqz matrix 1";  // changes when the meaning of the bytes changes
  hash.update(label, sizeof label);
  for (int64_t v : {q.rows, q.cols, static_cast<int64_t>(q.scheme.code), static_cast<int64_t>(q.scheme.bits),
                    static_cast<int64_t>(q.scheme.group), static_cast<int64_t>(q.scheme.symmetric)})
    hash_number(&hash, v);
  hash_array(&hash, q.codes);
  hash_array(&hash, q.scales);
  hash_array(&hash, q.zeros);
  hash_array(&hash, natural_groups(q.g_idx, q.cols, q.scheme) ? std::vector<int32_t>() : q.g_idx);
  return hash.hex();
}

}  // namespace qz
