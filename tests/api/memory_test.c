/* qz/memory.h: estimates from the C side: defaults, kinds that add up, limits, refusals. */
#include "check.h"

#define CONFIG "tests/data/configs/qwen3-8b"

static uint64_t kinds(const qz_memory* m) {
  return m->weights + m->scales + m->kv_cache + m->activations + m->logits + m->gradients + m->optimizer +
         m->workspace + m->runtime;
}

static uint64_t directory_bytes(const char* dir) {
  char path[512];
  struct stat info;
  snprintf(path, sizeof path, "%s/model.safetensors", dir);
  return stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
}

/* What libqz writes has the bytes that were announced. */
static void check_written(const qz_context* context, const char* format_name, qz_format format, const char* scheme) {
  qz_model* model = open_model(context, MODEL);
  qz_plan* plan = NULL;
  qz_model* made = NULL;
  qz_memory_query query = QZ_INIT(qz_memory_query);
  qz_memory memory = QZ_INIT(qz_memory);
  qz_run_options run = QZ_INIT(qz_run_options);
  char json[256], dir[] = "/tmp/qz-memory-XXXXXX", out[64];
  snprintf(json, sizeof json, "{\"rules\": [{\"glob\": \"*\", \"method\": \"rtn\", \"scheme\": \"%s\"}]}", scheme);
  CHECK(qz_plan_from_json(model, json, strlen(json), &plan) == QZ_STATUS_OK);
  query.goal = QZ_GOAL_QUANTIZE;
  query.plan = plan;
  query.format = format;
  CHECK(qz_memory_estimate(model, &query, &memory) == QZ_STATUS_OK);
  CHECK(mkdtemp(dir) != NULL);
  snprintf(out, sizeof out, "%s/out", dir);
  run.format = format;
  run.stream_to = out;
  CHECK(qz_plan_run(plan, NULL, &run, &made) == QZ_STATUS_OK);
  if (directory_bytes(out) != memory.disk_total) {
    printf("%s %s: %llu bytes announced, %llu written\n", format_name, scheme, (unsigned long long)memory.disk_total,
           (unsigned long long)directory_bytes(out));
    ++failures;
  }
  qz_model_free(made);
  qz_plan_free(plan);
  qz_model_free(model);
  snprintf(json, sizeof json, "rm -rf %s", dir);
  CHECK(system(json) == 0);
}

int main(void) {
  qz_context* context = make_context(2);
  qz_model_options config_only = QZ_INIT(qz_model_options);
  qz_memory_query query = QZ_INIT(qz_memory_query);
  qz_memory plain = QZ_INIT(qz_memory), small = QZ_INIT(qz_memory);
  qz_device_info device = QZ_INIT(qz_device_info);
  qz_fit fit = QZ_INIT(qz_fit);
  qz_model* model = NULL;
  char text[16384];
  size_t need = 0;

  config_only.config_only = 1;
  CHECK(qz_model_open(context, CONFIG, &config_only, &model) == QZ_STATUS_OK);
  CHECK(qz_memory_estimate(model, NULL, &plain) == QZ_STATUS_OK);
  CHECK(plain.struct_size == sizeof plain && kinds(&plain) == plain.device_total && plain.host_total == 0);
  CHECK(plain.weights == 2 * UINT64_C(8190735360));
  CHECK(plain.kv_cache == UINT64_C(147456) * 2048);
  query.weights = "w4g128";
  query.kv_cache = QZ_DTYPE_I8;
  CHECK(qz_memory_estimate(model, &query, &small) == QZ_STATUS_OK);
  CHECK(small.scales > 0 && small.weights + small.scales < plain.weights / 2 && small.kv_cache == plain.kv_cache / 2);

  device.memory_free = UINT64_C(16) << 30;
  CHECK(qz_memory_fit(model, &query, &device, QZ_FIT_CONTEXT, &fit) == QZ_STATUS_OK);
  CHECK(fit.value > 32768 && fit.needed <= device.memory_free);
  query.weights = NULL;
  device.memory_free = UINT64_C(12) << 30;
  CHECK(qz_memory_fit(model, &query, &device, QZ_FIT_BITS, &fit) == QZ_STATUS_OK);
  CHECK(fit.value == 8 && strcmp(fit.weights, "w8") == 0);

  query.goal = QZ_GOAL_TRAIN_QLORA;
  CHECK(qz_memory_to_json(model, &query, text, sizeof text, &need) == QZ_STATUS_OK);
  CHECK(strlen(text) + 1 == need && strstr(text, "\"formula\"") && strstr(text, "43646976 parameters are trained"));
  FAILS(qz_memory_deepspeed(&query, text, sizeof text, &need), QZ_STATUS_INVALID_ARGUMENT);
  query.zero_stage = 2;
  CHECK(qz_memory_deepspeed(&query, text, sizeof text, &need) == QZ_STATUS_OK && strstr(text, "\"stage\": 2"));

  /* What a run takes on the host for a device, which need not be there. */
  query.goal = QZ_GOAL_QUANTIZE;
  query.batch = 4, query.seq_len = 64;
  CHECK(qz_memory_to_json(model, &query, text, sizeof text, &need) == QZ_STATUS_OK && !strstr(text, "driver"));
  query.device.kind = 2;
  CHECK(qz_memory_to_json(model, &query, text, sizeof text, &need) == QZ_STATUS_OK && strstr(text, "driver"));
  query.device.kind = 1, query.device.index = 1;
  FAILS(qz_memory_estimate(model, &query, &small), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("the CPU is (1, 0)");
  query.device.kind = query.device.index = 0;
  query.batch = query.seq_len = 0;

  query.goal = 9;
  FAILS(qz_memory_estimate(model, &query, &small), QZ_STATUS_INVALID_ARGUMENT);
  query.goal = QZ_GOAL_INFER;
  query.weights = "w4g127";
  FAILS(qz_memory_estimate(model, &query, &small), QZ_STATUS_INVALID_ARGUMENT);
  query.weights = NULL;
  query.batch = query.seq_len = INT64_C(1) << 40;
  FAILS(qz_memory_estimate(model, &query, &small), QZ_STATUS_UNSUPPORTED);
  SAYS("64 bits");
  query.batch = -1;
  FAILS(qz_memory_estimate(model, &query, &small), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("batch");
  FAILS(qz_memory_estimate(NULL, NULL, &small), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_memory_estimate(model, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_memory_fit(model, NULL, NULL, QZ_FIT_CONTEXT, &fit), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_memory_fit(model, NULL, &device, 7, &fit), QZ_STATUS_INVALID_ARGUMENT);
  qz_model_free(model);

  check_written(context, "compressed-tensors", QZ_FORMAT_COMPRESSED, "w4g128");
  check_written(context, "compressed-tensors", QZ_FORMAT_COMPRESSED, "w8");
  check_written(context, "gptq", QZ_FORMAT_GPTQ, "w4g128a");
  check_written(context, "gptq_v2", QZ_FORMAT_GPTQ_V2, "w2g64");
  qz_context_free(context);
  return failures != 0;
}
