#include <cmath>
#include <sstream>

#include "api/handles.h"
#include "base/json.h"
#include "method/list.h"
#include "packed/block_code.h"
#include "run/budget.h"
#include "run/imatrix.h"
#include "run/pipeline.h"

namespace qz {
namespace {

constexpr int32_t kDefaultBits = 4, kDefaultGroup = 128, kMostRatios = 1000;

Status tri_state(int32_t value, const char* name, bool* to) {
  if (value < -1 || value > 1)
    return error(Code::kInvalidArgument, "%s is %d; 0 = default, 1 = on, -1 = off", name, value);
  if (value != 0) *to = value > 0;
  return {};
}

// 0 = default, -1 = off, else a strength.
Status strength(double value, const char* name, double* to) {
  if (!(value >= 0) && value != -1)
    return error(Code::kInvalidArgument, "%s is %g; 0 = default, -1 = off, or a positive strength", name, value);
  if (value > 4) return error(Code::kInvalidArgument, "%s is %g, above 4", name, value);
  if (value != 0) *to = value == -1 ? 0 : value;
  return {};
}

Status positive(double value, const char* name, double most, double* to) {
  if (!(value >= 0 && value <= most))
    return error(Code::kInvalidArgument, "%s is %g; 0 = default, or up to %g", name, value, most);
  if (value != 0) *to = value;
  return {};
}

// 0 = default, -1 = none, else up to `most`.
Status count(int32_t value, const char* name, int32_t most, int32_t* to) {
  if (value < -1 || value > most)
    return error(Code::kInvalidArgument, "%s is %d; 0 = default, -1 = none, or up to %d", name, value, most);
  if (value != 0) *to = value == -1 ? 0 : value;
  return {};
}

struct RunCall {  // qz_run_options, understood
  RunOptions options;
  Progress progress;
};

// A backend for the device that a run asks for; null: the CPU's.
Result<std::shared_ptr<const Backend>> chosen_backend(qz_device device, const Backends& backends) {
  QZ_ASSIGN(const bool there, names_device(device));
  if (!there) return std::shared_ptr<const Backend>();
  return backend_for(backends.list(), device);
}

Status run_call(const qz_run_options* run, const Backends& backends, RunCall* call) {
  qz_run_options o;
  QZ_TRY(copy_options(run, "qz_run_options", &o));
  call->options.format = static_cast<FormatId>(o.format);
  if (o.stream_to) call->options.stream_to = o.stream_to;
  call->options.overwrite = o.overwrite != 0;
  call->options.strict = o.strict != 0;
  call->options.shard_bytes = o.shard_bytes;
  call->options.seed = o.seed;
  QZ_ASSIGN(call->options.backend, chosen_backend(o.device, backends));
  call->options.device = o.device;
  call->progress = make_progress(o.progress, o.user);
  call->options.progress = &call->progress;
  return {};
}

Status run_into(const Plan& plan, const BackendsPtr& backends, const qz_calib* calib, const qz_run_options* run,
                qz_model** out) {
  RunCall call;
  QZ_TRY(run_call(run, *backends, &call));
  QZ_ASSIGN(ModelPtr model, run_plan(plan, calib ? &calib->tokens : nullptr, call.options));
  QZ_ASSIGN(auto handle, wrap_model(std::move(model), backends));
  *out = handle.release();
  return {};
}

Result<TransformOptions> transform_from(qz_transform kind, const qz_awq_options* awq, const qz_smooth_options* smooth) {
  if (kind < QZ_TRANSFORM_NONE || kind > QZ_TRANSFORM_SMOOTHQUANT)
    return error(Code::kInvalidArgument, "transform %d is not known", kind);
  TransformOptions out;
  out.kind = static_cast<TransformKind>(kind);
  qz_awq_options a;
  QZ_TRY(copy_options(awq, "qz_awq_options", &a));
  if (a.grid < 0 || a.grid > kMostRatios)
    return error(Code::kInvalidArgument, "grid is %d; 0 = default, or up to %d", a.grid, kMostRatios);
  if (a.grid != 0) out.grid = a.grid;
  QZ_TRY(tri_state(a.duo_scaling, "duo_scaling", &out.duo));
  QZ_TRY(tri_state(a.search_clip, "search_clip", &out.clip));
  qz_smooth_options s;
  QZ_TRY(copy_options(smooth, "qz_smooth_options", &s));
  if (s.fixed == 0) return out;
  if (!(s.alpha >= 0 && s.alpha <= 1)) return error(Code::kInvalidArgument, "alpha is %g, expected 0 to 1", s.alpha);
  out.alpha = s.alpha;
  return out;
}

Result<Rule> rule_from(const char* glob, const qz_rule* rule) {
  Rule out;
  out.glob = glob;
  qz_rule r;
  QZ_TRY(copy_options(rule, "qz_rule", &r));
  if (r.method != QZ_METHOD_DEFAULT && !find_method(static_cast<Method>(r.method)))
    return error(Code::kInvalidArgument, "method %d is not known", r.method);
  out.method = static_cast<Method>(r.method);
  QZ_ASSIGN(out.scheme, scheme_from(r.scheme));
  QZ_ASSIGN(out.gptq, gptq_options_from(r.gptq));
  QZ_TRY(check_reserved(r.reserved, "qz_rule"));
  QZ_ASSIGN(out.transform, transform_from(r.transform, r.awq, r.smooth));
  return out;
}

// A transform before rounding to nearest, everywhere.
Status rounded_run(const qz_model* model, const qz_calib* calib, const qz_scheme* scheme,
                   const Result<TransformOptions>& transform, const qz_run_options* run, qz_model** out) {
  QZ_TRY(require(out, "out"));
  *out = nullptr;
  QZ_TRY(require(model, "model"));
  QZ_TRY(require(calib, "calib"));
  QZ_TRY(transform.status());
  Plan plan(model->model);
  Rule rule;
  rule.glob = "*";
  rule.method = Method::kRtn;
  rule.transform = *transform;
  QZ_ASSIGN(rule.scheme, scheme_from(scheme));
  QZ_TRY(plan.add_rule(rule));
  return run_into(plan, model->backends, calib, run, out);
}

}  // namespace

Result<Scheme> scheme_from(const qz_scheme* scheme) {
  qz_scheme s;
  QZ_TRY(copy_options(scheme, "qz_scheme", &s));
  Scheme out;
  switch (s.code) {
    case QZ_CODE_INT:
      out.bits = kDefaultBits;
      out.group = kDefaultGroup;
      break;
    case QZ_CODE_NF4:
    case QZ_CODE_FP4:
    case QZ_CODE_FP8:
    case QZ_CODE_LLM_INT8: {
      const char* const names[] = {"nf4", "fp4", "fp8", "llm-int8"};
      QZ_ASSIGN(out, scheme_preset(names[s.code - QZ_CODE_NF4]));
      break;
    }
    default:  // blocks hold everything in themselves
      out.code = static_cast<CodeKind>(s.code);
      if (const BlockCode* block = find_block_code(out.code)) {
        out = block_scheme(*block);
        break;
      }
      return error(Code::kUnsupported, "code %d is not known", s.code);
  }
  if (s.bits != 0) out.bits = s.bits;
  if (s.group != 0) out.group = s.group;
  if (s.asymmetric != 0 || s.float_zero != 0) out.symmetric = false;
  out.float_zero = s.float_zero != 0;
  if (s.grouping < QZ_GROUPING_DEFAULT || s.grouping > QZ_GROUPING_TILE)
    return error(Code::kInvalidArgument, "grouping %d is not known", s.grouping);
  if (s.grouping != QZ_GROUPING_DEFAULT) out.grouping = static_cast<Grouping>(s.grouping - QZ_GROUPING_ROW);
  out.nested = s.nested;
  if (s.activations != QZ_ACTIVATIONS_DEFAULT) out.activations = static_cast<Activations>(s.activations);
  if (s.scale != QZ_DTYPE_NONE && s.scale != QZ_DTYPE_F16 && s.scale != QZ_DTYPE_BF16 && s.scale != QZ_DTYPE_F32)
    return error(Code::kInvalidArgument, "scale type %d is not F16, BF16 or F32", s.scale);
  out.scale = static_cast<DType>(s.scale);
  QZ_TRY(check_scheme(out));
  return out;
}

Result<GptqOptions> gptq_options_from(const qz_gptq_options* options) {
  qz_gptq_options o;
  QZ_TRY(copy_options(options, "qz_gptq_options", &o));
  QZ_TRY(check_reserved(o.reserved, "qz_gptq_options"));
  GptqOptions out;
  if (o.block < 0 || o.block > 4096)
    return error(Code::kInvalidArgument, "block is %d; 0 = default, or up to 4096", o.block);
  if (o.block) out.block = o.block;
  if (o.order < QZ_ORDER_DEFAULT || o.order > QZ_ORDER_GIDX)
    return error(Code::kInvalidArgument, "order %d is not known", o.order);
  if (o.order != QZ_ORDER_DEFAULT) out.order = static_cast<Order>(o.order);
  QZ_TRY(count(o.sweeps, "sweeps", 1000, &out.sweeps));
  QZ_TRY(count(o.metric, "metric", 1 << 16, &out.metric));
  QZ_TRY(tri_state(o.search, "search", &out.search));
  QZ_TRY(tri_state(o.signed_grid, "signed_grid", &out.signed_grid));
  QZ_TRY(tri_state(o.refit, "refit", &out.refit));
  out.allow_rtn_fallback = o.allow_rtn_fallback != 0;
  QZ_TRY(positive(o.damp, "damp", 1, &out.damp));
  QZ_TRY(positive(o.metric_ridge, "metric_ridge", 100, &out.metric_ridge));
  QZ_TRY(strength(o.drift, "drift", &out.drift));
  QZ_TRY(strength(o.residual, "residual", &out.residual));
  return out;
}

}  // namespace qz

