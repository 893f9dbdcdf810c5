#include "run/moments.h"

#include <algorithm>
#include <initializer_list>

#include "base/checked.h"
#include "kernels/gemm.h"
#include "model/scratch.h"
#include "run/sizes.h"
#include "run/solve_memory.h"
#include "run/writer.h"

namespace qz {
namespace {

// Code and tables of the library, the linear algebra's work memory, descriptions of tensors, the report: measured.
constexpr uint64_t kCode = 3u << 20, kCodeRounding = 1u << 20, kCodeWriting = 1u << 20;
constexpr int64_t kSolveRows = 64, kTile = 128;  // rows of a right-hand side, columns of a tile: per thread
constexpr int64_t kLogitRows = 256;              // as model/label_gradient.cc has it

class RunMoments {
 public:
  RunMoments(const Model& model, const std::vector<ModulePlan>& plans, const RunSize& size)
      : model_(model), config_(model.config()), plans_(plans), size_(size) {
    for (size_t i = 0; i < plans.size(); i++) {
      calibrates_ = calibrates_ || plans[i].measures();
      transforms_ = transforms_ || plans[i].transform.kind != TransformKind::kNone;
      if (plans[i].method != Method::kGptq) continue;
      two_ = two_ || plans[i].gptq.two_streams();
      metric_ = std::max(metric_, plans[i].gptq.metric);
      widest_ = std::max(widest_, model.modules()[i].cols);
    }
    length_ = std::min(size.length, config_.max_seq);
    rows_ = size.sequences * length_;
    chunk_ = std::min(rows_, ceil_div(kChunkTokens, length_) * length_);
    const int64_t held = held_sequences(size.sequences, length_) * length_;
    judges_ = ceil_div(held, held_every(held));
    sides_ = two_ ? 2 : 1;
    chain_ = chain_rows(model);
  }

  std::vector<Moment> list(uint64_t largest_copy) {
    if (!calibrates_) {
      for (size_t i = 0; i < plans_.size(); i++) {
        if (plans_[i].method == Method::kKeep) continue;
        add_solving(always(), i, {}, false);
        remember(i);
      }
    } else {
      embed();
      if (metric_ > 0) measure();
      for (int64_t layer = 0; layer < config_.layers; layer++) block(layer);
      head();
    }
    Moment writing = always();
    writing.name = "copying the other tensors";
    writing.add("piece of a tensor", std::min(largest_copy, kCopyBytes));
    writing.add("inputs of o and down, all tokens", stash_);
    moments_.push_back(std::move(writing));
    return std::move(moments_);
  }

 private:
  struct Stage {
    std::vector<size_t> modules;
    int64_t cols = 0;
    bool residual = false;
  };

  const Module& module(size_t i) const { return model_.modules()[i]; }
  bool solved(size_t i) const { return plans_[i].method == Method::kGptq; }

  // What is there from the embedding to the end.
  Moment always() const {
    Moment m;
    const int64_t threads = model_.context().pool->threads();
    Count scratch((calibrates_ ? kCode : kCodeRounding) + (size_.in_memory ? 0 : kCodeWriting));
    if (calibrates_) {
      // Panels of products: of the Hessians, of the activations, of the solver.
      size_t panels = std::max(product_scratch(Products::kFast, widest_, chunk_),
                               product_scratch(Products::kExact, widest_, widest_));
      scratch += Count(panels);
      Count each = Count(task_scratch()) + floats(kSolveRows, widest_);
      if (measured_) each += floats(6 * chain_ + kTile, kTile);  // a chain's tiles
      scratch += each * Count(threads);
      m.add("residual streams of the calibration tokens", floats(rows_, config_.hidden), sides_);
      m.add("positions", floats(length_, config_.head_dim));
      for (size_t i = first_unsolved_; measured_ && i < plans_.size(); i++) m.add("output metrics", metric_bytes(i));
    }
    m.add("code and buffers of the threads", scratch);
    m.add("results so far", results_);
    return m;
  }

  void remember(size_t i) {
    if (size_.in_memory) results_ += matrix_bytes(module(i), plans_[i].scheme);
    first_unsolved_ = std::max(first_unsolved_, i + 1);
  }

  void push(Moment m, const std::string& name) {
    m.name = name;
    moments_.push_back(std::move(m));
  }

  Count ends() const {
    const Count table = (Count(config_.vocab) * Count(config_.embed_dim) * Count(dtype_bits(config_.dtype))).per(8);
    return table * Count(config_.tied ? 1 : 2);
  }

  void embed() {
    Moment m = always();
    m.add("embedding and head", ends());
    push(std::move(m), "embedding");
  }

