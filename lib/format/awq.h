#pragma once
#include "format/format.h"

namespace qz {

// AutoAWQ's GEMM layout, which vLLM and GPTQModel read.
Format awq_format();

}  // namespace qz
