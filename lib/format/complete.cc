#include "format/complete.h"

namespace qz {

Scheme complete_scheme(const Format& format, Scheme scheme, DType model_dtype, int64_t cols) {
  if (scheme.scale == DType::kNone) scheme.scale = format.scale_dtype(model_dtype);
  if (scheme.compute == DType::kNone) scheme.compute = model_dtype;
  if (scheme.is_grid() && scheme.group > cols) scheme.group = kGroupRow;  // one covers the row anyway
  return scheme;
}

}  // namespace qz
