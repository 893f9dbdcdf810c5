#pragma once
#include <vector>

#include "model/model.h"

namespace qz {

// Modules of role kOther: matrices of the file that are neither in `known` nor tables of embeddings, plain or in a
// format that says their shape. Sorted by name, because rounding changes their order in the file.
Result<std::vector<Module>> list_other_linears(const Checkpoint& checkpoint, const std::vector<Module>& known,
                                               const Limits& limits);

}  // namespace qz
