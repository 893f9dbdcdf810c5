// The moments of a run at which its memory may be at its largest. Follows pipeline.cc step by step; a change there is a
// change here.
#pragma once
#include <vector>

#include "run/moment.h"
#include "run/plan.h"

namespace qz {

struct RunSize {
  int64_t sequences = 128, length = 2048;  // of calibration; not looked at when no module is solved by GPTQ
  bool calibrated = true;                  // false: a module whose method is kDefault is rounded
  FormatId format = FormatId::kCompressed;
  bool in_memory = false;  // the result is kept, not streamed to a directory
  bool device = false;     // one takes what it can of GPTQ; else the CPU does all
  uint64_t shard_bytes = 0;
};

// `plans`: one per module (resolve_plan). largest_copy: bytes of the largest tensor that passes through.
std::vector<Moment> run_moments(const Model& model, const std::vector<ModulePlan>& plans, const RunSize& size,
                                uint64_t largest_copy);

}  // namespace qz
