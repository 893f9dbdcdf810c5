#include "run/solve.h"

#include <chrono>
#include <cmath>
#include <limits>

#include "base/rows.h"
#include "method/block_gptq.h"
#include "method/blocks.h"
#include "method/clip.h"
#include "method/gptq.h"
#include "method/list.h"
#include "method/rtn.h"
#include "method/table_gptq.h"
#include "method/target.h"
#include "method/weight_error.h"
#include "packed/inputs.h"

namespace qz {
namespace {

Result<Matrix> dequantized(const Context& context, const QMatrix& q) {
  Matrix w(q.rows, q.cols);
  QZ_TRY(for_each_row(context, q.rows, [&](int64_t r) { dequantize_row(q, r, w.row(r)); }));
  return w;
}

}  // namespace

bool clips_ranges(const ModulePlan& plan, Role role) {
  const bool scores = role == Role::kQ || role == Role::kK || role == Role::kQkv || role == Role::kQA ||
                      role == Role::kQB || role == Role::kKvA || role == Role::kKvB;
  return plan.transform.kind == TransformKind::kAwq && plan.transform.clip && plan.method == Method::kRtn && !scores;
}

Result<std::shared_ptr<const HessianFactor>> StageSolver::factor(const GptqOptions& options) {
  for (const Made& m : made_)
    if (m.order == options.order && m.damp == options.damp) return m.factor;
  QZ_ASSIGN(HessianFactor f, factor_hessian(context_, stats_, options, device_));
  made_.push_back({options.order, options.damp, std::make_shared<const HessianFactor>(std::move(f))});
  return made_.back().factor;
}

Result<ModuleResult> solve_module(const Model& model, size_t index, const ModulePlan& plan, MatrixView weight,
                                  StageSolver* stage, MatrixView metric, const Format& format, Progress* progress) {
  const Context& context = model.context();
  const Module& module = model.modules()[index];
  const auto start = std::chrono::steady_clock::now();
  ModuleResult out;
  ModuleReport& report = out.report;
  report.name = module.name;
  report.method = plan.method;
  report.scheme = plan.scheme;
  report.transform = plan.transform.kind;
  report.tokens = stage ? static_cast<uint64_t>(stage->stats().tokens) : 0;
  report.output_error = report.rtn_output_error = std::numeric_limits<double>::quiet_NaN();

  // What others are judged by, or what stands in for them; without statistics only RTN itself asks for it.
  QMatrix rounded;
  if (stage || plan.method == Method::kRtn) {
    QZ_ASSIGN(rounded, plan.importance ? round_to_blocks(context, weight, plan.importance, plan.scheme)
                                       : rtn(context, weight, plan.scheme, format.min_zero));
  }
  const ContextPtr judging = with_products(model.context_ptr(), Products::kFast);
  HeldOut held;
  if (stage) {
    QZ_ASSIGN(held, held_out(*judging, weight, stage->stats(), progress));
  }
  QMatrix q;
  if (plan.method == Method::kGptq) {
    auto factor = stage->factor(plan.gptq);
    if (factor.ok()) {
      const HessianFactor& f = **factor;
      QZ_ASSIGN(const RowMetric rows, make_row_metric(context, metric, plan.gptq.metric_ridge));
      const StageStats& stats = stage->stats();
      DeviceSolver* const device = stage->device();
      if (device && !plan.scheme.is_grid())
        device->keep_columns("codes that are not integers with a scale and zero point");
      auto solved = plan.scheme.is_block()
                        ? block_gptq(context, weight, f, stats, held, plan.scheme, plan.gptq, rows, progress)
                    : plan.scheme.is_grid()
                        ? gptq(context, weight, f, stats, held, plan.scheme, plan.gptq, rows, format.min_zero, progress)
                        : table_gptq(context, weight, f, stats, held, plan.scheme, plan.gptq, progress);
      if (!solved.ok()) return solved.status().with_prefix(module.name);
      q = std::move(solved->q);
      report.order = plan.gptq.order;
      report.damp = f.damp;
      report.damp_steps = f.damp_steps;
      report.dead_columns = f.dead;
      report.drift = solved->drift;
      report.residual = solved->residual;
    } else {
      if (factor.status().code() != Code::kNumeric || !plan.gptq.allow_rtn_fallback)
        return factor.status().with_prefix(module.name);
      report.method = Method::kRtn;
      report.fell_back = true;
      out.event = module.name + ": rounded to nearest instead of GPTQ: " + factor.status().text();
      q = rounded;
    }
  } else if (plan.method != Method::kRtn) {
    auto found = find_method(plan.method)->round(context, weight, plan.scheme, format.min_zero);
    if (!found.ok()) return found.status().with_prefix(module.name);
    q = std::move(*found);
  } else if (stage && clips_ranges(plan, module.role)) {
    QZ_ASSIGN(q, rtn_clipped(context, weight, stage->stats().h.view(), plan.scheme, format.min_zero));
  } else if (stage) {
    q = rounded;
  } else {
    q = std::move(rounded);
  }
  if (plan.scheme.activations == Activations::kTensor)
    q.input_scale = input_scale_for(plan.scheme, stage ? stage->stats().most : 0);
  QZ_TRY(check_qmatrix(q).with_prefix(module.name));
  QZ_ASSIGN(report.weight_error, weight_error(context, weight, q));
  if (stage) {
    QZ_ASSIGN(const Matrix wq, dequantized(context, q));
    QZ_ASSIGN(report.output_error, held_out_error(*judging, weight, wq.view(), stage->stats(), held, progress));
    report.rtn_output_error = report.output_error;
    if (report.method != Method::kRtn || clips_ranges(plan, module.role)) {
      QZ_ASSIGN(const Matrix wr, dequantized(context, rounded));
      QZ_ASSIGN(report.rtn_output_error, held_out_error(*judging, weight, wr.view(), stage->stats(), held, progress));
    }
  }
  report.bytes_before = static_cast<uint64_t>(module.rows * module.cols) * dtype_bits(model.config().dtype) / 8;
  for (const PartSpec& part : format.layout(q.scheme, q.rows, q.cols, !q.g_idx.empty())) {
    uint64_t bytes = dtype_bits(part.dtype) / 8;
    for (const int64_t d : part.shape) bytes *= static_cast<uint64_t>(d);
    report.bytes_after += bytes;
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  out.q = std::make_shared<const QMatrix>(std::move(q));
  return out;
}

}  // namespace qz
