/* qz/quantize.h: schemes, plans, runs, reports. */
#include "check.h"

static void schemes(void) {
  struct {
    qz_scheme known;
    uint64_t tail;
  } grown;
  qz_scheme s = QZ_INIT(qz_scheme);
  CHECK(qz_scheme_preset("w4g32a", &s) == QZ_STATUS_OK);
  CHECK(s.struct_size == sizeof s && s.bits == 4 && s.group == 32 && s.asymmetric == 1 && s.scale == QZ_DTYPE_NONE);
  CHECK(qz_scheme_preset("int8", &s) == QZ_STATUS_OK && s.bits == 8 && s.group == -1 && s.asymmetric == 0);
  CHECK(qz_scheme_preset("w2tensor", &s) == QZ_STATUS_OK && s.group == -2);
  FAILS(qz_scheme_preset("w5g32", &s), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("w5g32");
  CHECK(s.bits == 2); /* untouched */
  FAILS(qz_scheme_preset("", &s), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_scheme_preset(NULL, &s), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_scheme_preset("w4", NULL), QZ_STATUS_INVALID_ARGUMENT);
  memset(&grown, 0xAB, sizeof grown);
  grown.known.struct_size = sizeof grown;
  CHECK(qz_scheme_preset("w4", &grown.known) == QZ_STATUS_OK && grown.known.struct_size == sizeof grown);
  s.struct_size = 0;
  FAILS(qz_scheme_preset("w4", &s), QZ_STATUS_INVALID_ARGUMENT);
}

/* Every field of every options struct is checked. */
static void bad_options(const qz_model* model, const qz_calib* calib) {
  static const struct {
    int32_t code, bits, group;
    qz_dtype scale;
    qz_status status;
  } wrong[] = {{77, 4, 128, 0, QZ_STATUS_UNSUPPORTED},      {0, 5, 128, 0, QZ_STATUS_INVALID_ARGUMENT},
               {0, -4, 128, 0, QZ_STATUS_INVALID_ARGUMENT}, {0, 4, 17, 0, QZ_STATUS_INVALID_ARGUMENT},
               {0, 4, 8, 0, QZ_STATUS_INVALID_ARGUMENT},    {0, 4, 2048, 0, QZ_STATUS_INVALID_ARGUMENT},
               {0, 4, -3, 0, QZ_STATUS_INVALID_ARGUMENT},   {0, 4, 128, QZ_DTYPE_I8, QZ_STATUS_INVALID_ARGUMENT},
               {0, 4, 128, 99, QZ_STATUS_INVALID_ARGUMENT}};
  qz_model* out = NULL;
  size_t i;
  for (i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    qz_scheme s = QZ_INIT(qz_scheme);
    s.code = wrong[i].code;
    s.bits = wrong[i].bits;
    s.group = wrong[i].group;
    s.scale = wrong[i].scale;
    FAILS(qz_rtn_run(model, &s, NULL, &out), wrong[i].status);
    CHECK(out == NULL);
  }
#define REFUSED(field, value)                                                           \
  do {                                                                                  \
    qz_gptq_options o = QZ_INIT(qz_gptq_options);                                       \
    o.field = value;                                                                    \
    FAILS(qz_gptq_run(model, calib, NULL, &o, NULL, &out), QZ_STATUS_INVALID_ARGUMENT); \
    SAYS(#field);                                                                       \
  } while (0)
  REFUSED(block, -1);
  REFUSED(block, 5000);
  REFUSED(order, 4);
  REFUSED(order, -1);
  REFUSED(sweeps, -2);
  REFUSED(sweeps, 1001);
  REFUSED(search, 2);
  REFUSED(signed_grid, -2);
  REFUSED(refit, 7);
  REFUSED(metric, -2);
  REFUSED(metric_ridge, -1);
  REFUSED(metric_ridge, NAN);
  REFUSED(damp, 1.5);
  REFUSED(damp, -0.1);
  REFUSED(damp, NAN);
  REFUSED(drift, -0.5);
  REFUSED(drift, 5);
  REFUSED(drift, NAN);
  REFUSED(residual, INFINITY);
  REFUSED(reserved, 1);
#undef REFUSED
  {
    qz_run_options run = QZ_INIT(qz_run_options);
    run.format = 99;
    FAILS(qz_rtn_run(model, NULL, &run, &out), QZ_STATUS_INVALID_ARGUMENT);
    run.format = QZ_FORMAT_PLAIN;
    FAILS(qz_rtn_run(model, NULL, &run, &out), QZ_STATUS_INVALID_ARGUMENT);
    run.format = 0;
    run.struct_size = 3;
    FAILS(qz_rtn_run(model, NULL, &run, &out), QZ_STATUS_INVALID_ARGUMENT);
    run.struct_size = sizeof run;
    run.strict = 1;
    FAILS(qz_gptq_run(model, calib, NULL, NULL, &run, &out), QZ_STATUS_INVALID_ARGUMENT);
    SAYS("calibration tokens");
  }
  {
    struct {
      qz_gptq_options known;
      unsigned char tail[8];
    } grown;
    memset(&grown, 0, sizeof grown);
    grown.known.struct_size = sizeof grown;
    grown.tail[7] = 1;
    FAILS(qz_gptq_run(model, calib, NULL, &grown.known, NULL, &out), QZ_STATUS_UNSUPPORTED);
  }
  FAILS(qz_rtn_run(NULL, NULL, NULL, &out), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_rtn_run(model, NULL, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_gptq_run(NULL, calib, NULL, NULL, NULL, &out), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_gptq_run(model, NULL, NULL, NULL, NULL, &out), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_gptq_run(model, calib, NULL, NULL, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
}

static void plans(const qz_model* model, const qz_calib* calib) {
  static const char json[] = "{\"rules\": [{\"glob\": \"*\", \"method\": \"rtn\", \"scheme\": \"w8\"}]}";
  qz_plan *plan = NULL, *copy = NULL;
  qz_rule rule = QZ_INIT(qz_rule);
  qz_scheme scheme = QZ_INIT(qz_scheme);
  qz_gptq_options gptq = QZ_INIT(qz_gptq_options);
  qz_module_info info = QZ_INIT(qz_module_info);
  qz_model* out = NULL;
  size_t need = 0;
  char text[4096], again[4096];
  CHECK(qz_plan_create(model, &plan) == QZ_STATUS_OK);
  rule.method = QZ_METHOD_GPTQ;
  rule.gptq = &gptq;
  gptq.sweeps = -1;
  gptq.metric = -1;
  gptq.drift = gptq.residual = -1;
  gptq.damp = 0.02;
  CHECK(qz_plan_add_rule(plan, "*", &rule) == QZ_STATUS_OK);
  rule.method = QZ_METHOD_RTN;
  rule.scheme = &scheme;
  scheme.bits = 8;
  scheme.group = -1;
  CHECK(qz_plan_add_rule(plan, "*.mlp.*", &rule) == QZ_STATUS_OK);
  rule.method = QZ_METHOD_KEEP;
  CHECK(qz_plan_add_rule(plan, "model.layers.[03].*", &rule) == QZ_STATUS_OK);
  rule.method = QZ_METHOD_RTN;
  FAILS(qz_plan_add_rule(plan, "*.moe.*", &rule), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_plan_add_rule(plan, "lm_head", &rule), QZ_STATUS_UNSUPPORTED); /* tied */
  rule.method = 9;
  FAILS(qz_plan_add_rule(plan, "*", &rule), QZ_STATUS_INVALID_ARGUMENT);
  rule.method = QZ_METHOD_RTN;
  FAILS(qz_plan_add_rule(NULL, "*", &rule), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_plan_add_rule(plan, NULL, &rule), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_plan_add_rule(plan, "*", NULL), QZ_STATUS_INVALID_ARGUMENT);

  CHECK(qz_plan_to_json(plan, NULL, 0, &need) == QZ_STATUS_OK && need > 100 && need < sizeof text);
  FAILS(qz_plan_to_json(plan, text, need - 1, &need), QZ_STATUS_BUFFER_TOO_SMALL);
  CHECK(qz_plan_to_json(plan, text, need, NULL) == QZ_STATUS_OK && strlen(text) == need - 1);
  CHECK(strstr(text, "\"drift\": 0") && strstr(text, "\"damp\": 0.02"));
  CHECK(qz_plan_from_json(model, text, need - 1, &copy) == QZ_STATUS_OK);
  CHECK(qz_plan_to_json(copy, again, sizeof again, NULL) == QZ_STATUS_OK && strcmp(text, again) == 0);
  qz_plan_free(copy);
  copy = plan;
  CHECK(qz_plan_from_json(model, "{", 1, &copy) != QZ_STATUS_OK && copy == NULL);
  FAILS(qz_plan_from_json(NULL, json, sizeof json - 1, &copy), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_plan_from_json(model, NULL, 5, &copy), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_plan_from_json(model, json, sizeof json - 1, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_plan_to_json(NULL, NULL, 0, &need), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_plan_create(NULL, &copy), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_plan_create(model, NULL), QZ_STATUS_INVALID_ARGUMENT);

  FAILS(qz_plan_run(plan, NULL, NULL, &out), QZ_STATUS_INVALID_ARGUMENT); /* GPTQ without tokens */
  CHECK(qz_plan_run(plan, calib, NULL, &out) == QZ_STATUS_OK);
  CHECK(qz_model_get_module(out, 0, &info) == QZ_STATUS_OK && !info.quantized);
  CHECK(qz_model_get_module(out, 7, &info) == QZ_STATUS_OK && info.quantized && info.bits == 4 && info.group == 128);
  CHECK(qz_model_get_module(out, 13, &info) == QZ_STATUS_OK && info.quantized && info.bits == 8 && info.group == -1);
  CHECK(qz_report_count(out) == 14);
  FAILS(qz_plan_run(NULL, calib, NULL, &out), QZ_STATUS_INVALID_ARGUMENT);
  CHECK(out == NULL);
  FAILS(qz_plan_run(plan, calib, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  qz_plan_free(plan);
  qz_plan_free(NULL);
}

static void reports(const qz_model* model, const qz_model* out) {
  qz_module_report r = QZ_INIT(qz_module_report);
  size_t need = 0, i;
  char* text;
  CHECK(qz_report_count(out) == 28 && qz_report_count(model) == 0 && qz_report_count(NULL) == 0);
  for (i = 0; i < 28; ++i) {
    CHECK(qz_report_get(out, i, &r) == QZ_STATUS_OK);
    CHECK(r.struct_size == sizeof r && r.method == QZ_METHOD_GPTQ && r.bits == 4 && r.group == 128 && !r.asymmetric);
    CHECK(r.weight_error > 0 && r.weight_error < 0.1 && r.output_error > 0 && r.rtn_output_error > 0);
    CHECK(r.damp > 0 && r.damp_steps == 0 && !r.fell_back && r.seconds >= 0);
    CHECK(r.tokens > 0 && r.bytes_after * 3 < r.bytes_before && r.reserved == 0);
  }
  CHECK(strcmp(r.name, "model.layers.3.mlp.down_proj") == 0);
  FAILS(qz_report_get(out, 28, &r), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_report_get(model, 0, &r), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_report_get(NULL, 0, &r), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_report_get(out, 0, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_report_to_json(model, NULL, 0, &need), QZ_STATUS_UNSUPPORTED);
  FAILS(qz_report_to_json(NULL, NULL, 0, &need), QZ_STATUS_INVALID_ARGUMENT);
  CHECK(need == 0);
  CHECK(qz_report_to_json(out, NULL, 0, &need) == QZ_STATUS_OK && need > 1000);
  text = malloc(need);
  FAILS(qz_report_to_json(out, text, 10, &need), QZ_STATUS_BUFFER_TOO_SMALL);
  CHECK(qz_report_to_json(out, text, need, &need) == QZ_STATUS_OK && strlen(text) == need - 1);
  CHECK(strstr(text, "\"producer\": \"libqz\"") && strstr(text, "sha256"));
  free(text);
}

struct watch {
  pthread_t thread;
  int calls, stop_at, wrong;
};

static int32_t watching(void* user, const qz_progress* p) {
  struct watch* w = user;
  if (!pthread_equal(w->thread, pthread_self()) || p->fraction < 0 || p->fraction > 1 || p->layers != 4) ++w->wrong;
  return ++w->calls == w->stop_at;
}

static void cancelling(const qz_model* model, const qz_calib* calib) {
  char directory[64], path[512];
  qz_run_options run = QZ_INIT(qz_run_options);
  qz_model* out = NULL;
  struct watch w = {pthread_self(), 0, 0, 0};
  int stop;
  make_directory(directory);
  run.stream_to = join(path, directory, "out");
  run.progress = watching;
  run.user = &w;
  for (stop = 1; stop <= 5; ++stop) {
    w.calls = 0;
    w.stop_at = stop;
    FAILS(qz_gptq_run(model, calib, NULL, NULL, &run, &out), QZ_STATUS_CANCELLED);
    CHECK(out == NULL && w.calls == stop && w.wrong == 0);
    CHECK(entries(directory) == 0);
  }
  w.stop_at = 0;
  CHECK(qz_gptq_run(model, calib, NULL, NULL, &run, &out) == QZ_STATUS_OK);
  CHECK(entries(directory) == 1 && w.wrong == 0);
  CHECK(qz_model_verify(out, path, NULL, 0, NULL) == QZ_STATUS_OK);
  qz_model_free(out);
  FAILS(qz_gptq_run(model, calib, NULL, NULL, &run, &out), QZ_STATUS_INVALID_ARGUMENT); /* exists */
  SAYS("exists");
  run.overwrite = 1;
  CHECK(qz_rtn_run(model, NULL, &run, &out) == QZ_STATUS_OK);
  CHECK(entries(directory) == 1);
  qz_model_free(out);
  remove_directory(directory);
}

/* A host's executor: three threads, each taking every third task. */
struct share {
  void* task;
  qz_task_fn fn;
  uint32_t first, count;
};

static void* work(void* arg) {
  struct share* s = arg;
  uint32_t i;
  for (i = s->first; i < s->count; i += 3) s->fn(s->task, i, s->first);
  return NULL;
}

static int32_t executor(void* user, void* task, qz_task_fn fn, uint32_t count) {
  pthread_t threads[3];
  struct share shares[3];
  uint32_t i;
  ++*(int*)user;
  for (i = 0; i < 3; ++i) {
    shares[i].task = task;
    shares[i].fn = fn;
    shares[i].first = i;
    shares[i].count = count;
    pthread_create(&threads[i], NULL, work, &shares[i]);
  }
  for (i = 0; i < 3; ++i) pthread_join(threads[i], NULL);
  return 0;
}

static int32_t unable(void* user, void* task, qz_task_fn fn, uint32_t count) {
  (void)user, (void)task, (void)fn, (void)count;
  return 1;
}

static void lent_threads(const qz_model* own) {
  char directory[64];
  int calls = 0;
  qz_context_options o = QZ_INIT(qz_context_options);
  qz_context* context = NULL;
  qz_model *model, *out = NULL;
  qz_calib* calib;
  make_directory(directory);
  o.parallel = executor;
  o.user = &calls;
  CHECK(qz_context_create(&o, &context) == QZ_STATUS_OK);
  model = open_model(context, MODEL);
  calib = make_tokens(context, 4, 32, 1);
  CHECK(qz_gptq_run(model, calib, NULL, NULL, NULL, &out) == QZ_STATUS_OK);
  CHECK(calls > 10);
  CHECK(same_weights(own, out, directory));
  qz_model_free(out);
  qz_calib_free(calib);
  qz_model_free(model);
  qz_context_free(context);
  o.parallel = unable;
  CHECK(qz_context_create(&o, &context) == QZ_STATUS_OK);
  model = open_model(context, MODEL);
  FAILS(qz_rtn_run(model, NULL, NULL, &out), QZ_STATUS_INTERNAL);
  CHECK(out == NULL);
  qz_model_free(model);
  qz_context_free(context);
  remove_directory(directory);
}

int main(void) {
  char directory[64];
  qz_context *one = make_context(1), *two = make_context(2);
  qz_model *model = open_model(one, MODEL), *other = open_model(two, MODEL), *a = NULL, *b = NULL;
  qz_calib* calib = make_tokens(one, 4, 32, 1);
  make_directory(directory);
  schemes();
  bad_options(model, calib);
  plans(model, calib);
  CHECK(qz_gptq_run(model, calib, NULL, NULL, NULL, &a) == QZ_STATUS_OK);
  CHECK(qz_gptq_run(other, calib, NULL, NULL, NULL, &b) == QZ_STATUS_OK);
  CHECK(same_weights(a, b, directory));
  reports(model, a);
  {
    qz_model* again = NULL;
    FAILS(qz_rtn_run(a, NULL, NULL, &again), QZ_STATUS_UNSUPPORTED); /* quantized already */
  }
  lent_threads(a);
  cancelling(other, calib);
  qz_calib_free(calib);
  qz_model_free(a);
  qz_model_free(b);
  qz_model_free(model);
  qz_model_free(other);
  qz_context_free(one);
  qz_context_free(two);
  remove_directory(directory);
  return failures != 0;
}
