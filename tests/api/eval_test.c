/* qz/eval.h: perplexity, divergence, sessions, generation. */
#include "check.h"

#define SEES "tests/data/goldens/models/internvl-qwen3"

static int32_t stop(void* user, const qz_progress* p) {
  CHECK(strcmp(p->phase, "evaluate") == 0);
  ++*(int*)user;
  return 1;
}

static void perplexity(const qz_context* context, const qz_model* model) {
  struct {
    qz_eval known;
    unsigned char tail[8];
  } grown;
  qz_calib *text = make_tokens(context, 1, 200, 4), *empty = NULL;
  qz_eval_options o = QZ_INIT(qz_eval_options);
  qz_eval a = QZ_INIT(qz_eval), b = QZ_INIT(qz_eval);
  qz_model* rounded = NULL;
  int calls = 0;
  o.window = 64;
  CHECK(qz_eval_perplexity(model, NULL, text, &o, &a) == QZ_STATUS_OK);
  CHECK(a.struct_size == sizeof a && a.tokens == 3 * 63); /* three whole windows, the first token of each not scored */
  CHECK(a.perplexity > 1000 && a.perplexity < 1e7);       /* random tokens: worse than guessing among 2048 */
  CHECK(a.perplexity_error > 0 && isnan(a.kl_to_reference) && isnan(a.kl_p99) && a.tokens_per_s > 0);
  CHECK(strcmp(a.protocol, "window-64") == 0 && strlen(a.token_hash) == 64);
  CHECK(qz_eval_perplexity(model, model, text, &o, &b) == QZ_STATUS_OK); /* itself */
  CHECK(a.perplexity == b.perplexity && b.kl_to_reference == 0 && b.kl_p99 == 0 && b.top1_agreement == 1);
  o.stride = 32;
  CHECK(qz_eval_perplexity(model, NULL, text, &o, &b) == QZ_STATUS_OK);
  CHECK(strcmp(b.protocol, "strided-64/32") == 0 && b.tokens > a.tokens);
  CHECK(strcmp(a.token_hash, b.token_hash) == 0);
  CHECK(qz_rtn_run(model, NULL, NULL, &rounded) == QZ_STATUS_OK);
  CHECK(qz_eval_perplexity(rounded, model, text, NULL, &b) == QZ_STATUS_OK);
  CHECK(strcmp(b.protocol, "window-200") == 0); /* all there is */
  o.stride = 0;
  CHECK(qz_eval_perplexity(rounded, model, text, &o, &b) == QZ_STATUS_OK);
  CHECK(b.kl_to_reference > 0 && b.kl_p99 >= b.kl_to_reference && b.top1_agreement > 0.3 && b.top1_agreement <= 1);
  memset(&grown, 0, sizeof grown);
  memset(grown.tail, 0xAB, sizeof grown.tail);
  grown.known.struct_size = sizeof grown;
  CHECK(qz_eval_perplexity(model, NULL, text, &o, &grown.known) == QZ_STATUS_OK);

  o.progress = stop;
  o.user = &calls;
  a.tokens = -1;
  FAILS(qz_eval_perplexity(model, NULL, text, &o, &a), QZ_STATUS_CANCELLED);
  CHECK(calls == 1 && a.tokens == -1);
  o.progress = NULL;
  o.window = 1;
  FAILS(qz_eval_perplexity(model, NULL, text, &o, &a), QZ_STATUS_INVALID_ARGUMENT);
  o.window = 1 << 20;
  FAILS(qz_eval_perplexity(model, NULL, text, &o, &a), QZ_STATUS_INVALID_ARGUMENT);
  o.window = 64;
  o.stride = 65;
  FAILS(qz_eval_perplexity(model, NULL, text, &o, &a), QZ_STATUS_INVALID_ARGUMENT);
  o.stride = 0;
  o.products = QZ_PRODUCTS_INT8 + 1;
  FAILS(qz_eval_perplexity(model, NULL, text, &o, &a), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("products is 3");
  CHECK(qz_calib_create(context, &empty) == QZ_STATUS_OK);
  FAILS(qz_eval_perplexity(model, NULL, empty, NULL, &a), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_eval_perplexity(NULL, NULL, text, NULL, &a), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_eval_perplexity(model, NULL, NULL, NULL, &a), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_eval_perplexity(model, NULL, text, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  a.struct_size = 0;
  o.products = 0;
  FAILS(qz_eval_perplexity(model, NULL, text, &o, &a), QZ_STATUS_INVALID_ARGUMENT);
  qz_model_free(rounded);
  qz_calib_free(empty);
  qz_calib_free(text);
}

static void logits(const qz_model* model) {
  static float all[6 * 2048], last[2048], steps[2048];
  const int32_t ids[6] = {1, 5, 900, 2047, 3, 44};
  const int32_t foreign[2] = {1, 2048};
  qz_tensor t = tensor_2d(all, 6, 2048, QZ_DTYPE_F32);
  qz_session* session = NULL;
  int i;
  CHECK(qz_session_create(model, 8, &session) == QZ_STATUS_OK);
  CHECK(qz_session_logits(session, ids, 6, &t) == QZ_STATUS_OK);
  CHECK(qz_session_reset(session) == QZ_STATUS_OK);
  t = tensor_2d(last, 1, 2048, QZ_DTYPE_F32);
  CHECK(qz_session_logits(session, ids, 6, &t) == QZ_STATUS_OK);
  CHECK(memcmp(last, all + 5 * 2048, sizeof last) == 0);
  CHECK(qz_session_reset(session) == QZ_STATUS_OK);
  CHECK(qz_session_logits(session, ids, 3, NULL) == QZ_STATUS_OK); /* in pieces */
  t.data = steps;
  CHECK(qz_session_logits(session, ids + 3, 3, &t) == QZ_STATUS_OK);
  for (i = 0; i < 2048; ++i) CHECK(fabsf(steps[i] - last[i]) < 1e-3f);
  FAILS(qz_session_logits(session, ids, 3, &t), QZ_STATUS_INVALID_ARGUMENT); /* 6 of 8 positions are taken */
  CHECK(qz_session_logits(session, ids, 2, &t) == QZ_STATUS_OK);
  CHECK(qz_session_reset(session) == QZ_STATUS_OK);
  FAILS(qz_session_logits(session, foreign, 2, &t), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("2048");
  FAILS(qz_session_logits(session, ids, 0, &t), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_session_logits(session, NULL, 1, &t), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_session_logits(NULL, ids, 1, &t), QZ_STATUS_INVALID_ARGUMENT);
  t = tensor_2d(all, 2, 2048, QZ_DTYPE_F32);
  FAILS(qz_session_logits(session, ids, 6, &t), QZ_STATUS_INVALID_ARGUMENT);
  t = tensor_2d(all, 6, 2047, QZ_DTYPE_F32);
  FAILS(qz_session_logits(session, ids, 6, &t), QZ_STATUS_INVALID_ARGUMENT);
  t = tensor_2d(all, 6, 2048, QZ_DTYPE_BF16);
  FAILS(qz_session_logits(session, ids, 6, &t), QZ_STATUS_INVALID_ARGUMENT);
  t = tensor_2d(all, 6, 2048, QZ_DTYPE_F32);
  t.stride[0] = 4096;
  FAILS(qz_session_logits(session, ids, 6, &t), QZ_STATUS_INVALID_ARGUMENT);
  t.stride[0] = 2048;
  CHECK(qz_session_logits(session, ids, 6, &t) == QZ_STATUS_OK); /* nothing was fed by what failed */
  FAILS(qz_session_reset(NULL), QZ_STATUS_INVALID_ARGUMENT);
  qz_session_free(session);
  FAILS(qz_session_create(NULL, 8, &session), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_session_create(model, 8, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_session_create(model, -1, &session), QZ_STATUS_INVALID_ARGUMENT);
  CHECK(session == NULL);
  qz_session_free(NULL);
}

/* Inputs rounded to 8 bits move the logits, and are exact again when that is asked for. */
static void products(const qz_model* model) {
  static float exact[2048], rounded[2048];
  const int32_t ids[3] = {1, 5, 900};
  qz_tensor t = tensor_2d(exact, 1, 2048, QZ_DTYPE_F32);
  qz_model* small = NULL;
  qz_session* session = NULL;
  double difference = 0, size = 0;
  int i;
  CHECK(qz_rtn_run(model, NULL, NULL, &small) == QZ_STATUS_OK);
  CHECK(qz_session_create(small, 8, &session) == QZ_STATUS_OK);
  CHECK(qz_session_logits(session, ids, 3, &t) == QZ_STATUS_OK);
  CHECK(qz_session_reset(session) == QZ_STATUS_OK);
  CHECK(qz_session_set_products(session, QZ_PRODUCTS_INT8) == QZ_STATUS_OK);
  t.data = rounded;
  CHECK(qz_session_logits(session, ids, 3, &t) == QZ_STATUS_OK);
  for (i = 0; i < 2048; ++i) {
    difference += (rounded[i] - exact[i]) * (rounded[i] - exact[i]);
    size += exact[i] * exact[i];
  }
  CHECK(difference > 0 && difference < 0.001 * size);
  CHECK(qz_session_reset(session) == QZ_STATUS_OK);
  CHECK(qz_session_set_products(session, QZ_PRODUCTS_EXACT) == QZ_STATUS_OK);
  CHECK(qz_session_logits(session, ids, 3, &t) == QZ_STATUS_OK);
  CHECK(memcmp(rounded, exact, sizeof exact) == 0);
  FAILS(qz_session_set_products(session, -1), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_session_set_products(NULL, QZ_PRODUCTS_BF16), QZ_STATUS_INVALID_ARGUMENT);
  qz_session_free(session);
  qz_model_free(small);
}

/* Embeddings that transformers made of a text with a picture, and the logits that it gives for them. */
static float* read_npy(const char* path, size_t count) {
  FILE* f = fopen(path, "rb");
  uint8_t head[10];
  float* values = malloc(count * sizeof *values);
  CHECK(f && values && fread(head, 1, 10, f) == 10);
  CHECK(fseek(f, 10 + head[8] + 256 * head[9], SEEK_SET) == 0);
  CHECK(fread(values, sizeof *values, count, f) == count);
  fclose(f);
  return values;
}

static void embeddings(const qz_context* context) {
  enum { kTokens = 24, kHidden = 64, kVocab = 256 };
  qz_model* model = open_model(context, SEES);
  float* x = read_npy(SEES "/inputs_embeds.npy", kTokens * kHidden);
  float* want = read_npy(SEES "/logits_embeds.npy", kTokens * kVocab);
  float* got = malloc(kTokens * kVocab * sizeof *got);
  qz_tensor in = tensor_2d(x, kTokens, kHidden, QZ_DTYPE_F32), out = tensor_2d(got, kTokens, kVocab, QZ_DTYPE_F32);
  qz_session* session = NULL;
  int i;
  CHECK(qz_session_create(model, 32, &session) == QZ_STATUS_OK);
  CHECK(qz_session_logits_embeddings(session, &in, &out) == QZ_STATUS_OK);
  for (i = 0; i < kTokens * kVocab; ++i) CHECK(fabsf(got[i] - want[i]) < 1e-4f);
  FAILS(qz_session_logits_embeddings(session, &in, &out), QZ_STATUS_INVALID_ARGUMENT); /* 24 of 32 are taken */
  CHECK(qz_session_reset(session) == QZ_STATUS_OK);
  FAILS(qz_session_logits_embeddings(session, NULL, &out), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_session_logits_embeddings(NULL, &in, &out), QZ_STATUS_INVALID_ARGUMENT);
  in.shape[1] = kHidden - 1;
  FAILS(qz_session_logits_embeddings(session, &in, &out), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("63");
  qz_session_free(session);
  qz_model_free(model);
  free(x), free(want), free(got);
}

struct text {
  qz_session* session;
  int32_t ids[64];
  int count, stop_at, busy;
};

static int32_t collect(void* user, int32_t token) {
  struct text* t = user;
  if (t->session) { /* comes back into the session that it is called from */
    t->busy += qz_session_logits(t->session, &token, 1, NULL) == QZ_STATUS_BUSY;
    SAYS("callback");
    t->busy += qz_session_reset(t->session) == QZ_STATUS_BUSY;
    t->busy += qz_session_generate(t->session, &token, 1, NULL, NULL, NULL) == QZ_STATUS_BUSY;
  }
  t->ids[t->count++] = token;
  return t->count == t->stop_at;
}

static struct text generate(const qz_model* model, const qz_generate_options* o, int stop_at, int reenter) {
  const int32_t prompt[3] = {1, 77, 300};
  struct text t;
  qz_session* session = NULL;
  memset(&t, 0, sizeof t);
  t.stop_at = stop_at;
  CHECK(qz_session_create(model, 40, &session) == QZ_STATUS_OK);
  if (reenter) t.session = session;
  CHECK(qz_session_generate(session, prompt, 3, o, collect, &t) == QZ_STATUS_OK);
  if (reenter) CHECK(qz_session_reset(session) == QZ_STATUS_OK); /* free again */
  qz_session_free(session);
  return t;
}

static void generation(const qz_model* model) {
  const int32_t prompt[1] = {1};
  qz_generate_options o = QZ_INIT(qz_generate_options);
  struct text a, b;
  qz_session* session = NULL;
  int i, differ = 0;
  o.max_tokens = 20;
  o.seed = 5;
  a = generate(model, &o, 0, 0);
  b = generate(model, &o, 0, 0);
  CHECK(a.count >= 1 && a.count <= 20);
  CHECK(a.count == b.count && memcmp(a.ids, b.ids, sizeof a.ids) == 0);
  for (i = 0; i < 5 && !differ; ++i) { /* another seed, another text */
    o.seed = (uint64_t)(6 + i);
    b = generate(model, &o, 0, 0);
    differ = memcmp(a.ids, b.ids, sizeof a.ids) != 0;
  }
  CHECK(differ);
  o.greedy = 1;
  a = generate(model, &o, 0, 0);
  o.seed = 99;
  o.temperature = 3;
  b = generate(model, &o, 0, 0);
  CHECK(memcmp(a.ids, b.ids, sizeof a.ids) == 0);
  o.greedy = 0;
  o.top_k = 1; /* the same as greedy */
  b = generate(model, &o, 0, 0);
  CHECK(memcmp(a.ids, b.ids, sizeof a.ids) == 0);
  b = generate(model, &o, 2, 0);
  CHECK(b.count == (a.count < 2 ? a.count : 2) && memcmp(a.ids, b.ids, sizeof a.ids[0]) == 0);
  b = generate(model, &o, 0, 1);
  CHECK(b.busy == 3 * b.count && memcmp(a.ids, b.ids, sizeof a.ids) == 0);
  o.top_k = 0;
  o.max_tokens = 0; /* 128, but 40 positions */
  b = generate(model, &o, 0, 0);
  CHECK(b.count <= 38);

  CHECK(qz_session_create(model, 16, &session) == QZ_STATUS_OK);
  CHECK(qz_session_generate(session, prompt, 1, &o, NULL, NULL) == QZ_STATUS_OK); /* no one listens */
  CHECK(qz_session_reset(session) == QZ_STATUS_OK);
#define REFUSED(field, value)                                                                     \
  do {                                                                                            \
    qz_generate_options bad = QZ_INIT(qz_generate_options);                                       \
    bad.field = value;                                                                            \
    FAILS(qz_session_generate(session, prompt, 1, &bad, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT); \
  } while (0)
  REFUSED(max_tokens, -1);
  REFUSED(top_k, -1);
  REFUSED(temperature, -1);
  REFUSED(temperature, NAN);
  REFUSED(temperature, INFINITY);
  REFUSED(top_p, 1.5);
  REFUSED(top_p, NAN);
  REFUSED(repetition_penalty, -2);
  REFUSED(struct_size, 0);
#undef REFUSED
  FAILS(qz_session_generate(session, prompt, 0, &o, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_session_generate(session, NULL, 1, &o, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_session_generate(NULL, prompt, 1, &o, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  qz_session_free(session);
}

int main(void) {
  qz_context* context = make_context(1);
  qz_model* model = open_model(context, MODEL);
  perplexity(context, model);
  logits(model);
  products(model);
  embeddings(context);
  generation(model);
  qz_model_free(model);
  qz_context_free(context);
  return failures != 0;
}
