/* A program of the first release: compiled with its headers, run with the library of today. Never changed. */
#include <qz/qz.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) {                                                           \
      printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, qz_last_error()); \
      return 1;                                                                   \
    }                                                                             \
  } while (0)

static int32_t go_on(void* user, const qz_progress* p) {
  ++*(int*)user;
  return p->struct_size < sizeof *p;
}

int main(int argc, char** argv) {
  qz_context* context = NULL;
  qz_model *model = NULL, *made = NULL;
  qz_plan* plan = NULL;
  qz_calib* text = NULL;
  qz_packed* packed = NULL;
  qz_session* session = NULL;
  qz_model_info info = QZ_INIT(qz_model_info);
  qz_module_info module = QZ_INIT(qz_module_info);
  qz_scheme scheme = QZ_INIT(qz_scheme);
  qz_rule rule = QZ_INIT(qz_rule);
  qz_run_options run = QZ_INIT(qz_run_options);
  qz_module_report report = QZ_INIT(qz_module_report);
  qz_eval eval = QZ_INIT(qz_eval);
  qz_eval_options eval_options = QZ_INIT(qz_eval_options);
  qz_device_info device = QZ_INIT(qz_device_info);
  qz_memory_query query = QZ_INIT(qz_memory_query);
  qz_memory memory = QZ_INIT(qz_memory);
  qz_check_options loader = QZ_INIT(qz_check_options);
  qz_tensor w;
  qz_part parts[8];
  static float weight[16 * 128], back[16 * 128], logits[4096];
  static char json[1 << 20];
  size_t need = 0, count = 8;
  int calls = 0, i;
  const int32_t ids[] = {1, 2, 3};

  CHECK(argc == 2);
  CHECK(qz_version() / 1000 == QZ_VERSION_MAJOR * 1000u + QZ_VERSION_MINOR);
  CHECK(qz_context_create(NULL, &context) == QZ_STATUS_OK);
  CHECK(qz_device_get(context, 0, &device) == QZ_STATUS_OK && device.device.kind == 1 && device.memory_total > 0);
  CHECK(qz_model_open(context, argv[1], NULL, &model) == QZ_STATUS_OK);
  CHECK(qz_model_get_info(model, &info) == QZ_STATUS_OK && !strcmp(info.arch, "llama") && info.vocab <= 4096);
  CHECK(qz_model_get_module(model, 0, &module) == QZ_STATUS_OK && !strcmp(module.role, "q"));
  CHECK(qz_calib_create(context, &text) == QZ_STATUS_OK);
  CHECK(qz_calib_add_generated(text, model, 4, 64, 1, NULL, NULL) == QZ_STATUS_OK);

  CHECK(qz_scheme_preset("w4g128", &scheme) == QZ_STATUS_OK && scheme.bits == 4 && scheme.group == 128);
  CHECK(qz_plan_create(model, &plan) == QZ_STATUS_OK);
  rule.method = QZ_METHOD_GPTQ;
  rule.scheme = &scheme;
  CHECK(qz_plan_add_rule(plan, "*", &rule) == QZ_STATUS_OK);
  loader.loader = "vllm";
  CHECK(qz_plan_check(plan, &loader, json, sizeof json, &need) == QZ_STATUS_OK);
  query.goal = QZ_GOAL_QUANTIZE;
  query.plan = plan;
  CHECK(qz_memory_estimate(model, &query, &memory) == QZ_STATUS_OK && memory.host_total > 0 && memory.disk_total > 0);
  run.progress = go_on;
  run.user = &calls;
  CHECK(qz_plan_run(plan, text, &run, &made) == QZ_STATUS_OK && calls > 0);
  CHECK(qz_report_count(made) > 0 && qz_report_get(made, 0, &report) == QZ_STATUS_OK);
  CHECK(report.method == QZ_METHOD_GPTQ && report.bits == 4 && report.bytes_after < report.bytes_before);
  CHECK(qz_report_to_json(made, json, sizeof json, &need) == QZ_STATUS_OK && strlen(json) + 1 == need);
  eval_options.window = 64;
  CHECK(qz_eval_perplexity(made, model, text, &eval_options, &eval) == QZ_STATUS_OK && eval.kl_to_reference > 0);

  memset(&w, 0, sizeof w);
  for (i = 0; i < 16 * 128; ++i) weight[i] = (float)(i % 29) - 14;
  w.data = weight;
  w.ndim = 2;
  w.shape[0] = 16;
  w.shape[1] = w.stride[0] = 128;
  w.stride[1] = 1;
  w.dtype = QZ_DTYPE_F32;
  w.device.kind = 1;
  rule.method = QZ_METHOD_RTN;
  CHECK(qz_packed_quantize(context, &w, &rule, NULL, &packed) == QZ_STATUS_OK);
  CHECK(qz_packed_export(packed, QZ_FORMAT_COMPRESSED, parts, &count) == QZ_STATUS_OK && count == 3);
  w.data = back;
  CHECK(qz_packed_dequantize(packed, &w) == QZ_STATUS_OK && back[14] < 1.1f && back[14] > -1.1f);

  CHECK(qz_session_create(made, 0, &session) == QZ_STATUS_OK);
  w.data = logits;
  w.shape[0] = 1;
  w.shape[1] = w.stride[0] = info.vocab;
  CHECK(qz_session_logits(session, ids, 3, &w) == QZ_STATUS_OK && logits[0] != logits[1]);

  CHECK(qz_model_open(context, "no such place", NULL, &model) == QZ_STATUS_IO && model == NULL);
  CHECK(!strcmp(qz_status_name(QZ_STATUS_IO), "QZ_STATUS_IO"));
  qz_session_free(session);
  qz_packed_free(packed);
  qz_model_free(made);
  qz_plan_free(plan);
  qz_calib_free(text);
  qz_context_free(context);
  return 0;
}