  // The stream before every block, then, backwards, a block's activations with their gradients while those of the MLP
  // are taken (model/block_gradient.cc): five of the stream's width, projections, and three of the MLP's.
  void measure() {
    const MetricSize measured = metric_size(config_, size_.sequences, metric_);
    const int64_t rows = measured.sequences * std::min(measured.length, length_);
    const Count stream = floats(rows, config_.hidden);
    constexpr const char* kWhat = "activations while the metric is measured";
    Moment labels = always();
    labels.add(kWhat, stream, config_.layers + 2);
    labels.add("embedding and head", floats(config_.vocab, config_.embed_dim) + ends());
    labels.add("logits", floats(std::min<int64_t>(rows, kLogitRows), config_.vocab));
    push(std::move(labels), "measuring the gradients of the labels");
    Count metrics;
    for (int64_t layer = config_.layers - 1; layer >= 0; layer--) {
      Moment m = always();
      m.add("output metrics", metrics);
      m.add(kWhat, stream, layer + 6);
      const auto [first, end] = model_.block_modules(layer);
      int64_t projected = 0, inner = 0;
      Count largest;
      for (size_t i = first; i < end; i++) {
        if (module(i).expert > 0) continue;
        m.add("one block", dense_bytes(config_, module(i)));
        largest = std::max(largest, floats(module(i).rows, module(i).cols));
        if (projects(module(i).role)) projected += module(i).rows;
        if (module(i).role == Role::kDown) inner = std::max(inner, module(i).cols);
        metrics += metric_bytes(i);
      }
      m.add(kWhat, floats(rows, projected) + floats(rows, inner) * Count(3));
      m.add("weight in float32", largest);
      push(std::move(m), "measuring the output metric");
    }
    measured_ = true;
  }

  Count metric_bytes(size_t i) const {
    const bool has = solved(i) && plans_[i].gptq.metric > 0 && module(i).expert < 0;
    return has ? floats(module(i).rows, std::min(chain_, module(i).rows)) : Count();
  }
  static bool projects(Role role) {
    return role == Role::kQ || role == Role::kK || role == Role::kV || role == Role::kQkv;
  }

  // Modules of a block that read the same input and are quantized.
  Stage stage_of(int64_t layer, std::initializer_list<Role> roles, int64_t expert = -1) const {
    Stage s;
    const auto [first, end] = model_.block_modules(layer);
    for (size_t i = first; i < end; i++) {
      if (module(i).expert != expert || std::find(roles.begin(), roles.end(), module(i).role) == roles.end()) continue;
      if (plans_[i].method == Method::kKeep) continue;
      s.modules.push_back(i);
      s.cols = module(i).cols;
    }
    return s;
  }

  // The block's weights: the original's, and beside each of them its copy or what it became.
  void add_block(Moment* m, int64_t layer) const {
    const auto [first, end] = model_.block_modules(layer);
    constexpr const char* kWhat = "one block twice: the original and the one quantized so far";
    for (size_t i = first; i < end; i++) {
      if (module(i).expert >= 0) continue;
      const Count dense = transforms_ ? floats(module(i).rows, module(i).cols) : Count(dense_bytes(config_, module(i)));
      m->add(kWhat, dense);
      const bool done = i < first_unsolved_ && plans_[i].method != Method::kKeep;
      if (!done) {
        m->add(kWhat, dense);
      } else if (!size_.in_memory) {
        m->add(kWhat, matrix_bytes(module(i), plans_[i].scheme));
      }
    }
  }

  // Statistics of `tokens` inputs, then every module solved from them. base: what is there beside them.
  void run_stage(const Moment& base, const Stage& s, const Count& making, int64_t judges, int64_t tokens) {
    if (s.modules.empty()) return;
    const bool needs = std::any_of(s.modules.begin(), s.modules.end(), [&](size_t i) { return plans_[i].measures(); });
    Moment with = base;
    if (needs) {
      constexpr const char* kWhat = "statistics of one stage";
      const bool residual = s.residual && two_;
      with.add(kWhat, floats(s.cols, s.cols), sides_);
      with.add(kWhat, floats(judges, s.cols), sides_);
      if (residual) with.add(kWhat, floats(config_.hidden, s.cols) + floats(judges, config_.hidden));
      Moment collecting = with;
      const int64_t n = std::min(chunk_, tokens);
      collecting.add("inputs of some sequences", floats(n, s.cols), sides_);
      if (residual) collecting.add("inputs of some sequences", floats(n, config_.hidden));
      collecting.add("inputs of some sequences", making);
      push(std::move(collecting), "calibrating");
    }
    std::vector<std::pair<Order, double>> factors;
    for (const size_t i : s.modules) {
      const std::pair<Order, double> factor{plans_[i].gptq.order, plans_[i].gptq.damp};
      if (solved(i) && std::find(factors.begin(), factors.end(), factor) == factors.end()) factors.push_back(factor);
      Moment at = with;
      at.add("Hessian and its factor", floats(s.cols, s.cols), 2 * static_cast<int64_t>(factors.size()));
      add_solving(at, i, s, needs, judges);
    }
  }

