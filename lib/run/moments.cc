#include "run/moments.h"

#include <algorithm>
#include <initializer_list>
#include <set>

#include "base/checked.h"
#include "kernels/gemm.h"
#include "kernels/scratch.h"
#include "method/device_hessian.h"
#include "model/scratch.h"
#include "run/gradient_memory.h"
#include "run/scale_memory.h"
#include "run/sizes.h"
#include "run/solve_memory.h"
#include "run/writer.h"

namespace qz {
namespace {

// Code and tables of the library, the linear algebra's work memory, descriptions of tensors, the report: measured.
constexpr uint64_t kCode = 3u << 20, kCodeRounding = 1u << 20, kCodeWriting = 1u << 20;
constexpr int64_t kBusiest =
    3;                          // halves of an even share that go to the busiest expert, with routers of random weights
constexpr int64_t kTile = 128;  // columns of a tile: per thread

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
    if (calibrates_) panels_ = panels();
    chain_ = chain_rows(model);
  }

  std::vector<Moment> list(uint64_t largest_copy) {
    if (!calibrates_) {
      for (size_t i = 0; i < plans_.size(); i++) {
        if (plans_[i].method == Method::kKeep) continue;
        add_solving(always(), i, {}, false);
        remember(i);
        last_ = on_its_way(i);
      }
    } else {
      embed();
      if (metric_ > 0 && config_.causal) measure();
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
  // While one thread reads the next weight, another hashes, packs and writes this module's matrix.
  Count on_its_way(size_t i) const {
    const Format* format = find_format(size_.format == FormatId::kDefault ? FormatId::kCompressed : size_.format);
    if (size_.in_memory || format == nullptr || model_.context().pool->threads() < 2) return {};
    Count bytes = matrix_bytes(module(i), plans_[i].scheme);
    for (const PartSpec& part : format->layout(plans_[i].scheme, module(i).rows, module(i).cols, false)) {
      Count size(dtype_bits(part.dtype) / 8);
      for (const int64_t d : part.shape) size = size * Count(d);
      bytes += size;
    }
    return bytes;
  }
  bool solved(size_t i) const { return plans_[i].method == Method::kGptq; }

  // Panels that products leave with the thread that starts them: of the Hessians, of the solver, of the block's layers.
  size_t panels() const {
    size_t bytes = std::max(product_scratch(Products::kFast, widest_, widest_, chunk_),
                            product_scratch(Products::kExact, widest_, widest_, widest_));
    for (size_t i = 0; i < plans_.size(); i++) {
      const Module& m = module(i);
      if (m.layer < 0 && plans_[i].method == Method::kKeep) continue;
      bytes = std::max(bytes, product_scratch(Products::kFast, chunk_, m.rows, m.cols));
      if (transforms_) bytes = std::max(bytes, product_scratch(Products::kExact, chunk_, m.rows, m.cols));
    }
    return bytes;
  }

  // What is there from the embedding to the end.
  Moment always() const {
    Moment m;
    const int64_t threads = model_.context().pool->threads();
    Count scratch((calibrates_ ? kCode : kCodeRounding) + (size_.in_memory ? 0 : kCodeWriting));
    if (calibrates_) {
      scratch += Count(panels_ - std::min(panels_, kept_shared_scratch()));  // what is kept is resident already
      Count each(task_scratch());
      if (measured_) each += floats(6 * chain_ + kTile, kTile);  // a chain's tiles
      scratch += each * Count(threads);
      m.add("residual streams of the calibration tokens", floats(rows_, config_.hidden), sides_);
      m.add("positions", floats(length_, config_.head_dim));
      for (size_t i = first_unsolved_; measured_ && i < plans_.size(); i++)
        m.add("output metrics", floats(module(i).rows, metric_rows(i)));
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

  void measure() {
    const MetricSize measured = metric_size(config_, size_.sequences, metric_);
    const GradientSize size = {measured.sequences * std::min(measured.length, length_), chain_};
    panels_ = std::max(panels_, gradient_panels(model_, size));
    for (Moment& m : gradient_moments(always(), model_, size)) moments_.push_back(std::move(m));
    measured_ = true;
  }

  // A module's output metric; 0 rows: it has none. The head's is not measured, nor an expert's.
  int64_t metric_rows(size_t i) const {
    const bool has =
        measured_ && solved(i) && plans_[i].gptq.metric > 0 && module(i).expert < 0 && module(i).layer >= 0;
    return has ? std::min(chain_, module(i).rows) : 0;
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
      const Count dense =
          rescaled_.count(i) > 0 ? floats(module(i).rows, module(i).cols) : Count(dense_bytes(config_, module(i)));
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
      if (size_.device && n > 0)
        collecting.add("inputs for the device, bfloat16", DeviceHessian::host_bytes(s.cols, n));
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
    size.chain = metric_rows(i);
    size.last = last_;
    for (Moment& m : solving_moments(base, config_, module(i), plans_[i], size, needs))
      moments_.push_back(std::move(m));
  }

  // The scales of a block are searched before anything else.
  void scale(int64_t layer) {
    Moment base = always();
    base.add("inputs of o and down, all tokens", stash_);
    const ScaleSize size = {size_.sequences, length_, chunk_};
    for (Moment& m : scale_moments(base, model_, plans_, layer, size)) moments_.push_back(std::move(m));
    rescaled_ = rescaled_modules(model_, plans_, layer);
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
    int64_t width = config_.heads * config_.value_dim, inner = 0;
    bool fused = false;
    for (size_t i = first; i < end; i++) {
      const Module& m = module(i);
      if (m.role == Role::kDown && m.expert < 0) inner = m.cols;
      if (m.role == Role::kGateUp) fused = true;
    }
    if (transforms_) scale(layer);
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
                  floats(std::min(chunk_, kScratchRows), projection_width(model_, layer)));
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
      Moment adding = base;
      adding.add("outputs of some sequences", floats(chunk_, shared + config_.hidden));
      push(std::move(adding), "adding the shared expert");
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
    Moment adding = base;
    const int64_t busiest = std::min({rows_, share * kBusiest / 2, kScratchRows});
    adding.add("outputs of some sequences", floats(busiest, 2 * config_.hidden + 2 * inner));
    push(std::move(adding), "adding an expert");
    for (size_t i = first; i < end; i++)
      if (module(i).expert >= 0 && plans_[i].method != Method::kKeep) remember(i);
  }

  void head() {
    const size_t i = plans_.size() - 1;
    if (module(i).layer >= 0 || plans_[i].method == Method::kKeep) return;
    Moment m = always();
    m.add("inputs of o and down, all tokens", stash_);
    Stage s;
    s.modules = {i};
    s.cols = module(i).cols;
    run_stage(m, s, ends(), judges_, rows_);  // they go before the head is solved
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
  size_t panels_ = 0;
  std::set<size_t> rescaled_;  // modules of the current block that are float32 by now
  size_t first_unsolved_ = 0;  // modules before it are solved, as far as they are quantized
  Count stash_, results_, last_;
};

}  // namespace

std::vector<Moment> run_moments(const Model& model, const std::vector<ModulePlan>& plans, const RunSize& size,
                                uint64_t largest_copy) {
  return RunMoments(model, plans, size).list(largest_copy);
}

}  // namespace qz
