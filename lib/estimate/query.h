// What is asked of an estimate. Defaults are set by the caller (api/memory.cc): nothing here is "0 = default".
#pragma once
#include <cstdint>
#include <string>

#include "tensor/dtype.h"

namespace qz {

enum class Goal : int32_t { kInfer = 0, kQuantize = 1, kTrainFull = 2, kTrainLora = 3, kTrainQlora = 4 };  // = qz_goal
enum class Optimizer : int32_t { kAdam = 0, kAdamF32 = 1, kAdam8 = 2, kSgd = 3 };  // = qz_optimizer
enum class Offload : int32_t { kNone = 0, kOptimizer = 1, kParameters = 2 };       // = qz_offload
enum class Checkpointing : int32_t { kFull = 0, kNone = 1 };                       // = qz_checkpointing

struct MemoryQuery {
  Goal goal = Goal::kInfer;
  int64_t batch = 1, seq = 2048;  // sequences at a time, tokens of each
  int64_t prefill = 2048;         // tokens of a prompt that are run at once
  int32_t compute_bits = 16, kv_bits = 16;
  Optimizer optimizer = Optimizer::kAdam;
  Checkpointing checkpointing = Checkpointing::kFull;
  Offload offload = Offload::kNone;
  int32_t lora_rank = 16, zero_stage = 0;
  int64_t devices = 1;  // inference: tensor-parallel degree; training: data-parallel ranks
  std::string weights;  // estimate/weights.h; "": as stored
  std::string tool;     // estimate/tools.h; "": libqz's own figures
};

}  // namespace qz