  void add_solving(const Moment& base, size_t i, const Stage& s, bool needs, int64_t judges = 0) {
    SolveSize size;
    size.judges = judges;
    size.two = two_;
    size.residual = s.residual && module(i).rows == config_.hidden;
    size.chain = solved(i) && plans_[i].gptq.metric > 0 && module(i).expert < 0 ? std::min(chain_, module(i).rows) : 0;
    for (Moment& m : solving_moments(base, config_, module(i), plans_[i], size, needs))
      moments_.push_back(std::move(m));
  }

  // The scales of a block are searched before anything else: one chunk of tokens on its way through it, the sample's
  // inputs and outputs, and the layers of one place twice more, as floats and as codes (run/transform.cc).
  void scale(int64_t layer, int64_t width, int64_t inner) {
    Moment m = always();
    add_block(&m, layer);
    m.add("inputs of o and down, all tokens", stash_);
    const int64_t wide = std::max(inner, width), sample = std::min(kSampleTokens, rows_);
    m.add("inputs of some sequences", floats(chunk_, config_.hidden) + floats(chunk_, wide), 2);
    m.add("sample of the inputs", floats(sample, config_.hidden) + floats(sample, wide), 5);
    Count place;
    const auto [first, end] = model_.block_modules(layer);
    for (size_t i = first; i < end; i++) {
      Count sum;  // of the layers with the same input; experts are left as they are
      for (size_t j = first; j < end; j++)
        if (module(i).expert < 0 && module(j).expert < 0 && module(j).cols == module(i).cols)
          sum += floats(module(j).rows, module(j).cols);
      place = std::max(place, sum);
    }
    m.add("layers of one place, float32", place, 3);
    push(std::move(m), "searching scales");
  }

  // What a chunk takes on its way through the MLP, beside its result.
  Count through_mlp(int64_t inner, bool fused) const {
    return floats(chunk_, config_.hidden) +
           (fused ? floats(std::min<int64_t>(chunk_, 2048), 2 * inner) : floats(std::min(chunk_, kScratchRows), inner));
  }

  void block(int64_t layer) {
    const auto [first, end] = model_.block_modules(layer);
    const bool mixture = !config_.moe.layers.empty() && config_.moe.layers[static_cast<size_t>(layer)] != 0;
    const bool one_input = config_.parallel && model_.arch().mlp_norm.empty() && !mixture;
    const bool direct = model_.arch().attn_post_norm.empty() && !config_.residual_normed;
    const bool mlp_direct = model_.arch().mlp_post_norm.empty() && !config_.residual_normed && !mixture;
    int64_t width = config_.heads * config_.value_dim, inner = 0, projected = 0;
    bool fused = false;
    for (size_t i = first; i < end; i++) {
      const Module& m = module(i);
      if (m.role == Role::kDown && m.expert < 0) inner = m.cols;
      if (m.role == Role::kGateUp) fused = true;
      if (projects(m.role)) projected += m.rows;
    }
    if (transforms_) scale(layer, width, inner);
    const Count kept = config_.parallel || mixture ? floats(rows_, config_.hidden) * Count(sides_) : Count();
    const auto there = [&](bool keeps_inputs) {
      Moment m = always();
      add_block(&m, layer);
      m.add("inputs of o and down, all tokens", stash_);
      if (keeps_inputs) m.add("inputs of the MLP, all tokens", kept);
      return m;
    };
    const auto solve_stage = [&](std::initializer_list<Role> roles, bool residual, bool keeps_inputs, Count making) {
      Stage s = stage_of(layer, roles);
      s.residual = residual;
      run_stage(there(keeps_inputs), s, making, judges_, rows_);
      for (const size_t i : s.modules) remember(i);
    };
    if (one_input) {
      solve_stage(
          {Role::kQ, Role::kK, Role::kV, Role::kQkv, Role::kQA, Role::kKvA, Role::kGate, Role::kUp, Role::kGateUp},
          false, true, Count());
    } else {
      solve_stage({Role::kQ, Role::kK, Role::kV, Role::kQkv, Role::kQA, Role::kKvA}, false, config_.parallel, Count());
    }
    for (const Role role : {Role::kQB, Role::kKvB})
      solve_stage({role}, false, config_.parallel, floats(chunk_, config_.hidden + config_.latent.q_rank));
    stash_ = std::max(stash_, floats(rows_, width) * Count(sides_));
    Moment attention = there(config_.parallel);
    attention.add("activations of some sequences", floats(chunk_, config_.hidden));
    attention.add("activations of some sequences",
                  floats(std::min(chunk_, kScratchRows), std::max(projected, 3 * width)));
    push(std::move(attention), "attention");
    solve_stage({Role::kO}, direct, config_.parallel, Count());
    if (!mixture) {
      if (!one_input) solve_stage({Role::kGate, Role::kUp, Role::kGateUp}, false, config_.parallel, Count());
      const bool keeps = keeps_mlp_inputs(rows_, inner, sides_);
      if (keeps) stash_ = std::max(stash_, floats(rows_, inner) * Count(sides_));
      Moment mixing = there(config_.parallel);
      mixing.add("activations of some sequences", through_mlp(inner, fused));
      push(std::move(mixing), "MLP");
      solve_stage({Role::kDown}, mlp_direct, config_.parallel, keeps ? Count() : through_mlp(inner, fused));
      return;
    }
    experts(layer, there(true), inner, fused);
  }

