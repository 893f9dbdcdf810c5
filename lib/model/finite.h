// Weights as stored, refused when they hold NaN or infinity: one bad value would spread through every later layer.
#pragma once
#include <cstdint>
#include <vector>

#include "io/checkpoint.h"

namespace qz {

// The bytes of a float tensor; kBadFile names the tensor, the number of NaN and infinite values, and the first index.
Result<std::vector<uint8_t>> read_finite(const Checkpoint& checkpoint, const TensorInfo& tensor);
// The same of elements [first, first + count).
Result<std::vector<uint8_t>> read_finite(const Checkpoint& checkpoint, const TensorInfo& tensor, int64_t first,
                                         int64_t count);

}  // namespace qz
