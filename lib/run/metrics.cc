#include "run/metrics.h"

#include <algorithm>

#include "run/sizes.h"

namespace qz {

Result<std::vector<OutputMetric>> measure_metrics(const Model& model, const TokenSet& calibration,
                                                  const std::vector<ModulePlan>& modules, uint64_t seed,
                                                  std::vector<std::string>* events, Progress* progress) {
  const auto wants = [](const ModulePlan& m) { return m.method == Method::kGptq ? m.gptq.metric : 0; };
  std::vector<OutputMetric> metrics;
  int32_t wanted = 0;
  for (const ModulePlan& m : modules) wanted = std::max(wanted, wants(m));
  if (wanted == 0) return metrics;
  if (progress) progress->info.phase = "measure";
  if (model.config().moe.experts > 0)
    events->push_back("the output metric is not measured for experts: their rows are solved independently");
  const auto& all = calibration.sequences;
  if (all.empty() || !model.config().causal) {
    events->push_back(all.empty() ? "the output metric is not measured: the calibration set has embeddings only"
                                  : "the output metric is not measured for encoders: they predict no next token");
    return metrics;
  }
  const MetricSize size = metric_size(model.config(), static_cast<int64_t>(all.size()), wanted);
  const auto count = static_cast<size_t>(size.sequences);
  std::vector<std::vector<int32_t>> ids;
  for (size_t i = 0; i < count; i++) {  // spread evenly, so that a mixed set is measured in all its parts
    const auto& s = all[(2 * i + 1) * all.size() / (2 * count)];
    ids.emplace_back(s.begin(), s.begin() + std::min(static_cast<int64_t>(s.size()), size.length));
  }
  QZ_ASSIGN(metrics, output_metrics(model, ids, chain_rows(model), seed, progress));
  for (size_t i = 0; i < modules.size(); i++)
    if (wants(modules[i]) == 0) metrics[i] = {};
  return metrics;
}

void scale_metric(const std::vector<float>& by, OutputMetric* metric) {
  for (int64_t r = 0; r < metric->rows; r++)
    for (int64_t c = 0, first = r / metric->block * metric->block; c < metric->block && first + c < metric->rows; c++)
      metric->g.row(r)[c] *= by[static_cast<size_t>(r)] * by[static_cast<size_t>(first + c)];
}

}  // namespace qz
