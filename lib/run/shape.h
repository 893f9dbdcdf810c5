// A model's sizes, for lib/estimate: from tensor headers where there are files, else from the configuration and the
// family's table.
#pragma once
#include "estimate/shape.h"
#include "model/model.h"

namespace qz {

ModelShape shape_of(const Model& model);

}  // namespace qz
