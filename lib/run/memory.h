// What a quantization run will take at most: resident memory of this process, and the disk.
#pragma once
#include "estimate/ledger.h"
#include "run/moments.h"

namespace qz {

// Host: the peak, as the items that are there when it is reached. Disk: every byte of the safetensors files and their
// index, exact. Errors: as resolve_plan has them.
Result<Ledger> estimate_run(const Plan& plan, const RunSize& size);

}  // namespace qz
