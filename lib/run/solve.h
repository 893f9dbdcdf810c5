// One module: its matrix found by the planned method, judged, reported.
#pragma once
#include <memory>
#include <vector>

#include "method/device_solver.h"
#include "method/hessian.h"
#include "run/plan.h"
#include "run/report.h"

namespace qz {

// One stage's statistics and the factors made from them; modules that share options share a factor.
class StageSolver {
 public:
  // device: takes what it can of the solving; null: the CPU does all.
  StageSolver(const Context& context, StageStats stats, DeviceSolver* device = nullptr)
      : context_(context), stats_(std::move(stats)), device_(device) {}
  const StageStats& stats() const { return stats_; }
  DeviceSolver* device() const { return device_; }
  Result<std::shared_ptr<const HessianFactor>> factor(const GptqOptions& options);

 private:
  struct Made {
    Order order;
    double damp;
    std::shared_ptr<const HessianFactor> factor;
  };
  const Context& context_;
  StageStats stats_;
  DeviceSolver* const device_;
  std::vector<Made> made_;
};

struct ModuleResult {
  std::shared_ptr<const QMatrix> q;
  ModuleReport report;
  std::string event;  // a fallback in words, or ""
};

// weight: the original in float32. stage: null when the module is rounded without calibration. metric: rows x block
// output metric (model/gradient.h), empty = identity. format decides the smallest zero point.
Result<ModuleResult> solve_module(const Model& model, size_t module, const ModulePlan& plan, MatrixView weight,
                                  StageSolver* stage, MatrixView metric, const Format& format, Progress* progress);

// AWQ clips the ranges of every layer but those whose products become attention scores: there it does harm (AutoAWQ
// 0.2.9, quantize/quantizer.py, _search_best_clip).
bool clips_ranges(const ModulePlan& plan, Role role);

}  // namespace qz
