// The experts of one block, solved one after the other: one expert's weights, statistics and results are in memory at a
// time, whatever their number. What an expert is solved from are the calibration tokens that the router of the model as
// quantized so far sends to it. An expert that few tokens reach gets more of them (docs/algorithms.md, "Experts").
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "model/experts.h"
#include "run/clock.h"
#include "run/solve.h"
#include "run/streams.h"

namespace qz {

struct ExpertsJob {
  Clock* const clock;
  const Model& model;
  const Streams& streams;
  DeviceSolver* const device;  // null: none
  const Block& current;        // routers and shared layers of the model as quantized so far,
  const Block& original;       // and of the original
  MatrixView x;                // what the MLP reads, all tokens, in the model as quantized so far
  MatrixView x_original;       // and in the original; no data: one stream
  // Whether a module is to be quantized, and whether it needs statistics.
  std::function<bool(size_t module)> quantizes, calibrates;
  // Solves one module and puts the result into *replace. routed: the calibration tokens that the router sends there.
  std::function<Status(size_t module, const Matrix& weight, StageSolver* stage, int64_t routed, Linear* replace)> solve;
};

// y, y_original (null with one stream): what all experts give, added, [tokens][hidden]. events: in words, what was done
// for experts that few tokens reach.
Status solve_experts(const ExpertsJob& job, float* y, float* y_original, std::vector<std::string>* events,
                     Progress* progress);

}  // namespace qz
