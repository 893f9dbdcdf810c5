#include "run/pipeline.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/pages.h"
#include "model/latent.h"
#include "model/scratch.h"
#include "run/experts.h"
#include "run/memory.h"
#include "run/metrics.h"
#include "run/rounds.h"
#include "run/sizes.h"
#include "run/solve.h"
#include "run/streams.h"
#include "run/transform.h"
#include "run/writer.h"

namespace qz {
namespace {

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
  Matrix stash_, stash_original_;  // what o and down read, all tokens, one after the other in the same memory
  std::vector<OutputMetric> metrics_;
  RopeTable rope_;
  RunReport report_;
  std::map<size_t, std::shared_ptr<const QMatrix>> matrices_;
  Vectors changed_;
};

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

Status Run::stage(Block* current, const Block& original, const std::vector<Role>& roles, int64_t cols, bool residual,
                  const Streams::Produce& produce) {
  bool quantizes = false, needs_stats = false;
  for (const Role role : roles) {
    const size_t i = index(role, current->layer);
    if (i >= modules_.size()) continue;
    quantizes = quantizes || modules_[i].method != Method::kKeep;
    needs_stats = needs_stats || modules_[i].measures();
  }
  if (!quantizes) return {};
  if (options_.progress) options_.progress->info.phase = "calibrate";
  std::unique_ptr<StageSolver> solver;
  if (needs_stats) {
    const Clock::Timed summing(&clock_, Phase::kHessian);
    const auto timed = [&](const Chunk& chunk, bool plain, float* x) {
      const Clock::Timed running(&clock_, Phase::kForward);
      return produce(chunk, plain, x);
    };
    QZ_ASSIGN(StageStats stats, streams_->collect(fast_.context(), cols, residual, timed, options_.progress));
    solver = std::make_unique<StageSolver>(context_, std::move(stats));
  }
  for (const Role role : roles) {
    const size_t i = index(role, current->layer);
    if (i >= modules_.size() || modules_[i].method == Method::kKeep) continue;
    QZ_TRY(solve(i, original.at(role).to_f32(), solver.get(), &current->at(role)));
  }
  return {};
}

Status Run::transform(Block* block) {
  const Clock::Timed solving(&clock_, Phase::kSolve);
  at("scale", block->layer, 0);
  const TransformJob job = {model_, fast_, modules_, *format_, rope_, streams_->chunks(), streams_->quantized()};
  QZ_ASSIGN(Rescaled done, transform_block(job, block, options_.progress));
  for (const auto& [module, by] : done.divided) {  // a row divided by s has s times the gradient
    if (module >= metrics_.size() || metrics_[module].g.empty()) continue;
    scale_metric(by, &metrics_[module]);
  }
  for (auto& [name, values] : done.vectors) {
    report_.changed.push_back({name, hash_vector(values)});
    if (writer_)
      writer_->replace(name, std::move(values));
    else
      changed_[name] = std::move(values);
  }
  return {};
}

Status Run::block(int64_t layer) {
  const auto read = [&] {
    const Clock::Timed reading(&clock_, Phase::kRead);
    return load_block(model_, layer, Experts::kOnDemand);
  };
  QZ_ASSIGN(Block original, read());
  // Experts are read one by one, and together may be more than the system keeps.
  if (model_.config().moe.experts == 0) {
    const auto [first, end] = model_.block_modules(layer + 1);
    model_.will_need(first, end);
  }
  if (transforms_) QZ_TRY(transform(&original));
  Block current = original;
  const ModelConfig& config = model_.config();
  const int64_t width = current.o.cols, inner = current.mlp.down.cols;
  // A half's result goes into the stream as it is: only then can it make up for the error that is there already.
  const bool direct = current.attn_post_norm.weight.empty() && !config.residual_normed;
  const bool mlp_direct = current.mlp_post_norm.weight.empty() && !config.residual_normed;
  Matrix &rq = streams_->quantized(), &ro = streams_->original();
  auto rows_of = [](Matrix& m, const Chunk& c) {
    return MatrixView{m.row(c.row), c.sequences.rows(), m.cols(), m.cols()};
  };
  Progress* progress = options_.progress;

  at("calibrate", layer, 0);
  // Parallel blocks: the MLP reads the stream from before the attention's output, and, where both halves share their
  // norm, what q, k and v read.
  const bool one_input = config.parallel && model_.arch().mlp_norm.empty() && !original.mixture();
  Matrix xq, xo;  // what the MLP reads, where it must be kept
  auto keep_input = [&]() -> Status {
    xq = Matrix(streams_->rows(), config.hidden), xo = Matrix(two_ ? streams_->rows() : 0, config.hidden);
    for (int side = 0; side < (two_ ? 2 : 1); side++)
      for (const Chunk& c : streams_->chunks())
        QZ_TRY(mlp_input(fast_, side ? original : current, rows_of(side ? ro : rq, c), (side ? xo : xq).row(c.row)));
    return {};
  };
  if (config.parallel) QZ_TRY(keep_input());
  std::vector<Role> first = {Role::kQ, Role::kK, Role::kV, Role::kQkv, Role::kQA, Role::kKvA};
  if (one_input) first.insert(first.end(), {Role::kGate, Role::kUp, Role::kGateUp});
  QZ_TRY(stage(&current, original, first, config.hidden, false, [&](const Chunk& c, bool plain, float* x) {
    return attention_input(fast_, plain ? original : current, rows_of(plain ? ro : rq, c), x);
  }));

  for (const Role role : {Role::kQB, Role::kKvB}) {  // of latent attention
    if (!original.at(role).present()) continue;
    const auto latent = [&](const Chunk& c, bool plain, float* out) {
      const Block& b = plain ? original : current;
      Matrix x(c.sequences.rows(), config.hidden);
      QZ_TRY(attention_input(fast_, b, rows_of(plain ? ro : rq, c), x.data()));
      return latent_input(fast_, b, role, x.view(), out, progress);
    };
    QZ_TRY(stage(&current, original, {role}, original.at(role).cols, false, latent));
  }

  at("calibrate", layer, 0.25);
  stash_.reshape(streams_->rows(), width);
  stash_original_.reshape(two_ ? streams_->rows() : 0, width);
  Matrix &aq = stash_, &ao = stash_original_;
  for (int side = 0; side < (two_ ? 2 : 1); side++)
    for (const Chunk& c : streams_->chunks()) {
      const Block& b = side ? original : current;
      const Scratch x(c.sequences.rows() * config.hidden);
      QZ_TRY(attention_input(fast_, b, rows_of(side ? ro : rq, c), x.data()));
      QZ_TRY(attention_mix(fast_, b, rope_, c.sequences, x.view(c.sequences.rows(), config.hidden), nullptr,
                           (side ? ao : aq).row(c.row), progress));
    }
  QZ_TRY(stage(&current, original, {Role::kO}, width, direct, [&](const Chunk& c, bool plain, float* x) {
    const Matrix& a = plain ? ao : aq;
    std::copy_n(a.row(c.row), c.sequences.rows() * width, x);
    return Status();
  }));
  for (int side = 0; side < (two_ ? 2 : 1); side++)
    for (const Chunk& c : streams_->chunks())
      QZ_TRY(attention_output(fast_, side ? original : current, rows_of(side ? ao : aq, c), (side ? ro : rq).row(c.row),
                              progress));

  at("calibrate", layer, 0.5);
  if (original.mixture()) {
    if (!config.parallel) QZ_TRY(keep_input());
    return mixture(&current, original, xq, xo);
  }
  auto input = [&](const Chunk& c, bool plain, float* x) {
    if (!config.parallel) return mlp_input(fast_, plain ? original : current, rows_of(plain ? ro : rq, c), x);
    std::copy_n((plain ? xo : xq).row(c.row), c.sequences.rows() * config.hidden, x);
    return Status();
  };
  if (!one_input)
    QZ_TRY(stage(&current, original, {Role::kGate, Role::kUp, Role::kGateUp}, config.hidden, false, input));

  at("calibrate", layer, 0.75);
  const bool keeps = keeps_mlp_inputs(streams_->rows(), inner, two_ ? 2 : 1);
  stash_.reshape(keeps ? streams_->rows() : 0, inner);
  stash_original_.reshape(keeps && two_ ? streams_->rows() : 0, inner);
  Matrix &mq = stash_, &mo = stash_original_;
  auto mix = [&](const Chunk& c, bool plain, float* m) {
    const Scratch x(c.sequences.rows() * config.hidden);
    QZ_TRY(input(c, plain, x.data()));
    return mlp_mix(fast_, plain ? original : current, x.view(c.sequences.rows(), config.hidden), m, progress);
  };
  if (keeps)
    for (int side = 0; side < (two_ ? 2 : 1); side++)
      for (const Chunk& c : streams_->chunks()) QZ_TRY(mix(c, side, (side ? mo : mq).row(c.row)));
  QZ_TRY(stage(&current, original, {Role::kDown}, inner, mlp_direct, [&](const Chunk& c, bool plain, float* m) {
    if (!keeps) return mix(c, plain, m);
    std::copy_n((plain ? mo : mq).row(c.row), c.sequences.rows() * inner, m);
    return Status();
  }));
  for (int side = 0; side < (two_ ? 2 : 1); side++)
    for (const Chunk& c : streams_->chunks()) {
      Matrix m(keeps ? 0 : c.sequences.rows(), inner);
      if (!keeps) QZ_TRY(mix(c, side, m.data()));
      const MatrixView view = keeps ? rows_of(side ? mo : mq, c) : m.view();
      QZ_TRY(mlp_output(fast_, side ? original : current, {}, view, (side ? ro : rq).row(c.row), progress));
    }
  return {};
}

Status Run::mixture(Block* current, const Block& original, const Matrix& x, const Matrix& x_original) {
  const int64_t layer = current->layer, hidden = x.cols(), inner = original.mlp.down.cols, rows = x.rows();
  const auto part = [](const Matrix& m, const Chunk& c) {
    return MatrixView{m.row(c.row), c.sequences.rows(), m.cols(), m.cols()};
  };
  Progress* progress = options_.progress;
  Matrix y(rows, hidden), y_original(x_original.rows(), hidden);  // what the MLP gives
  if (inner > 0) {
    QZ_TRY(stage(current, original, {Role::kGate, Role::kUp, Role::kGateUp}, hidden, false,
                 [&](const Chunk& c, bool plain, float* out) {
                   std::copy_n((plain ? x_original : x).row(c.row), c.sequences.rows() * hidden, out);
                   return Status();
                 }));
    auto mix = [&](const Chunk& c, bool plain, float* m) {
      return mlp_mix(fast_, plain ? original : *current, part(plain ? x_original : x, c), m, progress);
    };
    QZ_TRY(stage(current, original, {Role::kDown}, inner, false, mix));
    for (int side = 0; side < (two_ ? 2 : 1); side++)
      for (const Chunk& c : streams_->chunks()) {
        Matrix m(c.sequences.rows(), inner);
        QZ_TRY(mix(c, side, m.data()));
        QZ_TRY(add_shared(fast_, side ? original : *current, part(side ? x_original : x, c), m.view(),
                          (side ? y_original : y).row(c.row), progress));
      }
  }
  at("calibrate", layer, 0.6);
  const ExpertsJob job = {&clock_,
                          fast_,
                          *streams_,
                          *current,
                          original,
                          x.view(),
                          x_original.view(),
                          [&](size_t i) { return modules_[i].method != Method::kKeep; },
                          [&](size_t i) { return modules_[i].measures(); },
                          [&](size_t i, const Matrix& weight, StageSolver* solver, int64_t routed, Linear* replace) {
                            return solve(i, weight, solver, replace, routed);
                          }};
  std::vector<std::string> events;
  QZ_TRY(solve_experts(job, y.data(), two_ ? y_original.data() : nullptr, &events, progress));
  for (std::string& event : events) note(std::move(event));
  QZ_TRY(mlp_add(fast_, *current, y.view(), streams_->quantized().data()));
  return two_ ? mlp_add(fast_, original, y_original.view(), streams_->original().data()) : Status();
}

Status Run::head() {
  const size_t i = modules_.size() - 1;
  if (model_.modules()[i].layer >= 0 || modules_[i].method == Method::kKeep) return {};
  at("calibrate", model_.config().layers, 0);
  std::unique_ptr<StageSolver> solver;
  if (modules_[i].measures()) {
    QZ_ASSIGN(const Ends ends, Ends::load(model_));
    const Clock::Timed summing(&clock_, Phase::kHessian);
    const auto produce = [&](const Chunk& c, bool plain, float* x) {
      const Clock::Timed running(&clock_, Phase::kForward);
      Matrix& r = plain ? streams_->original() : streams_->quantized();
      return ends.head_input(fast_, {r.row(c.row), c.sequences.rows(), r.cols(), r.cols()}, x);
    };
    QZ_ASSIGN(StageStats stats,
              streams_->collect(fast_.context(), model_.modules()[i].cols, false, produce, options_.progress));
    solver = std::make_unique<StageSolver>(context_, std::move(stats));
  }
  QZ_ASSIGN(const Matrix weight, load_weight(i));
  return solve(i, weight, solver.get(), nullptr);
}

Result<ModelPtr> Run::finish(const PeakWatch& watch) {
  const Clock::Timed writing(&clock_, Phase::kWrite);
  release_unused();
  at("write", model_.config().layers, 0);
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

}  // namespace

Result<ModelPtr> run_plan(const Plan& plan, const TokenSet* calibration, const RunOptions& options) {
  const ReleaseUnusedAtEnd release;
  const PeakWatch watch(plan, calibration, options.format, options.stream_to.empty());
  Run run(plan, calibration, options, nullptr);
  QZ_TRY(run.calibrate());
  return run.finish(watch);
}

Status probe_plan(const Plan& plan, const TokenSet& calibration, const RunOptions& options, const Probe& probe) {
  const ReleaseUnusedAtEnd release;
  return Run(plan, &calibration, options, &probe).calibrate();
}

}  // namespace qz
