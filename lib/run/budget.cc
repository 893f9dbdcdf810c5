#include "run/budget.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "kernels/gemm.h"
#include "model/layout.h"

namespace qz {
namespace {

// Half of tr(G E H E^T) / tokens. g: rows as OutputMetric has them, `block` wide.
Result<double> quadratic_loss(const Context& context, const Matrix& e, const StageStats& stats, MatrixView g) {
  const int64_t rows = e.rows(), cols = e.cols(), block = std::min(g.cols, rows);
  double sum = 0;
  for (int64_t first = 0; first < rows; first += block) {
    const int64_t n = std::min(block, rows - first);
    const MatrixView part{e.row(first), n, cols, cols};
    Matrix eh(n, cols), pairs(n, n);
    QZ_TRY(gemm_nn(context, part, stats.h.view(), 1, eh.data(), cols));
    const DenseWeight right{part.data, DType::kF32, n, cols};
    QZ_TRY(gemm_nt(context, eh.view(), weight_rows(right), nullptr, false, pairs.data(), n));
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j)
        sum += static_cast<double>(g.row(first + i)[j]) * static_cast<double>(pairs.row(i)[j]);
  }
  return std::max(0.0, sum / 2 / static_cast<double>(std::max<int64_t>(1, stats.tokens)));
}

uint64_t stored_bytes(const Format& format, const Scheme& scheme, const Module& m) {
  uint64_t bytes = 0;
  for (const PartSpec& part : format.layout(scheme, m.rows, m.cols, false)) {
    uint64_t n = dtype_bits(part.dtype) / 8;
    for (const int64_t d : part.shape) n *= static_cast<uint64_t>(d);
    bytes += n;
  }
  return bytes;
}

bool open_to_budget(const Model& model, const std::vector<ModulePlan>& plans, size_t i) {
  return plans[i].method != Method::kKeep && model.modules()[i].layer >= 0;
}

// Whether loaders fuse two modules that follow each other.
bool one_unit(const Module& a, const Module& b) {
  const auto attention = [](Role r) { return r == Role::kQ || r == Role::kK || r == Role::kV; };
  const auto gated = [](Role r) { return r == Role::kGate || r == Role::kUp; };
  if (a.layer != b.layer) return false;
  return (attention(a.role) && attention(b.role)) || (gated(a.role) && gated(b.role));
}

class Measurement {
 public:
  Measurement(const Plan& plan, const BudgetOptions& options)
      : plan_(plan), model_(*plan.model()), options_(options), format_(*find_format(options.format)) {}

  Result<Sensitivity> run(const TokenSet& calibration, std::vector<Scheme> candidates) {
    if (model_.config().moe.experts > 0)
      return error(Code::kUnsupported, "a budget needs the output metric, which is not measured for experts");
    QZ_ASSIGN(plans_, resolve_plan(plan_, format_.id, true));
    out_.candidates = std::move(candidates);
    QZ_TRY(check_mixture());
    // One stream, and every open module with statistics and a metric, whatever the plan wants of the final run.
    Plan probing(plan_.model());
    probing.keep_rules(0);
    for (size_t i = 0; i < plans_.size(); ++i) {
      if (!open_to_budget(model_, plans_, i)) continue;
      Rule rule;
      rule.glob = model_.modules()[i].name;
      rule.method = Method::kGptq;
      rule.gptq.drift = rule.gptq.residual = 0;
      rule.transform = plans_[i].transform;
      QZ_TRY(probing.add_rule(std::move(rule)));
    }
    RunOptions run;
    run.format = format_.id;
    run.seed = options_.seed;
    run.progress = options_.progress;
    QZ_TRY(probe_plan(probing, calibration, run,
                      [&](size_t module, MatrixView weight, StageSolver* stage, MatrixView metric) {
                        return probe(module, weight, stage, metric);
                      }));
    return std::move(out_);
  }

 private:
  // The scheme as the format will hold it for a matrix.
  Scheme fitted(Scheme s, const Module& m) const {
    s.scale = format_.scale_dtype(model_.config().dtype);
    s.compute = model_.config().dtype;
    if (s.group > m.cols) s.group = kGroupRow;
    return s;
  }

