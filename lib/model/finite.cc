#include "model/finite.h"

#include <cstring>

namespace qz {
namespace {

// An exponent of all ones is NaN or infinity, in each of the three types.
template <class Word, Word kExponent>
size_t count_bad(const uint8_t* bytes, size_t n) {
  size_t bad = 0;
  for (size_t i = 0; i < n; ++i) {
    Word w;
    std::memcpy(&w, bytes + i * sizeof w, sizeof w);
    bad += (w & kExponent) == kExponent ? 1 : 0;
  }
  return bad;
}

size_t count_bad(DType dtype, const uint8_t* bytes, size_t n) {
  switch (dtype) {
    case DType::kF32:
      return count_bad<uint32_t, 0x7f800000u>(bytes, n);
    case DType::kBF16:
      return count_bad<uint16_t, 0x7f80u>(bytes, n);
    default:
      return count_bad<uint16_t, 0x7c00u>(bytes, n);  // F16
  }
}

}  // namespace

Result<std::vector<uint8_t>> read_finite(const Checkpoint& checkpoint, const TensorInfo& tensor) {
  return read_finite(checkpoint, tensor, 0, tensor.elements());
}

Result<std::vector<uint8_t>> read_finite(const Checkpoint& checkpoint, const TensorInfo& tensor, int64_t begin,
                                         int64_t count) {
  if (!is_float(tensor.dtype)) {
    return error(Code::kUnsupported, "%s: tensor '%s' is %s, expected F32, F16 or BF16", checkpoint.dir().c_str(),
                 tensor.name.c_str(), tensor.dtype_name.c_str());
  }
  const size_t size = dtype_bits(tensor.dtype) / 8, n = static_cast<size_t>(count);
  std::vector<uint8_t> bytes(n * size);
  QZ_TRY(checkpoint.read_range(tensor, static_cast<uint64_t>(begin) * size, bytes.size(), bytes.data()));
  if (const size_t bad = count_bad(tensor.dtype, bytes.data(), n); bad > 0) {
    size_t first = 0;
    while (count_bad(tensor.dtype, bytes.data() + first * size, 1) == 0) ++first;
    return error(Code::kBadFile, "%s: tensor '%s' has %zu NaN or infinite values of %zu, the first at index %zu",
                 checkpoint.dir().c_str(), tensor.name.c_str(), bad, n, static_cast<size_t>(begin) + first);
  }
  return bytes;
}

}  // namespace qz
