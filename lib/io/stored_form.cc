#include "io/stored_form.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace qz {

Status StoredForm::read(const File& file, const TensorInfo& tensor, uint64_t first, uint64_t count,
                        uint8_t* out) const {
  const uint64_t rows = static_cast<uint64_t>(tensor.shape.empty() ? 1 : tensor.shape[0]);
  if (tensor.bytes == 0) return {};
  const uint64_t shown = tensor.bytes / rows;  // bytes of a row
  const uint64_t stored = decode ? shown / sizeof(float) / elements * bytes : shown;
  const uint64_t per_head = heads > 0 ? rows / static_cast<uint64_t>(heads) : 0;
  std::vector<uint8_t> raw(stored), row(decode ? shown : 0);
  while (count > 0) {
    const uint64_t r = first / shown, at = first % shown, n = std::min(count, shown - at);
    uint64_t place = r;
    if (per_head > 1) {
      const uint64_t i = r % per_head, half = per_head / 2;
      place = r - i + 2 * (i % half) + i / half;
    }
    const uint64_t offset = tensor.offset + place * stored;
    if (decode) {
      QZ_TRY(file.read_at(offset, raw.data(), stored));
      float* floats = reinterpret_cast<float*>(row.data());
      for (uint64_t b = 0; b < stored / bytes; ++b) decode(block, raw.data() + b * bytes, floats + b * elements);
      std::memcpy(out, row.data() + at, n);
    } else {
      QZ_TRY(file.read_at(offset + at, out, n));
    }
    first += n, out += n, count -= n;
  }
  return {};
}

}  // namespace qz
