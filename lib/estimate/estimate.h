// The door of this folder: a query about a shape, answered; and the inverse questions.
#pragma once
#include "estimate/ledger.h"
#include "estimate/query.h"
#include "estimate/shape.h"

namespace qz {

// Every goal but kQuantize, which needs a plan (run/memory.h). kInvalidArgument, kUnsupported.
Result<Ledger> estimate_memory(const ModelShape& shape, const MemoryQuery& query);

enum class Ask : int32_t { kContext = 0, kBatch = 1, kBits = 2 };  // = qz_fit_ask

struct Fit {
  int64_t value = 0;    // tokens of one sequence; sequences; bits. 0: nothing fits
  std::string weights;  // kBits: the stored form that fits
  uint64_t needed = 0;  // device bytes at that value, or at the smallest that was tried
};
// The largest context or batch, or the most bits of weights (of plain, w8, w4g128, w3g128, w2g64 in the query's
// format), for which `device_bytes` are enough.
Result<Fit> fit_memory(const ModelShape& shape, const MemoryQuery& query, uint64_t device_bytes, Ask ask);

}  // namespace qz
