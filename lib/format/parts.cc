#include "format/parts.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

#include "base/checked.h"
#include "tensor/convert.h"

namespace qz {
namespace {

std::string words_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// false if it overflows or a dimension is negative.
bool bytes_of(const std::vector<int64_t>& shape, DType dtype, uint64_t* bytes) {
  *bytes = dtype_bits(dtype) / 8;
  for (int64_t d : shape)
    if (d < 0 || !checked_mul(*bytes, static_cast<uint64_t>(d), bytes)) return false;
  return true;
}

}  // namespace

const Part* find_part(const Parts& parts, std::string_view name) {
  for (const Part& part : parts)
    if (part.name == name) return &part;
  return nullptr;
}

Result<const Part*> take_part(const Parts& parts, std::string_view name, const std::vector<DType>& dtypes,
                              const std::vector<std::vector<int64_t>>& shapes) {
  const std::string label(name);
  const Part* part = find_part(parts, name);
  if (!part)
    return error(Code::kBadFile, "%s: missing, expected a tensor of shape %s", label.c_str(),
                 words_of(shapes[0]).c_str());
  if (std::find(dtypes.begin(), dtypes.end(), part->dtype) == dtypes.end()) {
    std::string expected;
    for (DType d : dtypes) expected += (expected.empty() ? "" : " or ") + std::string(dtype_name(d));
    return error(Code::kBadFile, "%s: type %s, expected %s", label.c_str(), dtype_name(part->dtype), expected.c_str());
  }
  if (std::find(shapes.begin(), shapes.end(), part->shape) == shapes.end())
    return error(Code::kBadFile, "%s: shape %s, expected %s", label.c_str(), words_of(part->shape).c_str(),
                 words_of(shapes[0]).c_str());
  uint64_t bytes = 0;
  if (!bytes_of(part->shape, part->dtype, &bytes) || part->bytes.size() != bytes)
    return error(Code::kBadFile, "%s: %zu bytes, expected %llu for shape %s", label.c_str(), part->bytes.size(),
                 static_cast<unsigned long long>(bytes), words_of(part->shape).c_str());
  return part;
}

Parts make_parts(const std::vector<PartSpec>& layout) {
  Parts parts;
  for (const PartSpec& spec : layout) {
    uint64_t bytes = 0;
    [[maybe_unused]] const bool fits = bytes_of(spec.shape, spec.dtype, &bytes);
    assert(fits);
    parts.push_back({spec, std::vector<uint8_t>(bytes)});
  }
  return parts;
}

Result<std::vector<float>> read_scales(const Part& part) {
  std::vector<float> scales(part.bytes.size() * 8 / dtype_bits(part.dtype));
  to_f32(part.bytes.data(), part.dtype, scales.size(), scales.data());
  for (size_t i = 0; i < scales.size(); ++i)
    if (!std::isfinite(scales[i]))
      return error(Code::kBadFile, "%s: element %zu is not a finite number", std::string(part.name).c_str(), i);
  return scales;
}

Status write_scales(const std::vector<float>& scales, Part* part) {
  from_f32(scales.data(), part->dtype, scales.size(), part->bytes.data());
  std::vector<float> back(scales.size());
  to_f32(part->bytes.data(), part->dtype, back.size(), back.data());
  for (size_t i = 0; i < scales.size(); ++i)
    if (back[i] != scales[i])
      return error(Code::kUnsupported, "%s: scale %.9g at element %zu does not fit %s", std::string(part->name).c_str(),
                   static_cast<double>(scales[i]), i, dtype_name(part->dtype));
  return {};
}

Result<std::vector<int32_t>> read_g_idx(const Part& part, int64_t cols, const Scheme& scheme) {
  std::vector<int32_t> g_idx(part.bytes.size() / 4);
  std::memcpy(g_idx.data(), part.bytes.data(), part.bytes.size());
  for (size_t c = 0; c < g_idx.size(); ++c)
    if (g_idx[c] < 0 || g_idx[c] >= scheme.groups(cols))
      return error(Code::kBadFile, "%s: column %zu is in group %d, expected 0 to %lld", std::string(part.name).c_str(),
                   c, g_idx[c], static_cast<long long>(scheme.groups(cols) - 1));
  if (natural_groups(g_idx, cols, scheme)) g_idx.clear();
  return g_idx;
}

Status check_sides(int64_t rows, int64_t cols) {
  constexpr int64_t kMaxSide = int64_t{1} << 32;
  if (rows <= 0 || cols <= 0 || rows > kMaxSide || cols > kMaxSide || rows > INT64_MAX / 64 / cols)
    return error(Code::kInvalidArgument, "matrix of shape [%lld, %lld]", static_cast<long long>(rows),
                 static_cast<long long>(cols));
  return {};
}

Status check_readable(const Scheme& s, int64_t rows, int64_t cols) {
  QZ_TRY(check_sides(rows, cols));
  if (!check_consistent(s).ok() || !s.is_grid() || s.bits < 2)
    return error(Code::kInvalidArgument, "scheme of code kind %d, bits %d, group %d", static_cast<int>(s.code), s.bits,
                 s.group);
  return {};
}

Status check_storable(std::string_view format, const Scheme& s, const std::vector<int32_t>& bits, int64_t rows,
                      int64_t cols) {
  const std::string label(format);
  if (!s.is_grid() || s.activations != Activations::kNone)
    return error(Code::kUnsupported, "%s: cannot store scheme %s, only integers with integer zero points along rows",
                 label.c_str(), scheme_name(s).c_str());
  if (std::find(bits.begin(), bits.end(), s.bits) == bits.end()) {
    std::string expected;
    for (int32_t b : bits) expected += (expected.empty() ? "" : ", ") + std::to_string(b);
    return error(Code::kUnsupported, "%s: cannot store %d bits, only %s", label.c_str(), s.bits, expected.c_str());
  }
  QZ_TRY(check_readable(s, rows, cols).with_prefix(label));
  if (s.group > 0 && cols % s.group != 0)
    return error(Code::kUnsupported, "%s: groups of %d do not divide %lld columns", label.c_str(), s.group,
                 static_cast<long long>(cols));
  return {};
}

}  // namespace qz
