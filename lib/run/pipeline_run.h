// A run of the pipeline: what its steps share. pipeline.cc begins and ends it, pipeline_blocks.cc takes the blocks and
// the head through it. Nothing else includes this.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "run/clock.h"
#include "run/memory.h"
#include "run/metrics.h"
#include "run/pipeline.h"
#include "run/solve.h"
#include "run/streams.h"
#include "run/writer.h"

namespace qz {

class Run {
 public:
  Run(const Plan& plan, const TokenSet* calibration, const RunOptions& options, const Probe* probe)
      : probe_(probe),
        plan_(plan),
        model_(*plan.model()),
        context_(model_.context()),
        fast_ptr_(Model::with_context(model_, with_products(model_.context_ptr(), Products::kFast))),
        fast_(*fast_ptr_),
        calibration_(calibration),
        options_(options) {}

  Status calibrate();
  Result<ModelPtr> finish(const PeakWatch& watch);

 private:
  size_t index(Role role, int64_t layer) const {
    return module_at_[static_cast<size_t>(layer)][static_cast<size_t>(role)];
  }
  Status prepare();
  Status transform(Block* block);
  void note(std::string event);
  Status round(size_t first, size_t end);
  Status without_calibration();
  Status others();
  Status block(int64_t layer);
  Status head();
  // Collects a stage's statistics if a module of it needs them, solves its modules, and puts the results into
  // `current`.
  Status stage(Block* current, const Block& original, const std::vector<Role>& roles, int64_t cols, bool residual,
               const Streams::Produce& produce);
  // routed: of an expert, the tokens that its router sends to it; else -1.
  Status solve(size_t module, const Matrix& weight, StageSolver* stage, Linear* replace, int64_t routed = -1);
  // The MLP of a block with experts: x, x_original what it reads in both streams, to which its output is added.
  Status mixture(Block* current, const Block& original, const Matrix& x, const Matrix& x_original);
  Status keep(size_t module, ModuleResult result);
  void at(const char* phase, int64_t layer, double part);
  Result<Matrix> load_weight(size_t module) {
    const Clock::Timed reading(&clock_, Phase::kRead);
    return model_.load_weight(module);
  }

  Clock clock_;
  const Probe* const probe_;  // null: modules are solved
  const Plan& plan_;
  const Model& model_;
  const Context& context_;
  // What computes activations, gradients and their sums: a model of bfloat16 activations would see the same rounding,
  // and the accuracy of the result does not suffer (docs/accuracy.md). The solver itself is exact.
  const ModelPtr fast_ptr_;
  const Model& fast_;
  const TokenSet* calibration_;
  const RunOptions& options_;
  const Format* format_ = nullptr;
  std::vector<ModulePlan> modules_;
  std::vector<std::array<size_t, kRoles>> module_at_;  // [layer][role] -> module
  bool calibrates_ = false, two_ = false, transforms_ = false;
  std::unique_ptr<ModelWriter> writer_;
  std::unique_ptr<Streams> streams_;
  std::unique_ptr<DeviceSolver> device_;  // null: the CPU
  Matrix stash_, stash_original_;         // what o and down read, all tokens, one after the other in the same memory
  std::vector<OutputMetric> metrics_;
  RopeTable rope_;
  RunReport report_;
  std::map<size_t, std::shared_ptr<const QMatrix>> matrices_;
  Vectors changed_;
};

}  // namespace qz
