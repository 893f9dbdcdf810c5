// What a quantization run will take at most: resident memory of this process, and the disk.
#pragma once
#include "estimate/ledger.h"
#include "io/tokens.h"
#include "run/moments.h"
#include "run/report.h"

namespace qz {

// Host: the peak, as the items that are there when it is reached. Disk: every byte of the safetensors files and their
// index, exact. Errors: as resolve_plan has them.
Result<Ledger> estimate_run(const Plan& plan, const RunSize& size);

// Made before a run's first allocation: the estimate that its report shows beside what was measured.
class PeakWatch {
 public:
  // calibration may be null. in_memory: the result is kept. device: the run names one.
  PeakWatch(const Plan& plan, const TokenSet* calibration, FormatId format, bool in_memory, bool device);
  // Fills in what is known by now.
  const RunReport& complete(RunReport* report) const;

 private:
  uint64_t estimated_ = 0, before_ = 0;
};

}  // namespace qz
