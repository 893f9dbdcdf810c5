// The engine: a plan in, a quantized model out. Block by block, stage by stage, with bounded memory: the weights of two
// copies of one block, the calibration activations, one stage's statistics. Bit-identical for any number of threads.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "backend/plugin.h"
#include "io/tokens.h"
#include "run/plan.h"
#include "run/solve.h"

namespace qz {

struct RunOptions {
  FormatId format = FormatId::kCompressed;
  std::string stream_to;  // "": keep the matrices in memory
  bool overwrite = false;
  bool strict = false;  // too few tokens for the largest Hessian is an error, not an event
  uint64_t shard_bytes = 0;
  uint64_t seed = 0;  // of the labels that are drawn for the output metric
  Progress* progress = nullptr;
  // That takes what it can of GPTQ (method/device_solver.h), `device` of it; null: the CPU does all.
  std::shared_ptr<const Backend> backend;
  qz_device device = {};
};

// Called instead of solving a module: its weight, rescaled if the plan does that, the statistics of its inputs and its
// output metric (no data: it has none).
using Probe = std::function<Status(size_t module, MatrixView weight, StageSolver* stage, MatrixView metric)>;
// Runs the calibration tokens through the model as it is, and shows each module that the plan would solve by GPTQ.
Status probe_plan(const Plan& plan, const TokenSet& calibration, const RunOptions& options, const Probe& probe);

// calibration may be null when no module is solved by GPTQ. With stream_to the result is that directory, opened.
Result<ModelPtr> run_plan(const Plan& plan, const TokenSet* calibration, const RunOptions& options);

}  // namespace qz
