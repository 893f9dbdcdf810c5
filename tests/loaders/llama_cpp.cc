// Perplexity of a GGUF file in llama.cpp itself: llama_cpp MODEL.gguf TOKENS WINDOW [LOGITS]. TOKENS: int32 ids, cut
// into windows; every token but a window's first is predicted. Prints the perplexity; LOGITS: a file for the first
// window's, float32. Built by tests/loaders/llama_cpp.py against the libraries of llama-cpp-python's source package.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "ggml-backend.h"
#include "llama.h"

int main(int argc, char** argv) {
  if (argc < 4) return std::fprintf(stderr, "usage: llama_cpp MODEL.gguf TOKENS WINDOW [LOGITS]\n"), 2;
  llama_log_set(
      [](ggml_log_level level, const char* text, void*) {
        if (level >= GGML_LOG_LEVEL_WARN) std::fputs(text, stderr);
      },
      nullptr);
  ggml_backend_load_all();
  llama_backend_init();
  llama_model_params model_params = llama_model_default_params();
  llama_model* model = llama_model_load_from_file(argv[1], model_params);
  if (!model) return std::fprintf(stderr, "%s: llama.cpp does not load it\n", argv[1]), 1;
  const int window = std::atoi(argv[3]), vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  std::ifstream in(argv[2], std::ios::binary);
  std::vector<llama_token> tokens;
  for (llama_token t; in.read(reinterpret_cast<char*>(&t), sizeof t);) tokens.push_back(t);
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = static_cast<uint32_t>(window);
  params.n_threads = params.n_threads_batch = 1;
  params.type_k = params.type_v = GGML_TYPE_F32;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  llama_context* context = llama_init_from_model(model, params);
  if (!context) return std::fprintf(stderr, "%s: no context\n", argv[1]), 1;
  double loss = 0;
  long count = 0;
  for (size_t begin = 0; begin + static_cast<size_t>(window) <= tokens.size(); begin += static_cast<size_t>(window)) {
    llama_memory_clear(llama_get_memory(context), true);
    llama_batch batch = llama_batch_init(window, 0, 1);
    batch.n_tokens = window;
    for (int i = 0; i < window; ++i) {
      batch.token[i] = tokens[begin + static_cast<size_t>(i)];
      batch.pos[i] = i;
      batch.n_seq_id[i] = 1;
      batch.seq_id[i][0] = 0;
      batch.logits[i] = 1;
    }
    if (llama_decode(context, batch) != 0) return std::fprintf(stderr, "llama_decode failed\n"), 1;
    std::ofstream logits;
    if (begin == 0 && argc > 4) logits.open(argv[4], std::ios::binary);
    for (int i = 0; i < window; ++i) {
      const float* row = llama_get_logits_ith(context, i);
      if (logits.is_open())
        logits.write(reinterpret_cast<const char*>(row), static_cast<std::streamsize>(sizeof(float)) * vocab);
      if (i + 1 == window) break;
      double most = row[0], sum = 0;
      for (int v = 1; v < vocab; ++v) most = row[v] > most ? row[v] : most;
      for (int v = 0; v < vocab; ++v) sum += std::exp(row[v] - most);
      loss += most + std::log(sum) - row[tokens[begin + static_cast<size_t>(i) + 1]];
      ++count;
    }
    llama_batch_free(batch);
  }
  std::printf("%.6f\n", std::exp(loss / static_cast<double>(count)));
  llama_free(context);
  llama_model_free(model);
  return 0;
}
