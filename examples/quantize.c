/* quantize MODEL OUT: a 16-bit model in, a 4-bit directory out, and how far the one is from the other.
 * No data is needed: the model writes its own text, to calibrate with and, from another seed, to be judged on.
 */
#include <qz/qz.h>
#include <stdio.h>

enum { SEQUENCES = 32, LENGTH = 256 };

static int32_t show(void* user, const qz_progress* p) {
  (void)user;
  fprintf(stderr, "\r%3.0f %%  %-60s", 100 * p->fraction, p->module);
  return 0; /* anything else cancels */
}

static void print(const char* name, const qz_eval* e) {
  printf("%-7s perplexity %.4f  KL %.5f nats  top-1 agreement %.1f %%\n", name, e->perplexity, e->kl_to_reference,
         100 * e->top1_agreement);
}

int main(int argc, char** argv) {
  qz_context* context = NULL;
  qz_model *model = NULL, *rounded = NULL, *solved = NULL;
  qz_calib *calibration = NULL, *text = NULL;
  qz_scheme w4g128 = QZ_INIT(qz_scheme);
  qz_run_options run = QZ_INIT(qz_run_options);
  qz_eval before = QZ_INIT(qz_eval), rtn = QZ_INIT(qz_eval), gptq = QZ_INIT(qz_eval);

  if (argc != 3) return fprintf(stderr, "usage: %s MODEL OUT\n", argv[0]), 2;
  run.stream_to = argv[2]; /* complete or absent, whatever happens */
  run.progress = show;

  const int failed = /* every call returns a qz_status; 0 is success */
      qz_context_create(NULL, &context) || qz_model_open(context, argv[1], NULL, &model) ||
      qz_scheme_preset("w4g128", &w4g128) ||

      qz_calib_create(context, &calibration) ||
      qz_calib_add_generated(calibration, model, SEQUENCES, LENGTH, /*seed*/ 0, NULL, NULL) ||
      qz_gptq_run(model, calibration, &w4g128, NULL, &run, &solved) || qz_rtn_run(model, &w4g128, NULL, &rounded) ||

      qz_calib_create(context, &text) || qz_calib_add_generated(text, model, 8, LENGTH, /*seed*/ 1, NULL, NULL) ||
      qz_eval_perplexity(model, model, text, NULL, &before) || qz_eval_perplexity(rounded, model, text, NULL, &rtn) ||
      qz_eval_perplexity(solved, model, text, NULL, &gptq);

  if (failed) {
    fprintf(stderr, "\n%s\n", qz_last_error());
  } else {
    fputc('\n', stderr);
    print("16 bit", &before);
    print("rounded", &rtn);
    print("GPTQ", &gptq);
  }

  qz_calib_free(text); /* in any order, and NULL is fine */
  qz_calib_free(calibration);
  qz_model_free(solved);
  qz_model_free(rounded);
  qz_model_free(model);
  qz_context_free(context);
  return failed;
}
