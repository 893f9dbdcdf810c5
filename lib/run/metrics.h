// The output metric of each module that a plan solves with one: which of its outputs the loss depends on
// (docs/algorithms.md, "The objective").
#pragma once
#include <string>
#include <vector>

#include "io/tokens.h"
#include "model/gradient.h"
#include "run/plan.h"

namespace qz {

// From the gradients of a few calibration sequences in the original model; fast: the same model with products that may
// round. One metric a module, with no data where the plan wants none; no metric at all where no module wants one. Where
// there is nothing to measure (embeddings, encoders, experts) `events` gets the words. seed: of the labels drawn.
Result<std::vector<OutputMetric>> measure_metrics(const Model& model, const Model& fast,
                                                  const std::vector<ModulePlan>& modules, const TokenSet& calibration,
                                                  uint64_t seed, std::vector<std::string>* events, Progress* progress);

}  // namespace qz