  // Whether the format can say that modules differ, before anything is measured.
  Status check_mixture() const {
    PlanSummary summary = summarize_plan(model_, plans_);
    size_t next = 0;
    for (size_t i = 0; i < plans_.size(); ++i)
      if (open_to_budget(model_, plans_, i))
        summary.modules[i].scheme = fitted(out_.candidates[next++ % out_.candidates.size()], model_.modules()[i]);
    return format_.config(summary).status();
  }

  Status probe(size_t module, MatrixView weight, StageSolver* stage, MatrixView metric) {
    const Module& m = model_.modules()[module];
    Choices choices;
    for (const Scheme& candidate : out_.candidates) {
      ModulePlan p = plans_[module];
      p.scheme = fitted(candidate, m);
      p.gptq.drift = p.gptq.residual = 0;
      p.gptq.sweeps = 0;
      QZ_TRY(format_.can_store(p.scheme, m.rows, m.cols, false).with_prefix(m.name));
      QZ_ASSIGN(const ModuleResult result,
                solve_module(model_, module, p, weight, stage, {}, format_, options_.progress));
      Matrix e = dequantize(*result.q);
      for (int64_t r = 0; r < e.rows(); ++r)
        for (int64_t c = 0; c < e.cols(); ++c) e.row(r)[c] = weight.row(r)[c] - e.row(r)[c];
      QZ_ASSIGN(const double loss, quadratic_loss(model_.context(), e, stage->stats(), metric));
      choices.loss.push_back(loss);
      choices.bytes.push_back(stored_bytes(format_, p.scheme, m));
    }
    if (out_.units.empty() || !one_unit(model_.modules()[out_.units.back().modules.back()], m)) {
      out_.units.push_back(std::move(choices));
    } else {
      Choices& unit = out_.units.back();
      for (size_t c = 0; c < choices.loss.size(); ++c) {
        unit.loss[c] += choices.loss[c];
        unit.bytes[c] += choices.bytes[c];
      }
    }
    out_.units.back().modules.push_back(module);
    return {};
  }

  const Plan& plan_;
  const Model& model_;
  const BudgetOptions& options_;
  const Format& format_;
  std::vector<ModulePlan> plans_;
  Sensitivity out_;
};

Result<std::vector<Scheme>> candidates_for(const Plan& plan, const BudgetOptions& options) {
  if (!options.candidates.empty()) return options.candidates;
  std::vector<Scheme> out;
  const bool asymmetric = !plan.rules().empty() && !plan.rules().front().scheme.symmetric;
  for (const char* name : kBudgetCandidates) {
    QZ_ASSIGN(Scheme s, scheme_preset(name));
    s.symmetric = !asymmetric;
    out.push_back(s);
  }
  return out;
}

}  // namespace

