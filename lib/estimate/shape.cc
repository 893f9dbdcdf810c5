#include "estimate/shape.h"

namespace qz {

int64_t ModelShape::linear_elements(bool with_head) const {
  int64_t sum = 0;
  for (const LinearShape& l : linears)
    if (l.can_quantize && (with_head || l.layer >= 0)) sum += l.rows * l.cols;
  return sum;
}

}  // namespace qz
