/* qz/context.h: creation, settings, hooks, lifetime. */
#include "check.h"

static void options(void) {
  struct {
    qz_context_options known;
    uint64_t tail;
  } grown;
  qz_context_options o = QZ_INIT(qz_context_options);
  qz_context* context = NULL;
  FAILS(qz_context_create(&o, NULL), QZ_STATUS_INVALID_ARGUMENT);
  CHECK(qz_context_create(NULL, &context) == QZ_STATUS_OK);
  qz_context_free(context);
  o.threads = -1;
  FAILS(qz_context_create(&o, &context), QZ_STATUS_INVALID_ARGUMENT);
  CHECK(context == NULL);
  o.threads = 100000;
  FAILS(qz_context_create(&o, &context), QZ_STATUS_INVALID_ARGUMENT);
  o.threads = 1;
  o.struct_size = 0;
  FAILS(qz_context_create(&o, &context), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("struct_size");
  o.struct_size = 4; /* nothing but the size: defaults */
  o.threads = -5;
  CHECK(qz_context_create(&o, &context) == QZ_STATUS_OK);
  qz_context_free(context);
  memset(&grown, 0, sizeof grown);
  grown.known.struct_size = sizeof grown;
  CHECK(qz_context_create(&grown.known, &context) == QZ_STATUS_OK);
  qz_context_free(context);
  grown.tail = 1;
  FAILS(qz_context_create(&grown.known, &context), QZ_STATUS_UNSUPPORTED);
  CHECK(context == NULL);
  qz_context_free(NULL);
}

static void settings(void) {
  static const char* const keys[] = {"limits.header_bytes",
                                     "limits.config_bytes",
                                     "limits.index_bytes",
                                     "limits.json_depth",
                                     "limits.tensors_per_file",
                                     "limits.tensors_per_model",
                                     "limits.dims",
                                     "limits.name_bytes",
                                     "limits.layers",
                                     "limits.hidden",
                                     "limits.vocab",
                                     "limits.heads"};
  qz_context* context = make_context(1);
  qz_model* model = NULL;
  size_t i;
  for (i = 0; i < sizeof keys / sizeof keys[0]; ++i) {
    static const char* const bad[] = {"", "0", "-1", "12x", " 5", "1e3", "99999999999999999999"};
    size_t j;
    for (j = 0; j < sizeof bad / sizeof bad[0]; ++j) {
      FAILS(qz_context_set(context, keys[i], bad[j]), QZ_STATUS_INVALID_ARGUMENT);
      SAYS(keys[i]);
    }
    /* Each limit is one that the model breaks. */
    CHECK(qz_context_set(context, keys[i], "1") == QZ_STATUS_OK);
    /* One file: no index. */
    if (strcmp(keys[i], "limits.index_bytes") != 0 && strcmp(keys[i], "limits.tensors_per_model") != 0) {
      CHECK(qz_model_open(context, MODEL, NULL, &model) != QZ_STATUS_OK);
      CHECK(model == NULL);
    }
    CHECK(qz_context_set(context, keys[i], "100000000") == QZ_STATUS_OK);
  }
  CHECK(qz_model_open(context, MODEL, NULL, &model) == QZ_STATUS_OK);
  qz_model_free(model);
  FAILS(qz_context_set(context, "limits.beauty", "1"), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("limits.beauty");
  FAILS(qz_context_set(context, "cpu", "abacus"), QZ_STATUS_INVALID_ARGUMENT);
  CHECK(qz_context_set(context, "cpu", "ref") == QZ_STATUS_OK);
  CHECK(qz_context_set(context, "cpu", "") == QZ_STATUS_OK);
  FAILS(qz_context_set(NULL, "cpu", ""), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_context_set(context, NULL, ""), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_context_set(context, "cpu", NULL), QZ_STATUS_INVALID_ARGUMENT);
  qz_context_free(context);
}

struct log {
  int lines, worst;
  char text[256];
};

static void keep_log(void* user, int32_t level, const char* text) {
  struct log* log = user;
  ++log->lines;
  CHECK(level >= 1 && level <= 4);
  if (!log->worst || level < log->worst) log->worst = level;
  snprintf(log->text, sizeof log->text, "%s", text);
}

/* Too few tokens for the Hessian are worth a warning. */
static void logging(void) {
  struct log log = {0, 0, ""};
  qz_context_options o = QZ_INIT(qz_context_options);
  qz_context* context = NULL;
  qz_model *model = NULL, *out = NULL;
  qz_calib* calib;
  o.threads = 1;
  o.log = keep_log;
  o.user = &log;
  CHECK(qz_context_create(&o, &context) == QZ_STATUS_OK);
  model = open_model(context, MODEL);
  calib = make_tokens(context, 1, 8, 1);
  CHECK(qz_gptq_run(model, calib, NULL, NULL, NULL, &out) == QZ_STATUS_OK);
  CHECK(log.lines >= 1);
  CHECK(log.worst == 2);
  CHECK(strstr(log.text, "8 calibration tokens") != NULL);
  qz_model_free(out);
  qz_calib_free(calib);
  qz_model_free(model);
  qz_context_free(context);
}

/* Handles keep their context alive: freed in the worst order. */
static void lifetime(void) {
  qz_context* context = make_context(2);
  qz_model* model = open_model(context, MODEL);
  qz_calib* calib = make_tokens(context, 2, 16, 1);
  qz_model* out = NULL;
  qz_plan* plan = NULL;
  qz_session* session = NULL;
  const int32_t ids[2] = {1, 2};
  qz_context_free(context);
  CHECK(qz_plan_create(model, &plan) == QZ_STATUS_OK);
  CHECK(qz_session_create(model, 8, &session) == QZ_STATUS_OK);
  qz_model_free(model);
  CHECK(qz_session_logits(session, ids, 2, NULL) == QZ_STATUS_OK);
  CHECK(qz_plan_run(plan, NULL, NULL, &out) == QZ_STATUS_OK);
  qz_plan_free(plan);
  CHECK(qz_model_module_count(out) == 29);
  qz_session_free(session);
  qz_model_free(out);
  CHECK(qz_calib_tokens(calib) == 32);
  qz_calib_free(calib);
}

int main(void) {
  options();
  settings();
  logging();
  lifetime();
  return failures != 0;
}
