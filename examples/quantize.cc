// quantize MODEL OUT: a 16-bit model in, a 4-bit directory out, and how far the one is from the other.
// No data is needed: the model writes its own text, to calibrate with and, from another seed, to be judged on.
#include <qz/qz.h>

#include <cstdio>
#include <memory>
#include <stdexcept>

namespace {

// A handle of libqz: a unique_ptr, and out() for the calls that make one.
template <class T, void (*free)(T*)>
struct Handle {
  struct Free {
    void operator()(T* handle) const { free(handle); }
  };
  struct Out {
    std::unique_ptr<T, Free>* owner;
    T* made = nullptr;
    operator T**() { return &made; }
    ~Out() { owner->reset(made); }
  };
  std::unique_ptr<T, Free> owner;
  Out out() { return {&owner}; }
  operator T*() const { return owner.get(); }
};
using Context = Handle<qz_context, qz_context_free>;
using Model = Handle<qz_model, qz_model_free>;
using Calibration = Handle<qz_calib, qz_calib_free>;

void check(qz_status status) {
  if (status != QZ_STATUS_OK) throw std::runtime_error(qz_last_error());
}

int32_t show(void*, const qz_progress* p) {
  std::fprintf(stderr, "\r%3.0f %%  %-60s", 100 * p->fraction, p->module);
  return 0;  // anything else cancels
}

void print(const char* name, const Model& model, const Model& reference, const Calibration& text) {
  qz_eval e = QZ_INIT(qz_eval);
  check(qz_eval_perplexity(model, reference, text, nullptr, &e));
  std::printf("%-7s perplexity %.4f  KL %.5f nats  top-1 agreement %.1f %%\n", name, e.perplexity, e.kl_to_reference,
              100 * e.top1_agreement);
}

void quantize(const char* source, const char* out) {
  Context context;
  check(qz_context_create(nullptr, context.out()));
  Model model, rounded, solved;
  check(qz_model_open(context, source, nullptr, model.out()));
  Calibration calibration, text;
  check(qz_calib_create(context, calibration.out()));
  check(qz_calib_add_generated(calibration, model, 32, 256, /*seed*/ 0, nullptr, nullptr));

  qz_scheme w4g128 = QZ_INIT(qz_scheme);
  check(qz_scheme_preset("w4g128", &w4g128));
  qz_run_options run = QZ_INIT(qz_run_options);
  run.stream_to = out;  // complete or absent, whatever happens
  run.progress = show;
  check(qz_gptq_run(model, calibration, &w4g128, nullptr, &run, solved.out()));
  check(qz_rtn_run(model, &w4g128, nullptr, rounded.out()));
  std::fputc('\n', stderr);

  check(qz_calib_create(context, text.out()));
  check(qz_calib_add_generated(text, model, 8, 256, /*seed*/ 1, nullptr, nullptr));
  print("16 bit", model, model, text);
  print("rounded", rounded, model, text);
  print("GPTQ", solved, model, text);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) return std::fprintf(stderr, "usage: %s MODEL OUT\n", argv[0]), 2;
  quantize(argv[1], argv[2]);
  return 0;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "\n%s\n", problem.what());
  return 1;
}
