/* qz/loading.h: plans and directories before the loaders' rules. */
#include "check.h"

int main(void) {
  qz_context* context = make_context(1);
  qz_model* model = open_model(context, MODEL);
  qz_plan* plan = NULL;
  qz_check_options options = QZ_INIT(qz_check_options);
  const char* asymmetric = "{\"rules\": [{\"glob\": \"*\", \"method\": \"rtn\", \"scheme\": \"w4g128a\"}]}";
  char text[32768];
  size_t need = 0;

  CHECK(qz_plan_create(model, &plan) == QZ_STATUS_OK);
  options.loader = "vllm";
  CHECK(qz_plan_check(plan, &options, text, sizeof text, &need) == QZ_STATUS_OK);
  CHECK(strlen(text) + 1 == need && strstr(text, "\"ok\": true"));
  options.tensor_parallel = 3;
  FAILS(qz_plan_check(plan, &options, text, sizeof text, &need), QZ_STATUS_UNSUPPORTED);
  SAYS("tensor-parallel size 3");
  CHECK(strstr(text, "\"ok\": false") && strstr(text, "\"source\""));
  options.tensor_parallel = 0;
  qz_plan_free(plan);

  CHECK(qz_plan_from_json(model, asymmetric, strlen(asymmetric), &plan) == QZ_STATUS_OK);
  CHECK(qz_plan_check(plan, &options, text, sizeof text, &need) == QZ_STATUS_OK); /* compressed-tensors may */
  options.format = QZ_FORMAT_GPTQ;
  FAILS(qz_plan_check(plan, &options, text, sizeof text, &need), QZ_STATUS_UNSUPPORTED);
  SAYS("symmetric only");
  qz_plan_free(plan);

  CHECK(qz_model_check(model, &options, text, sizeof text, &need) == QZ_STATUS_OK);
  options.loader = "abacus";
  FAILS(qz_model_check(model, &options, text, sizeof text, &need), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("llama.cpp");
  options.loader = NULL;
  FAILS(qz_model_check(model, &options, text, sizeof text, &need), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_model_check(model, NULL, text, sizeof text, &need), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_plan_check(NULL, &options, text, sizeof text, &need), QZ_STATUS_INVALID_ARGUMENT);
  qz_model_free(model);
  qz_context_free(context);
  return failures != 0;
}
