// The output metric of a run: which modules want one, from which calibration tokens, and what a transform does to it.
#pragma once
#include <string>
#include <vector>

#include "io/tokens.h"
#include "model/gradient.h"
#include "run/plan.h"

namespace qz {

// One for each of `modules`, empty where none is wanted or can be had; why not is added to events. From the gradients
// of as many sequences as the module that wants most asks for, spread evenly over the calibration set. seed: of the
// labels that are drawn. Empty altogether if no module wants one.
Result<std::vector<OutputMetric>> measure_metrics(const Model& model, const TokenSet& calibration,
                                                  const std::vector<ModulePlan>& modules, uint64_t seed,
                                                  std::vector<std::string>* events, Progress* progress);

// Row r of the module was divided by by[r]: its gradient is by[r] times what it was.
void scale_metric(const std::vector<float>& by, OutputMetric* metric);

}  // namespace qz
