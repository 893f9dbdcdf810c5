#pragma once
#include "format/format.h"

namespace qz {

// EETQ: 8-bit rows in the order in which its GPU kernels read them.
Format eetq_format();

}  // namespace qz
