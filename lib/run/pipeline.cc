#include "run/pipeline_run.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/pages.h"
#include "run/rounds.h"
#include "run/sizes.h"
#include "run/transform.h"

namespace qz {

void Run::at(const char* phase, int64_t layer, double part) {
  if (!options_.progress) return;
  ProgressInfo& info = options_.progress->info;
  info.phase = phase;
  info.layer = static_cast<int32_t>(layer);
  info.layers = static_cast<int32_t>(model_.config().layers);
  info.fraction = std::min(1.0, (static_cast<double>(layer) + part) / static_cast<double>(model_.config().layers));
}

Status Run::prepare() {
  const FormatId id = options_.format == FormatId::kDefault ? FormatId::kCompressed : options_.format;
  if (model_.format() != FormatId::kPlain)
    return error(Code::kUnsupported, "%s: already quantized (%s); start from the original",
                 model_.checkpoint()->dir().c_str(), find_format(model_.format())->name.data());
  if (model_.checkpoint()->tensors().empty())
    return error(Code::kInvalidArgument, "the model was opened from its configuration only");
  QZ_ASSIGN(modules_, resolve_plan(plan_, id, calibration_ && calibration_->tokens() > 0));
  format_ = find_format(id);
  report_.format = std::string(format_->name);
  module_at_.assign(static_cast<size_t>(model_.config().layers), {});
  for (auto& row : module_at_) row.fill(modules_.size());
  int64_t widest = 0;
  bool any = false, solves = false;
  for (size_t i = 0; i < modules_.size(); i++) {
    const Module& m = model_.modules()[i];
    if (m.layer >= 0 && m.expert < 0) module_at_[static_cast<size_t>(m.layer)][static_cast<size_t>(m.role)] = i;
    any = any || modules_[i].method != Method::kKeep;
    calibrates_ = calibrates_ || modules_[i].measures();
    transforms_ = transforms_ || modules_[i].transform.kind != TransformKind::kNone;
    if (modules_[i].method != Method::kGptq) continue;
    solves = true;
    two_ = two_ || modules_[i].gptq.two_streams();
    widest = std::max(widest, m.cols);
  }
  if (!any) return error(Code::kInvalidArgument, "the plan keeps every module: there is nothing to quantize");
  if (calibration_) {
    report_.calibration_sequences = calibration_->count();
    report_.calibration_tokens = calibration_->tokens();
    report_.calibration_hash = calibration_->hash();
  }
  for (std::string& text : transform_notes(model_, modules_)) note(std::move(text));
  if (plan_.importance) {
    const auto weighed = std::count_if(modules_.begin(), modules_.end(), [](const auto& m) { return m.importance; });
    const std::string event = weighed == 0 ? "the importance matrix is not used: no module is rounded to block codes"
                                           : std::to_string(weighed) + " modules are rounded by the importance matrix";
    if (weighed == 0 && options_.strict) return error(Code::kInvalidArgument, "%s", event.c_str());
    note(event);
  }
  if (solves && calibration_->tokens() < widest) {
    const Status few = error(
        Code::kInvalidArgument,
        "%lld calibration tokens are fewer than the %lld inputs of the widest layer: its Hessian rests on the damping",
        static_cast<long long>(calibration_->tokens()), static_cast<long long>(widest));
    if (options_.strict) return few;
    note(few.text());
  }
  if (!options_.stream_to.empty()) {
    WriteOptions write;
    write.format = id;
    write.overwrite = options_.overwrite;
    write.shard_bytes = options_.shard_bytes;
    QZ_ASSIGN(writer_, ModelWriter::create(model_, summarize_plan(model_, modules_), options_.stream_to, write));
  }
  return {};
}

void Run::note(std::string event) {
  context_.log(LogLevel::kWarn, "%s", event.c_str());
  report_.events.push_back(std::move(event));
}

Status Run::keep(size_t module, ModuleResult result) {
  result.report.sha256 = hash_qmatrix(*result.q);
  if (!result.event.empty()) note(std::move(result.event));
  report_.modules.push_back(std::move(result.report));
  if (writer_) return writer_->write_matrix(module, *result.q);
  matrices_[module] = result.q;
  return {};
}

Status Run::solve(size_t module, const Matrix& weight, StageSolver* stage, Linear* replace, int64_t routed) {
  const Clock::Timed solving(&clock_, Phase::kSolve);
  release_unused();
  if (options_.progress) {
    options_.progress->info.phase = "solve";
    options_.progress->info.module = model_.modules()[module].name.c_str();
    QZ_TRY(options_.progress->poll());
  }
  const bool measured = module < metrics_.size() && !metrics_[module].g.empty();
  const MatrixView metric = measured ? metrics_[module].g.view() : MatrixView();
  if (probe_) {
    QZ_TRY((*probe_)(module, weight.view(), stage, metric));
    if (module < metrics_.size()) metrics_[module] = {};
    return {};
  }
  QZ_ASSIGN(ModuleResult result,
            solve_module(model_, module, modules_[module], weight.view(), stage, metric, *format_, options_.progress));
  result.report.routed = routed;
  if (replace) replace->set_matrix(result.q);
  if (module < metrics_.size()) metrics_[module] = {};
  const Clock::Timed writing(&clock_, Phase::kWrite);
  const Status kept = keep(module, std::move(result));
  release_unused();
  return kept;
}

// While all threads round one module, nothing else goes on; between two of them one thread reads the next weight and
// another puts the last result away (run/rounds.h).
Status Run::round(size_t first, size_t end) {
  std::vector<size_t> order;
  for (size_t i = first; i < end; i++)
    if (modules_[i].method != Method::kKeep) order.push_back(i);
  const Clock::Timed reading(&clock_, Phase::kRead);  // writing, too: they happen at the same time
  Rounds rounds;
  rounds.load = [&](size_t i) { return model_.load_weight(i); };
  rounds.will_need = [&](size_t i) { model_.will_need(i, i + 1); };
  rounds.solve = [&](size_t i, const Matrix& weight) -> Result<ModuleResult> {
    const Clock::Timed solving(&clock_, Phase::kSolve);
    at("solve", std::max<int64_t>(0, model_.modules()[i].layer), 0);
    if (options_.progress) {
      options_.progress->info.module = model_.modules()[i].name.c_str();
      QZ_TRY(options_.progress->poll());
    }
    return solve_module(model_, i, modules_[i], weight.view(), nullptr, {}, *format_, options_.progress);
  };
  rounds.keep = [&](size_t i, ModuleResult result) { return keep(i, std::move(result)); };
  return run_rounds(context_, order, rounds);
}

Status Run::without_calibration() { return round(0, modules_.size()); }

// What lies outside the language part.
Status Run::others() {
  size_t end = 0;
  while (end < modules_.size() && model_.modules()[end].role == Role::kOther) end++;
  return round(0, end);
}

Result<ModelPtr> Run::finish(const PeakWatch& watch) {
  const Clock::Timed writing(&clock_, Phase::kWrite);
  release_unused();
  at("write", model_.config().layers, 0);
  if (device_) {
    report_.events.push_back(device_->summary());
    context_.log(LogLevel::kInfo, "%s", report_.events.back().c_str());
  }
  if (options_.progress) options_.progress->info.module = "";
  const auto report = [&] {  // late: copying may take the most
    report_.seconds = clock_.so_far();
    return report_to_json(watch.complete(&report_));
  };
  if (!writer_)
    return Model::with_matrices(plan_.model(), std::move(matrices_), format_->id,
                                std::make_shared<const Json>(report()), std::move(changed_));
  QZ_TRY(writer_->finish(report, options_.progress));
  writer_.reset();
  return Model::open(model_.context_ptr(), options_.stream_to);
}

Status Run::calibrate() {
  QZ_TRY(prepare());
  if (options_.progress) {
    at("calibrate", 0, 0);
    QZ_TRY(options_.progress->force());
  }
  if (options_.backend && calibrates_)
    device_ = std::make_unique<DeviceSolver>(options_.backend, options_.device,
                                             [this](std::string event) { note(std::move(event)); });
  if (options_.backend && !calibrates_) note("the device is not used: no module needs calibration");
  if (!calibrates_) return without_calibration();
  const Clock::Timed running(&clock_, Phase::kForward);
  if (!probe_) QZ_TRY(others());
  QZ_ASSIGN(Streams streams, Streams::create(model_, *calibration_, two_));
  if (streams.cut_sequences() > 0)
    report_.events.push_back(std::to_string(streams.cut_sequences()) +
                             " calibration sequences were longer than the model's " +
                             std::to_string(model_.config().max_seq) + " positions and were cut");
  int64_t longest = 0;
  for (const Chunk& c : streams.chunks())
    for (int64_t i = 0; i < c.sequences.count(); i++) longest = std::max(longest, c.sequences.length(i));
  rope_ = make_rope_table(model_.config(), longest);
  streams_ = std::make_unique<Streams>(std::move(streams));
  {
    const Clock::Timed measuring(&clock_, Phase::kGradients);
    QZ_ASSIGN(metrics_,
              measure_metrics(fast_, *calibration_, modules_, options_.seed, &report_.events, options_.progress));
  }
  for (int64_t layer = 0; layer < model_.config().layers; layer++) {
    QZ_TRY(block(layer).with_prefix("layer " + std::to_string(layer)));
    if (options_.progress) QZ_TRY(options_.progress->force());
  }
  return head();
}

Result<ModelPtr> run_plan(const Plan& plan, const TokenSet* calibration, const RunOptions& options) {
  const ReleaseUnusedAtEnd release;
  const PeakWatch watch(plan, calibration, options.format, options.stream_to.empty(), options.backend != nullptr);
  Run run(plan, calibration, options, nullptr);
  QZ_TRY(run.calibrate());
  return run.finish(watch);
}

Status probe_plan(const Plan& plan, const TokenSet& calibration, const RunOptions& options, const Probe& probe) {
  const ReleaseUnusedAtEnd release;
  return Run(plan, &calibration, options, &probe).calibrate();
}

}  // namespace qz
