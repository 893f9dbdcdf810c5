/* qz/quantize.h: transforms, budgets, inputs with a stored scale. */
#include "check.h"

static void bad_options(const qz_model* model, const qz_calib* calib) {
  qz_model* out = NULL;
  qz_plan* plan = NULL;
  qz_rule rule = QZ_INIT(qz_rule);
  qz_awq_options awq = QZ_INIT(qz_awq_options);
  qz_smooth_options smooth = QZ_INIT(qz_smooth_options);
  CHECK(qz_plan_create(model, &plan) == QZ_STATUS_OK);
  rule.transform = 3;
  FAILS(qz_plan_add_rule(plan, "*", &rule), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("transform 3");
  rule.transform = QZ_TRANSFORM_AWQ;
  rule.reserved = 1;
  FAILS(qz_plan_add_rule(plan, "*", &rule), QZ_STATUS_INVALID_ARGUMENT);
  rule.reserved = 0;
  CHECK(qz_plan_add_rule(plan, "*", &rule) == QZ_STATUS_OK);
  FAILS(qz_plan_run(plan, NULL, NULL, &out), QZ_STATUS_INVALID_ARGUMENT);
  qz_plan_free(plan);
  awq.grid = -1;
  FAILS(qz_awq_run(model, calib, NULL, &awq, NULL, &out), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("grid");
  awq.grid = 0;
  awq.duo_scaling = 2;
  FAILS(qz_awq_run(model, calib, NULL, &awq, NULL, &out), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("duo_scaling");
  awq.duo_scaling = 0;
  awq.search_clip = -2;
  FAILS(qz_awq_run(model, calib, NULL, &awq, NULL, &out), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("search_clip");
  smooth.fixed = 1;
  smooth.alpha = NAN;
  FAILS(qz_smoothquant_run(model, calib, NULL, &smooth, NULL, &out), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("alpha");
  FAILS(qz_awq_run(NULL, calib, NULL, NULL, NULL, &out), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_awq_run(model, NULL, NULL, NULL, NULL, &out), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_awq_run(model, calib, NULL, NULL, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_smoothquant_run(model, NULL, NULL, NULL, NULL, &out), QZ_STATUS_INVALID_ARGUMENT);
  CHECK(out == NULL);
}

static void runs(const qz_model* model, const qz_calib* calib) {
  qz_model* out = NULL;
  qz_awq_options awq = QZ_INIT(qz_awq_options);
  qz_smooth_options smooth = QZ_INIT(qz_smooth_options);
  qz_scheme fixed = QZ_INIT(qz_scheme);
  qz_module_report r = QZ_INIT(qz_module_report);
  qz_module_info info = QZ_INIT(qz_module_info);
  awq.grid = 4;
  CHECK(qz_awq_run(model, calib, NULL, &awq, NULL, &out) == QZ_STATUS_OK);
  CHECK(qz_report_count(out) == 28 && qz_report_get(out, 3, &r) == QZ_STATUS_OK);
  CHECK(r.transform == QZ_TRANSFORM_AWQ && r.method == QZ_METHOD_RTN && r.reserved2 == 0 && r.output_error > 0);
  qz_model_free(out);
  smooth.fixed = 1;
  smooth.alpha = 0.5;
  CHECK(qz_smoothquant_run(model, calib, NULL, &smooth, NULL, &out) == QZ_STATUS_OK);
  CHECK(qz_model_get_module(out, 0, &info) == QZ_STATUS_OK && info.bits == 8 && info.group == -1);
  CHECK(qz_report_get(out, 0, &r) == QZ_STATUS_OK && r.transform == QZ_TRANSFORM_SMOOTHQUANT);
  qz_model_free(out);
  fixed.bits = 8;
  fixed.group = -1;
  fixed.activations = QZ_ACTIVATIONS_TENSOR;
  FAILS(qz_rtn_run(model, &fixed, NULL, &out), QZ_STATUS_INVALID_ARGUMENT); /* nothing to measure the inputs with */
  SAYS("calibration tokens");
  CHECK(qz_smoothquant_run(model, calib, &fixed, &smooth, NULL, &out) == QZ_STATUS_OK);
  qz_model_free(out);
}

static int32_t refusing(void* user, const qz_progress* p) {
  (void)user, (void)p;
  return 1;
}

static void budgets(const qz_model* model, const qz_calib* calib) {
  qz_plan* plan = NULL;
  qz_model* out = NULL;
  qz_rule rule = QZ_INIT(qz_rule);
  qz_budget_options o = QZ_INIT(qz_budget_options);
  size_t need = 0, before = 0;
  CHECK(qz_plan_create(model, &plan) == QZ_STATUS_OK);
  rule.method = QZ_METHOD_RTN;
  CHECK(qz_plan_add_rule(plan, "*", &rule) == QZ_STATUS_OK);
  CHECK(qz_plan_to_json(plan, NULL, 0, &before) == QZ_STATUS_OK);
  FAILS(qz_plan_set_budget(plan, calib, &o), QZ_STATUS_INVALID_ARGUMENT); /* of nothing */
  o.bits_per_weight = NAN;
  FAILS(qz_plan_set_budget(plan, calib, &o), QZ_STATUS_INVALID_ARGUMENT);
  o.bits_per_weight = 5;
  o.candidates = "w4g128 w4g7";
  FAILS(qz_plan_set_budget(plan, calib, &o), QZ_STATUS_INVALID_ARGUMENT);
  o.candidates = "w4g128 w8";
  o.progress = refusing;
  FAILS(qz_plan_set_budget(plan, calib, &o), QZ_STATUS_CANCELLED);
  o.progress = NULL;
  o.format = 77;
  FAILS(qz_plan_set_budget(plan, calib, &o), QZ_STATUS_INVALID_ARGUMENT);
  o.format = 0;
  FAILS(qz_plan_set_budget(NULL, calib, &o), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_plan_set_budget(plan, NULL, &o), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_plan_set_budget(plan, calib, NULL), QZ_STATUS_INVALID_ARGUMENT);
  CHECK(qz_plan_to_json(plan, NULL, 0, &need) == QZ_STATUS_OK && need == before); /* untouched */
  CHECK(qz_plan_set_budget(plan, calib, &o) == QZ_STATUS_OK);
  CHECK(qz_plan_to_json(plan, NULL, 0, &need) == QZ_STATUS_OK && need > before);
  CHECK(qz_plan_run(plan, NULL, NULL, &out) == QZ_STATUS_OK);
  CHECK(qz_report_count(out) == 28);
  qz_model_free(out);
  o.bits_per_weight = 3;
  FAILS(qz_plan_set_budget(plan, calib, &o), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("smallest assignment");
  qz_plan_free(plan);
}

int main(void) {
  qz_context* context = make_context(2);
  qz_model* model = open_model(context, MODEL);
  qz_calib* calib = make_tokens(context, 4, 32, 1);
  bad_options(model, calib);
  runs(model, calib);
  budgets(model, calib);
  qz_calib_free(calib);
  qz_model_free(model);
  qz_context_free(context);
  return failures != 0;
}
