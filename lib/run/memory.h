// What a quantization run will take at most: resident memory of this process, and the disk. Follows run/pipeline.cc
// step by step; a change there is a change here.
#pragma once
#include "estimate/ledger.h"
#include "run/pipeline.h"

namespace qz {

struct RunSize {
  int64_t sequences = 128, length = 2048;  // of calibration; not looked at when no module is solved by GPTQ
  FormatId format = FormatId::kCompressed;
  bool in_memory = false;  // the result is kept, not streamed to a directory
  uint64_t shard_bytes = 0;
};

// Host: the peak, as the items that are there when it is reached. Disk: every byte of the safetensors files and their
// index, exact. Errors: as resolve_plan has them.
Result<Ledger> estimate_run(const Plan& plan, const RunSize& size);

}  // namespace qz