std::vector<size_t> assign(const std::vector<Choices>& units, uint64_t bytes) {
  struct Step {
    size_t unit, to;
    double gain;  // loss saved for each byte
    uint64_t more;
  };
  std::vector<size_t> chosen;
  std::vector<Step> steps;
  uint64_t used = 0;
  for (size_t i = 0; i < units.size(); ++i) {
    const Choices& m = units[i];
    // From the smallest candidate (of equal ones the better) along the lower convex hull.
    size_t at = 0;
    for (size_t c = 1; c < m.bytes.size(); ++c)
      if (m.bytes[c] < m.bytes[at] || (m.bytes[c] == m.bytes[at] && m.loss[c] < m.loss[at])) at = c;
    chosen.push_back(at);
    used += m.bytes[at];
    for (;;) {
      Step best = {i, at, 0, 0};
      for (size_t c = 0; c < m.bytes.size(); ++c) {
        if (m.bytes[c] <= m.bytes[at] || !(m.loss[c] < m.loss[at])) continue;
        const uint64_t more = m.bytes[c] - m.bytes[at];
        const double gain = (m.loss[at] - m.loss[c]) / static_cast<double>(more);
        if (gain > best.gain) best = {i, c, gain, more};
      }
      if (best.to == at) break;
      steps.push_back(best);
      at = best.to;
    }
  }
  if (used > bytes) return {};
  std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.gain > b.gain; });
  std::vector<bool> stopped(units.size());  // a unit whose step did not fit takes no later one of the hull
  for (const Step& s : steps) {
    if (stopped[s.unit]) continue;
    if (used + s.more > bytes) {
      stopped[s.unit] = true;
      continue;
    }
    used += s.more;
    chosen[s.unit] = s.to;
  }
  // What is left over: the single change that saves most, as long as there is one.
  for (;;) {
    Step best = {0, 0, 0, 0};
    for (size_t i = 0; i < units.size(); ++i) {
      const Choices& m = units[i];
      for (size_t c = 0; c < m.bytes.size(); ++c) {
        const double saved = m.loss[chosen[i]] - m.loss[c];
        if (saved > best.gain && used - m.bytes[chosen[i]] + m.bytes[c] <= bytes) best = {i, c, saved, 0};
      }
    }
    if (!(best.gain > 0)) return chosen;
    used = used - units[best.unit].bytes[chosen[best.unit]] + units[best.unit].bytes[best.to];
    chosen[best.unit] = best.to;
  }
}

Status set_budget(Plan* plan, const TokenSet& calibration, const BudgetOptions& options) {
  const Model& model = *plan->model();
  if (!find_format(options.format) || options.format == FormatId::kPlain)
    return error(Code::kInvalidArgument, "format %d is not one that stores codes", static_cast<int>(options.format));
  if (!(options.bits_per_weight > 0) || options.bits_per_weight > 32)
    return error(Code::kInvalidArgument, "budget: %g bits per weight, expected a number above 0, at most 32",
                 options.bits_per_weight);
  QZ_ASSIGN(std::vector<Scheme> candidates, candidates_for(*plan, options));
  std::string key = calibration.hash();
  key.append(" ").append(find_format(options.format)->name).append(" ").append(std::to_string(options.seed));
  for (const Scheme& s : candidates) key.append(" ").append(scheme_name(s));
  const bool known =
      plan->sensitivity && plan->sensitivity->key == key && plan->sensitivity->all_rules == plan->rules().size();
  auto found = std::make_shared<Sensitivity>();
  if (known) {
    *found = *plan->sensitivity;
  } else {
    QZ_ASSIGN(*found, Measurement(*plan, options).run(calibration, std::move(candidates)));
    found->key = std::move(key);
    found->base_rules = plan->rules().size();
  }
  uint64_t weights = 0, least = 0;
  for (const Choices& unit : found->units) {
    for (const size_t i : unit.modules) {
      const Module& module = model.modules()[i];
      weights += static_cast<uint64_t>(module.rows) * static_cast<uint64_t>(module.cols);
    }
    least += *std::min_element(unit.bytes.begin(), unit.bytes.end());
  }
  if (weights == 0) return error(Code::kInvalidArgument, "budget: the plan quantizes no layer of a block");
  const auto bytes = static_cast<uint64_t>(options.bits_per_weight * static_cast<double>(weights) / 8);
  const std::vector<size_t> chosen = assign(found->units, bytes);
  if (chosen.empty())
    return error(Code::kInvalidArgument, "budget: %g bits per weight are below the %.3f of the smallest assignment",
                 options.bits_per_weight, 8 * static_cast<double>(least) / static_cast<double>(weights));
  plan->keep_rules(found->base_rules);
  const std::vector<Rule> base = plan->rules();
  for (size_t u = 0; u < chosen.size(); ++u)
    for (const size_t i : found->units[u].modules) {
      const Module& module = model.modules()[i];
      Rule rule = *rule_of(base, module);
      rule.glob = module.name;
      rule.scheme = found->candidates[chosen[u]];
      QZ_TRY(plan->add_rule(std::move(rule)));
    }
  found->all_rules = plan->rules().size();
  plan->sensitivity = std::move(found);
  return {};
}

}  // namespace qz
