#pragma once
#include "format/format.h"

namespace qz {

// HQQ as transformers saves it: packed codes, float zero points, and the settings of each layer as small tensors.
Format hqq_format();

}  // namespace qz