  // One expert stands for all of its layer.
  void experts(int64_t layer, Moment base, int64_t shared, bool fused) {
    base.add("outputs of the MLP, all tokens", floats(rows_, config_.hidden), sides_);
    if (shared > 0) {
      for (const bool down : {false, true}) {
        const Stage s =
            down ? stage_of(layer, {Role::kDown}) : stage_of(layer, {Role::kGate, Role::kUp, Role::kGateUp});
        run_stage(base, s, down ? through_mlp(shared, fused) : Count(), judges_, rows_);
        for (const size_t i : s.modules) remember(i);
      }
    }
    const int64_t per_token = config_.moe.per_token;
    base.add("routes", floats(rows_, config_.moe.experts + 5 * per_token), sides_);
    const int64_t share = ceil_div(rows_ * per_token, config_.moe.experts);
    const int64_t tokens = std::min(rows_, std::max(share, config_.hidden));
    const auto [first, end] = model_.block_modules(layer);
    int64_t inner = 0;
    for (size_t i = first; i < end; i++) {
      if (module(i).expert != 0) continue;
      base.add("one expert twice", dense_bytes(config_, module(i)), 2);
      if (module(i).role == Role::kDown) inner = module(i).cols;
    }
    const int64_t judges = std::min(judges_, ceil_div(judges_ * tokens, std::max<int64_t>(rows_, 1)) * 2);
    run_stage(base, stage_of(layer, {Role::kGate, Role::kUp, Role::kGateUp}, 0), Count(), judges, tokens);
    const int64_t some = std::min(kChunkTokens, tokens);
    run_stage(base, stage_of(layer, {Role::kDown}, 0), floats(some, config_.hidden) + floats(some, inner), judges,
              tokens);
    for (size_t i = first; i < end; i++)
      if (module(i).expert >= 0 && plans_[i].method != Method::kKeep) remember(i);
  }

  void head() {
    const size_t i = plans_.size() - 1;
    if (module(i).layer >= 0 || plans_[i].method == Method::kKeep) return;
    Moment m = always();
    m.add("inputs of o and down, all tokens", stash_);
    Moment collecting = m;
    collecting.add("embedding and head", ends());
    Stage s;
    s.modules = {i};
    s.cols = module(i).cols;
    run_stage(collecting, s, Count(), judges_, rows_);
    remember(i);
  }

  const Model& model_;
  const ModelConfig& config_;
  const std::vector<ModulePlan>& plans_;
  const RunSize& size_;
  std::vector<Moment> moments_;
  bool calibrates_ = false, transforms_ = false, two_ = false,
       measured_ = false;  // measured_: the output metrics are there
  int32_t metric_ = 0;
  int64_t length_ = 0, rows_ = 0, chunk_ = 0, judges_ = 0, sides_ = 1, widest_ = 0, chain_ = 0;
  size_t first_unsolved_ = 0;  // modules before it are solved, as far as they are quantized
  Count stash_, results_;
};

}  // namespace

std::vector<Moment> run_moments(const Model& model, const std::vector<ModulePlan>& plans, const RunSize& size,
                                uint64_t largest_copy) {
  return RunMoments(model, plans, size).list(largest_copy);
}

}  // namespace qz
