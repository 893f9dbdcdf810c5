#include <algorithm>

#include "model/latent.h"
#include "model/scratch.h"
#include "run/experts.h"
#include "run/pipeline_run.h"
#include "run/sizes.h"
#include "run/transform.h"

namespace qz {

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
    QZ_ASSIGN(StageStats stats,
              streams_->collect(fast_.context(), cols, residual, timed, options_.progress, device_.get()));
    solver = std::make_unique<StageSolver>(context_, std::move(stats), device_.get());
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
                          device_.get(),
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
    QZ_ASSIGN(StageStats stats, streams_->collect(fast_.context(), model_.modules()[i].cols, false, produce,
                                                  options_.progress, device_.get()));
    solver = std::make_unique<StageSolver>(context_, std::move(stats), device_.get());
  }
  QZ_ASSIGN(const Matrix weight, load_weight(i));
  return solve(i, weight, solver.get(), nullptr);
}

}  // namespace qz
