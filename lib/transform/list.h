// The transforms, one row each. Adding one = one file, one row.
#pragma once
#include <string_view>
#include <vector>

#include "transform/place.h"

namespace qz {

struct Transform {
  TransformKind kind;
  std::string_view name;  // "awq"
  bool behind_linears;    // input columns may also be divided in the linear layer that makes them (v -> o, up -> down)
  Result<Scales> (*scales)(const Place& place, const TransformOptions& options);
};

const std::vector<Transform>& transforms();
// nullptr for kNone and for values that it does not know.
const Transform* find_transform(TransformKind kind);

}  // namespace qz
