#include "run/metrics.h"

#include <algorithm>

#include "run/sizes.h"

namespace qz {

Result<std::vector<OutputMetric>> measure_metrics(const Model& model, const Model& fast,
                                                  const std::vector<ModulePlan>& modules, const TokenSet& calibration,
                                                  uint64_t seed, std::vector<std::string>* events, Progress* progress) {
  int32_t wanted = 0;
  for (const ModulePlan& m : modules)
    if (m.method == Method::kGptq) wanted = std::max(wanted, m.gptq.metric);
  if (wanted == 0) return std::vector<OutputMetric>();
  if (model.config().moe.experts > 0)
    events->push_back("the output metric is not measured for experts: their rows are solved independently");
  const auto& all = calibration.sequences;
  if (all.empty() || !model.config().causal) {
    events->push_back(all.empty() ? "the output metric is not measured: the calibration set has embeddings only"
                                  : "the output metric is not measured for encoders: they predict no next token");
    return std::vector<OutputMetric>();
  }
  const MetricSize size = metric_size(model.config(), static_cast<int64_t>(all.size()), wanted);
  const auto count = static_cast<size_t>(size.sequences);
  std::vector<std::vector<int32_t>> ids;
  for (size_t i = 0; i < count; i++) {  // spread evenly, so that a mixed set is measured in all its parts
    const auto& s = all[(2 * i + 1) * all.size() / (2 * count)];
    ids.emplace_back(s.begin(), s.begin() + std::min(static_cast<int64_t>(s.size()), size.length));
  }
  QZ_ASSIGN(std::vector<OutputMetric> metrics, output_metrics(fast, ids, chain_rows(model), seed, progress));
  for (size_t i = 0; i < modules.size(); i++)
    if (modules[i].method != Method::kGptq || modules[i].gptq.metric == 0) metrics[i] = {};
  return metrics;
}

}  // namespace qz
