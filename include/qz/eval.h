/* qz/eval.h - is it still good? Perplexity, divergence, sessions, generation. */
#ifndef QZ_EVAL_H
#define QZ_EVAL_H
#include "calib.h"
#include "model.h"
#ifdef __cplusplus
extern "C" {
#endif

/* What layers of the model multiply. Sums are float32 always, and inputs that a layer's own scheme rounds (W8A8, LLM.int8()) are rounded
 * so in any case. Coarser kinds are for speed and are never chosen for the caller. */
typedef int32_t qz_products;
enum {
  QZ_PRODUCTS_EXACT = 0, /* inputs as they are, in float32 */
  QZ_PRODUCTS_BF16 = 1,  /* inputs (and dense weights) rounded to bfloat16 where this CPU multiplies that faster, else as EXACT */
  QZ_PRODUCTS_INT8 = 2   /* inputs rounded to 8 bits, a scale for each token and group of weights, where weights are integers of 2, 4 or
                            8 bits; elsewhere as BF16 */
};

typedef struct qz_eval_options {
  uint32_t struct_size;
  int32_t window;          /* tokens; 0 = min(max_seq, 2048, the longest sequence) */
  int32_t stride;          /* 0 = window: no overlap, the remainder dropped, every token but a window's first scored;
                              smaller: sliding windows, only tokens new to a window are scored */
  qz_products products;    /* of the model; the reference's are always exact */
  qz_progress_fn progress; /* may be NULL */
  void *user;
} qz_eval_options;

typedef struct qz_eval {
  uint32_t struct_size, reserved;
  double perplexity;       /* exp of the mean negative log-likelihood */
  double perplexity_error; /* standard error, bootstrap over windows */
  double kl_to_reference;  /* mean over scored tokens of KL(reference || model), nats; NaN without a reference */
  double kl_p99;           /* 99th percentile of the same */
  double top1_agreement;   /* 0 ... 1 */
  double tokens_per_s;
  int64_t tokens;      /* scored */
  char protocol[32];   /* "window-256", "strided-512/256" */
  char token_hash[72]; /* SHA-256 of the text, hexadecimal */
} qz_eval;

typedef struct qz_generate_options {
  uint32_t struct_size;
  int32_t max_tokens;        /* 0 = 128 */
  int32_t top_k;             /* 0 = off */
  int32_t greedy;            /* 1: the most likely token; temperature, top_k and top_p are not used */
  double temperature;        /* 0 = 1 */
  double top_p;              /* 0 = 1 */
  double repetition_penalty; /* 0 = 1 */
  uint64_t seed;
} qz_generate_options;
typedef int32_t (*qz_token_fn)(void *user, int32_t token); /* non-zero stops */

/* Of an encoder the outputs are compared with the reference's, which is then required: of every token, or of a classifier of every
 * sequence; perplexity is NaN, protocol "texts". Else: one sequence in text is cut into windows; several are windowed one by one. reference
 * may be NULL; it must share the vocabulary. opts may be NULL. */
QZ_API qz_status qz_eval_perplexity(const qz_model *model, const qz_model *reference, const qz_calib *text, const qz_eval_options *opts,
                                    qz_eval *out);

/* A session owns one KV cache of max_seq positions (0 = the model's) and all blocks in memory. */
QZ_API qz_status qz_session_create(const qz_model *model, int64_t max_seq, qz_session **out);
/* From now on layers multiply so; a new session's are exact. What the cache holds stays. QZ_STATUS_INVALID_ARGUMENT: products is none of
 * the above; QZ_STATUS_BUSY: called from a callback of this session. */
QZ_API qz_status qz_session_set_products(qz_session *session, qz_products products);
/* Feeds n tokens. logits: F32 [n, vocab] or [1, vocab] (the last token's). NULL: none wanted. An encoder reads a whole text in one
 * call, then wants a reset; a classifier's logits are [1, outputs] of qz_model_info. Token types, where a model has them, are all 0. */
QZ_API qz_status qz_session_logits(qz_session *session, const int32_t *ids, size_t n, const qz_tensor *logits);
/* The same from embeddings that are ready, as qz_calib_add_embeddings takes them: x is F32, F16 or BF16, [n, hidden]. */
QZ_API qz_status qz_session_logits_embeddings(qz_session *session, const qz_tensor *x, const qz_tensor *logits);
/* Feeds the prompt (n >= 1), then samples until max_tokens, the end-of-text token, or fn says stop. opts may be NULL. */
QZ_API qz_status qz_session_generate(qz_session *session, const int32_t *prompt, size_t n, const qz_generate_options *opts, qz_token_fn fn,
                                     void *user);
/* Forgets everything that was fed. */
QZ_API qz_status qz_session_reset(qz_session *session);
QZ_API void qz_session_free(qz_session *session);

#ifdef __cplusplus
}
#endif
#endif
