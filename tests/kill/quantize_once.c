/* One quantization as a program of its own, to be killed and starved. Exit status: the qz_status of the call that
 * failed. quantize_once rtn|gptq MODEL TARGET BITS [overwrite] quantize_once verify MODEL TARGET */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qz/qz.h"

enum { TOKENS = 192, SEQUENCE = 48, VOCAB = 256, SHARD_BYTES = 60000 };

static int fail(qz_status status) {
  fprintf(stderr, "%s: %s\n", qz_status_name(status), qz_last_error());
  return (int)status;
}

/* Something to calibrate on; what it says does not matter here. */
static qz_status make_tokens(const qz_context* ctx, qz_calib** out) {
  int32_t ids[SEQUENCE];
  qz_status status = qz_calib_create(ctx, out);
  for (int i = 0; status == QZ_STATUS_OK && i < TOKENS; i += SEQUENCE) {
    for (int j = 0; j < SEQUENCE; j++) ids[j] = (i + j * 7) % VOCAB;
    status = qz_calib_add_tokens(*out, ids, SEQUENCE);
  }
  return status;
}

int main(int argc, char** argv) {
  qz_context_options options = QZ_INIT(qz_context_options);
  qz_run_options run = QZ_INIT(qz_run_options);
  qz_scheme scheme = QZ_INIT(qz_scheme);
  qz_context* ctx = NULL;
  qz_model *model = NULL, *made = NULL;
  qz_calib* calib = NULL;
  qz_status status;
  if (argc < 4) return 100;
  options.threads = 1; /* the same calls in the same order, every time */
  status = qz_context_create(&options, &ctx);
  if (status == QZ_STATUS_OK) status = qz_model_open(ctx, argv[2], NULL, &model);
  if (status != QZ_STATUS_OK) return fail(status);
  if (strcmp(argv[1], "verify") == 0) {
    status = qz_model_verify(model, argv[3], NULL, 0, NULL);
  } else {
    scheme.bits = argc > 4 ? atoi(argv[4]) : 4;
    scheme.group = 32;
    run.stream_to = argv[3];
    run.shard_bytes = SHARD_BYTES; /* several files and an index */
    run.overwrite = argc > 5 && strcmp(argv[5], "overwrite") == 0;
    if (strcmp(argv[1], "gptq") == 0) {
      status = make_tokens(ctx, &calib);
      if (status == QZ_STATUS_OK) status = qz_gptq_run(model, calib, &scheme, NULL, &run, &made);
    } else {
      status = qz_rtn_run(model, &scheme, &run, &made);
    }
  }
  if (status != QZ_STATUS_OK) fail(status);
  qz_calib_free(calib);
  qz_model_free(made);
  qz_model_free(model);
  qz_context_free(ctx);
  return (int)status;
}
