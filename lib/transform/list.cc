#include "transform/list.h"

#include "transform/awq.h"
#include "transform/smoothquant.h"

namespace qz {

const std::vector<Transform>& transforms() {
  static const std::vector<Transform> table = {{TransformKind::kAwq, "awq", true, awq_scales},
                                               {TransformKind::kSmoothQuant, "smoothquant", false, smooth_scales}};
  return table;
}

const Transform* find_transform(TransformKind kind) {
  for (const Transform& t : transforms())
    if (t.kind == kind) return &t;
  return nullptr;
}

}  // namespace qz
