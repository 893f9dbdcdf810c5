// llama.cpp's speed with one model, for bench/peers, from Python: tokens one after another, and a prompt at once, as
// llama-bench measures them. Built against the libraries of llama-cpp-python's source package.
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "llama.h"

namespace {

struct Speed {
  llama_model* model = nullptr;
  llama_context* context = nullptr;
  ggml_threadpool* pool = nullptr;
  ~Speed() {
    if (context) llama_free(context);
    if (model) llama_model_free(model);
    if (pool) ggml_threadpool_free(pool);
  }
};

void start() {
  static bool started = false;
  if (started) return;
  started = true;
  llama_log_set(
      [](ggml_log_level level, const char* text, void*) {
        if (level >= GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
      },
      nullptr);
  llama_backend_init();
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Seconds of all but the first `before` tokens; negative: it failed.
double feed(llama_context* context, llama_token* tokens, int before, int rest, bool whole) {
  bool good = before == 0 || llama_decode(context, llama_batch_get_one(tokens, before)) == 0;
  llama_synchronize(context);
  const double begin = now();
  for (int i = before; good && i < before + rest; i += whole ? rest : 1) {
    good = llama_decode(context, llama_batch_get_one(tokens + i, whole ? rest : 1)) == 0;
    llama_synchronize(context);
  }
  return good ? now() - begin : -1;
}

}  // namespace

extern "C" {

// llama-quantize FROM TO q4_0: blocks that are Q4_0 already stay, the head gets Q6_K. Not 0: it failed.
int peer_llama_quantize(const char* from, const char* to, int threads) {
  start();
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.nthread = threads;
  params.ftype = LLAMA_FTYPE_MOSTLY_Q4_0;
  params.allow_requantize = true;
  return static_cast<int>(llama_model_quantize(from, to, &params));
}

// own_buffers: weights are laid out for the CPU ("AMX", "CPU_REPACK"). Null: it does not load.
void* peer_llama_open(const char* file, int threads, int positions, int own_buffers) {
  start();
  auto* s = new Speed;
  llama_model_params model_params = llama_model_default_params();
  model_params.use_extra_bufts = own_buffers != 0;
  s->model = llama_model_load_from_file(file, model_params);
  if (!s->model) return delete s, nullptr;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = static_cast<uint32_t>(positions);
  params.n_threads = params.n_threads_batch = threads;
  params.no_perf = true;
  s->context = llama_init_from_model(s->model, params);
  if (!s->context) return delete s, nullptr;
  ggml_threadpool_params pool = ggml_threadpool_params_default(threads);
  s->pool = ggml_threadpool_new(&pool);
  llama_attach_threadpool(s->context, s->pool, s->pool);
  ggml_threadpool_pause(s->pool);
  return s;
}

// Seconds of feeding ids[before] at once, then the rest one after another or, with `whole`, at once; only the rest
// counts. Negative: it failed. All threads sleep when it returns.
double peer_llama_run(void* self, const int* ids, int before, int rest, int whole) {
  auto* s = static_cast<Speed*>(self);
  ggml_threadpool_resume(s->pool);
  llama_memory_clear(llama_get_memory(s->context), true);
  std::vector<llama_token> tokens(ids, ids + before + rest);
  double spent = -1;
  // On a thread of its own: ggml configures the tile registers once a thread and takes them for its own from then on.
  std::thread([&] { spent = feed(s->context, tokens.data(), before, rest, whole != 0); }).join();
  ggml_threadpool_pause(s->pool);
  return spent;
}

// The logits of the last token fed, float32.
const float* peer_llama_logits(void* self) { return llama_get_logits_ith(static_cast<Speed*>(self)->context, -1); }

void peer_llama_close(void* self) { delete static_cast<Speed*>(self); }

}  // extern "C"