using qz::Code;
using qz::error;
using qz::Status;

extern "C" {

qz_status qz_scheme_preset(const char* name, qz_scheme* out) {
  return qz::guard("qz_scheme_preset", [&]() -> Status {
    QZ_TRY(qz::require(name, "name"));
    QZ_ASSIGN(const qz::Scheme scheme, qz::scheme_preset(name));
    qz_scheme s = {};
    s.struct_size = sizeof s;
    s.bits = scheme.bits;
    s.group = scheme.group;
    s.asymmetric = !scheme.symmetric;
    s.code = static_cast<qz_code>(scheme.code);
    s.float_zero = scheme.float_zero;
    s.grouping = static_cast<qz_grouping>(scheme.grouping) + QZ_GROUPING_ROW;
    s.nested = scheme.nested;
    s.activations = static_cast<qz_activations>(scheme.activations);
    return qz::copy_out(s, "qz_scheme", out);
  });
}

qz_status qz_rtn_run(const qz_model* model, const qz_scheme* scheme, const qz_run_options* run, qz_model** out) {
  return qz::guard("qz_rtn_run", [&]() -> Status {
    QZ_TRY(qz::require(out, "out"));
    *out = nullptr;
    QZ_TRY(qz::require(model, "model"));
    qz::Plan plan(model->model);
    qz::Rule rule;
    rule.glob = "*";
    rule.method = qz::Method::kRtn;
    QZ_ASSIGN(rule.scheme, qz::scheme_from(scheme));
    QZ_TRY(plan.add_rule(rule));
    return qz::run_into(plan, model->backends, nullptr, run, out);
  });
}

qz_status qz_gptq_run(const qz_model* model, const qz_calib* calib, const qz_scheme* scheme,
                      const qz_gptq_options* opts, const qz_run_options* run, qz_model** out) {
  return qz::guard("qz_gptq_run", [&]() -> Status {
    QZ_TRY(qz::require(out, "out"));
    *out = nullptr;
    QZ_TRY(qz::require(model, "model"));
    QZ_TRY(qz::require(calib, "calib"));
    qz::Plan plan(model->model);
    qz::Rule rule;
    rule.glob = "*";
    rule.method = qz::Method::kGptq;
    QZ_ASSIGN(rule.scheme, qz::scheme_from(scheme));
    QZ_ASSIGN(rule.gptq, qz::gptq_options_from(opts));
    QZ_TRY(plan.add_rule(rule));
    return qz::run_into(plan, model->backends, calib, run, out);
  });
}

qz_status qz_awq_run(const qz_model* model, const qz_calib* calib, const qz_scheme* scheme, const qz_awq_options* opts,
                     const qz_run_options* run, qz_model** out) {
  return qz::guard("qz_awq_run", [&]() -> Status {
    return qz::rounded_run(model, calib, scheme, qz::transform_from(QZ_TRANSFORM_AWQ, opts, nullptr), run, out);
  });
}

qz_status qz_smoothquant_run(const qz_model* model, const qz_calib* calib, const qz_scheme* scheme,
                             const qz_smooth_options* opts, const qz_run_options* run, qz_model** out) {
  return qz::guard("qz_smoothquant_run", [&]() -> Status {
    qz_scheme eight = QZ_INIT(qz_scheme);
    eight.bits = 8;
    eight.group = -1;
    eight.activations = QZ_ACTIVATIONS_TOKEN;
    return qz::rounded_run(model, calib, scheme ? scheme : &eight,
                           qz::transform_from(QZ_TRANSFORM_SMOOTHQUANT, nullptr, opts), run, out);
  });
}

qz_status qz_plan_create(const qz_model* model, qz_plan** out) {
  return qz::guard("qz_plan_create", [&]() -> Status {
    QZ_TRY(qz::require(out, "out"));
    *out = nullptr;
    QZ_TRY(qz::require(model, "model"));
    *out = new qz_plan{qz::Plan(model->model), model->backends};
    return {};
  });
}

qz_status qz_plan_from_json(const qz_model* model, const char* json, size_t bytes, qz_plan** out) {
  return qz::guard("qz_plan_from_json", [&]() -> Status {
    QZ_TRY(qz::require(out, "out"));
    *out = nullptr;
    QZ_TRY(qz::require(model, "model"));
    QZ_TRY(qz::require(json, "json"));
    QZ_ASSIGN(qz::Plan plan, qz::Plan::from_json(model->model, {json, bytes}));
    *out = new qz_plan{std::move(plan), model->backends};
    return {};
  });
}

qz_status qz_plan_to_json(const qz_plan* plan, char* buf, size_t cap, size_t* need) {
  return qz::guard("qz_plan_to_json", [&]() -> Status {
    QZ_TRY(qz::require(plan, "plan"));
    return qz::copy_text(qz::dump_json(plan->plan.to_json()), buf, cap, need);
  });
}

qz_status qz_plan_add_rule(qz_plan* plan, const char* glob, const qz_rule* rule) {
  return qz::guard("qz_plan_add_rule", [&]() -> Status {
    QZ_TRY(qz::require(plan, "plan"));
    QZ_TRY(qz::require(glob, "glob"));
    QZ_TRY(qz::require(rule, "rule"));
    QZ_ASSIGN(qz::Rule r, qz::rule_from(glob, rule));
    return plan->plan.add_rule(std::move(r));
  });
}

qz_status qz_plan_set_budget(qz_plan* plan, const qz_calib* calib, const qz_budget_options* opts) {
  return qz::guard("qz_plan_set_budget", [&]() -> Status {
    QZ_TRY(qz::require(plan, "plan"));
    QZ_TRY(qz::require(calib, "calib"));
    QZ_TRY(qz::require(opts, "opts"));
    qz_budget_options o;
    QZ_TRY(qz::copy_options(opts, "qz_budget_options", &o));
    qz::BudgetOptions options;
    if (o.format != QZ_FORMAT_DEFAULT) options.format = static_cast<qz::FormatId>(o.format);
    options.bits_per_weight = o.bits_per_weight;
    options.seed = o.seed;
    std::istringstream names(o.candidates ? o.candidates : "");
    for (std::string name; names >> name;) {
      QZ_ASSIGN(qz::Scheme scheme, qz::scheme_preset(name));
      options.candidates.push_back(scheme);
    }
    qz::Progress progress = qz::make_progress(o.progress, o.user);
    options.progress = &progress;
    return qz::set_budget(&plan->plan, calib->tokens, options);
  });
}

qz_status qz_imatrix_write(const qz_model* model, const qz_calib* calib, const char* path, qz_progress_fn progress,
                           void* user) {
  return qz::guard("qz_imatrix_write", [&]() -> Status {
    QZ_TRY(qz::require(model, "model"));
    QZ_TRY(qz::require(calib, "calib"));
    QZ_TRY(qz::require(path, "path"));
    qz::Progress call = qz::make_progress(progress, user);
    return qz::write_imatrix(model->model, calib->tokens, path, &call);
  });
}

qz_status qz_plan_set_imatrix(qz_plan* plan, const char* path) {
  return qz::guard("qz_plan_set_imatrix", [&]() -> Status {
    QZ_TRY(qz::require(plan, "plan"));
    QZ_TRY(qz::require(path, "path"));
    return qz::set_imatrix(&plan->plan, path);
  });
}

qz_status qz_plan_run(const qz_plan* plan, const qz_calib* calib, const qz_run_options* run, qz_model** out) {
  return qz::guard("qz_plan_run", [&]() -> Status {
    QZ_TRY(qz::require(out, "out"));
    *out = nullptr;
    QZ_TRY(qz::require(plan, "plan"));
    return qz::run_into(plan->plan, plan->backends, calib, run, out);
  });
}

void qz_plan_free(qz_plan* plan) { delete plan; }

size_t qz_report_count(const qz_model* quantized) {
  return quantized && quantized->report ? quantized->report->modules.size() : 0;
}

qz_status qz_report_get(const qz_model* quantized, size_t i, qz_module_report* out) {
  return qz::guard("qz_report_get", [&]() -> Status {
    QZ_TRY(qz::require(quantized, "quantized"));
    if (i >= qz_report_count(quantized))
      return error(Code::kInvalidArgument, "entry %zu of %zu", i, qz_report_count(quantized));
    const qz::ModuleReport& m = quantized->report->modules[i];
    qz_module_report r = {};
    r.struct_size = sizeof r;
    r.method = static_cast<qz_method>(m.method);
    r.fell_back = m.fell_back;
    r.damp_steps = m.damp_steps;
    r.name = m.name.c_str();
    r.bits = m.scheme.bits;
    r.group = m.scheme.group;
    r.asymmetric = !m.scheme.symmetric;
    r.weight_error = m.weight_error;
    r.output_error = m.output_error;
    r.rtn_output_error = m.rtn_output_error;
    r.damp = m.damp;
    r.drift = m.drift;
    r.residual = m.residual;
    r.seconds = m.seconds;
    r.tokens = m.tokens;
    r.bytes_before = m.bytes_before;
    r.bytes_after = m.bytes_after;
    r.transform = static_cast<qz_transform>(m.transform);
    return qz::copy_out(r, "qz_module_report", out);
  });
}

qz_status qz_report_to_json(const qz_model* quantized, char* buf, size_t cap, size_t* need) {
  return qz::guard("qz_report_to_json", [&]() -> Status {
    QZ_TRY(qz::require(quantized, "quantized"));
    if (!quantized->model->report()) return error(Code::kUnsupported, "this model carries no report");
    return qz::copy_text(qz::dump_json(*quantized->model->report()), buf, cap, need);
  });
}

}  // extern "C"
