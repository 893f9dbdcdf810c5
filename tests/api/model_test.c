/* qz/model.h: open, look inside, save, verify. */
#include "check.h"

static void opening(const qz_context* context) {
  struct {
    qz_model_options known;
    uint64_t tail;
  } grown;
  qz_model_options o = QZ_INIT(qz_model_options);
  qz_model_info info = QZ_INIT(qz_model_info);
  qz_model* model = (qz_model*)&o; /* must become NULL */
  FAILS(qz_model_open(context, "/does/not/exist", NULL, &model), QZ_STATUS_IO);
  CHECK(model == NULL);
  FAILS(qz_model_open(NULL, MODEL, NULL, &model), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_model_open(context, NULL, NULL, &model), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_model_open(context, MODEL, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  o.reserved = 1;
  FAILS(qz_model_open(context, MODEL, &o, &model), QZ_STATUS_INVALID_ARGUMENT);
  o.reserved = 0;
  o.struct_size = 0;
  FAILS(qz_model_open(context, MODEL, &o, &model), QZ_STATUS_INVALID_ARGUMENT);
  o.struct_size = sizeof o;
  o.arch_json = "{";
  CHECK(qz_model_open(context, MODEL, &o, &model) != QZ_STATUS_OK);
  o.arch_json = NULL;
  memset(&grown, 0, sizeof grown);
  grown.known.struct_size = sizeof grown;
  CHECK(qz_model_open(context, MODEL, &grown.known, &model) == QZ_STATUS_OK);
  qz_model_free(model);
  grown.tail = (uint64_t)1 << 63;
  FAILS(qz_model_open(context, MODEL, &grown.known, &model), QZ_STATUS_UNSUPPORTED);

  o.config_only = 1;
  CHECK(qz_model_open(context, MODEL, &o, &model) == QZ_STATUS_OK);
  CHECK(qz_model_get_info(model, &info) == QZ_STATUS_OK && info.layers == 4);
  CHECK(qz_model_module_count(model) == 29);
  {
    qz_session* session = NULL;
    CHECK(qz_session_create(model, 8, &session) == QZ_STATUS_INVALID_ARGUMENT);
    CHECK(session == NULL);
  }
  qz_model_free(model);
  o.config_only = 0;
  o.strict = 1;
  CHECK(qz_model_open(context, MODEL, &o, &model) == QZ_STATUS_OK);
  qz_model_free(model);
  qz_model_free(NULL);
}

static void looking(const qz_context* context) {
  qz_model* model = open_model(context, MODEL);
  qz_model_info info = QZ_INIT(qz_model_info);
  qz_module_info module = QZ_INIT(qz_module_info);
  CHECK(qz_model_get_info(model, &info) == QZ_STATUS_OK);
  CHECK(info.struct_size == sizeof info);
  CHECK(info.format == QZ_FORMAT_PLAIN && info.dtype == QZ_DTYPE_BF16 && info.tied == 1);
  CHECK(strcmp(info.arch, "llama") == 0);
  CHECK(info.layers == 4 && info.hidden == 128 && info.heads == 4 && info.kv_heads == 4 && info.head_dim == 32);
  CHECK(info.intermediate == 384 && info.vocab == 2048 && info.max_seq == 1024);
  /* embedding, 4 x (4 x 128 x 128 + 3 x 128 x 384 + 2 norms), last norm */
  CHECK(info.parameters == 2048 * 128 + 4 * (4 * 128 * 128 + 3 * 128 * 384 + 2 * 128) + 128);
  CHECK(qz_model_module_count(model) == 4 * 7 + 1);
  CHECK(qz_model_module_count(NULL) == 0);
  CHECK(qz_model_get_module(model, 0, &module) == QZ_STATUS_OK);
  CHECK(strcmp(module.name, "model.layers.0.self_attn.q_proj") == 0 && strcmp(module.role, "q") == 0);
  CHECK(module.layer == 0 && module.rows == 128 && module.cols == 128 && module.can_quantize == 1);
  CHECK(module.quantized == 0 && module.bits == 0 && module.group == 0);
  CHECK(qz_model_get_module(model, 13, &module) == QZ_STATUS_OK);
  CHECK(strcmp(module.name, "model.layers.1.mlp.down_proj") == 0 && module.rows == 128 && module.cols == 384);
  CHECK(qz_model_get_module(model, 28, &module) == QZ_STATUS_OK);
  CHECK(strcmp(module.role, "head") == 0 && module.layer == -1 && module.can_quantize == 0 && module.rows == 2048);
  module.rows = 5;
  FAILS(qz_model_get_module(model, 29, &module), QZ_STATUS_INVALID_ARGUMENT);
  CHECK(module.rows == 5); /* untouched */
  FAILS(qz_model_get_module(NULL, 0, &module), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_model_get_module(model, 0, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_model_get_info(NULL, &info), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_model_get_info(model, NULL), QZ_STATUS_INVALID_ARGUMENT);
  info.struct_size = 2;
  FAILS(qz_model_get_info(model, &info), QZ_STATUS_INVALID_ARGUMENT);
  qz_model_free(model);
}

struct watch {
  pthread_t thread;
  int calls, stop_after, wrong;
  double fraction;
};

static int32_t watching(void* user, const qz_progress* p) {
  struct watch* w = user;
  if (!pthread_equal(w->thread, pthread_self()) || p->struct_size != sizeof *p || p->fraction < w->fraction ||
      p->fraction > 1 || !p->phase || !p->module || p->host_bytes == 0 || p->device_bytes != 0)
    ++w->wrong;
  w->fraction = p->fraction;
  return w->calls++ >= w->stop_after;
}

/* What a conversion would lose is said before, and done only when asked for. */
static void losing(const qz_model* rounded, const char* directory) {
  char path[512], words[1 << 16];
  size_t need = 0;
  qz_save_options o = QZ_INIT(qz_save_options);
  join(path, directory, "lossy");
  CHECK(qz_model_check_save(rounded, QZ_FORMAT_COMPRESSED, words, sizeof words, &need) == QZ_STATUS_OK);
  CHECK(strstr(words, "\"exact\": true") != NULL && need == strlen(words) + 1);
  CHECK(qz_model_check_save(rounded, QZ_FORMAT_BITSANDBYTES, words, sizeof words, NULL) == QZ_STATUS_OK);
  CHECK(strstr(words, "\"exact\": false") != NULL && strstr(words, "rounded to nearest anew") != NULL);
  FAILS(qz_model_check_save(rounded, QZ_FORMAT_BITSANDBYTES, words, 8, &need), QZ_STATUS_BUFFER_TOO_SMALL);
  FAILS(qz_model_check_save(rounded, 77, words, sizeof words, &need), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_model_check_save(NULL, QZ_FORMAT_GPTQ, words, sizeof words, &need), QZ_STATUS_INVALID_ARGUMENT);
  o.format = QZ_FORMAT_BITSANDBYTES;
  FAILS(qz_model_save(rounded, path, &o), QZ_STATUS_UNSUPPORTED);
  o.allow_loss = 1;
  CHECK(qz_model_save(rounded, path, &o) == QZ_STATUS_OK);
}

static void saving(const qz_context* context) {
  char directory[64], path[512], file[512], other[512];
  qz_model *model = open_model(context, MODEL), *rounded = NULL, *back = NULL;
  qz_save_options o = QZ_INIT(qz_save_options);
  qz_scheme scheme = QZ_INIT(qz_scheme);
  struct watch watch = {pthread_self(), 0, 0, 0, 0};
  make_directory(directory);
  join(path, directory, "out");
  o.format = QZ_FORMAT_GPTQ;
  FAILS(qz_model_save(model, path, &o), QZ_STATUS_INVALID_ARGUMENT); /* nothing is quantized */
  scheme.scale = QZ_DTYPE_F16;
  CHECK(qz_rtn_run(model, &scheme, NULL, &rounded) == QZ_STATUS_OK);
  o.progress = watching;
  o.user = &watch;
  FAILS(qz_model_save(rounded, path, &o), QZ_STATUS_CANCELLED);
  CHECK(watch.calls == 1 && watch.wrong == 0);
  CHECK(entries(directory) == 0);
  watch.stop_after = 1 << 20;
  watch.fraction = 0;
  CHECK(qz_model_save(rounded, path, &o) == QZ_STATUS_OK);
  CHECK(watch.calls > 1 && watch.wrong == 0);
  CHECK(entries(directory) == 1);
  FAILS(qz_model_save(rounded, path, &o), QZ_STATUS_INVALID_ARGUMENT); /* exists */
  o.overwrite = 1;
  CHECK(qz_model_save(rounded, path, &o) == QZ_STATUS_OK);
  CHECK(entries(directory) == 1);

  /* gptq -> compressed-tensors -> gptq: the same bytes. */
  back = open_model(context, path);
  o.overwrite = 0;
  o.format = QZ_FORMAT_COMPRESSED;
  CHECK(qz_model_save(back, join(other, directory, "ct"), &o) == QZ_STATUS_OK);
  CHECK(qz_model_verify(rounded, other, NULL, 0, NULL) == QZ_STATUS_OK);
  qz_model_free(back);
  back = open_model(context, other);
  o.format = QZ_FORMAT_GPTQ;
  CHECK(qz_model_save(back, join(other, directory, "back"), &o) == QZ_STATUS_OK);
  join(file, path, "model.safetensors");
  CHECK(same_file(file, join(path, other, "model.safetensors")));
  qz_model_free(back);

  o.format = 77;
  FAILS(qz_model_save(rounded, join(other, directory, "x"), &o), QZ_STATUS_INVALID_ARGUMENT);
  o.format = 0;
  losing(rounded, directory);
  FAILS(qz_model_save(rounded, "/does/not/exist/out", NULL), QZ_STATUS_IO);
  FAILS(qz_model_save(rounded, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_model_save(NULL, other, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_model_save(model, MODEL "/inside", NULL), QZ_STATUS_INVALID_ARGUMENT);
  qz_model_free(rounded);
  qz_model_free(model);
  remove_directory(directory);
}

static void verifying(const qz_context* context) {
  char directory[64], path[512], file[512], small[8], *words;
  qz_model *model = open_model(context, MODEL), *rounded = NULL, *broken = NULL;
  size_t need = 0, size = 0;
  char* data;
  FILE* f;
  make_directory(directory);
  join(path, directory, "out");
  CHECK(qz_rtn_run(model, NULL, NULL, &rounded) == QZ_STATUS_OK);
  CHECK(qz_model_save(rounded, path, NULL) == QZ_STATUS_OK);
  CHECK(qz_model_verify(rounded, path, NULL, 0, &need) == QZ_STATUS_OK);
  CHECK(need > 20);
  words = malloc(need);
  CHECK(qz_model_verify(model, path, words, need, NULL) == QZ_STATUS_OK);
  CHECK(strlen(words) == need - 1 && strstr(words, "\"ok\": true"));
  FAILS(qz_model_verify(rounded, path, small, sizeof small, &need), QZ_STATUS_BUFFER_TOO_SMALL);
  CHECK(need > sizeof small);
  FAILS(qz_model_verify(rounded, path, NULL, 5, &need), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_model_verify(NULL, path, NULL, 0, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_model_verify(rounded, NULL, NULL, 0, NULL), QZ_STATUS_INVALID_ARGUMENT);
  free(words);

  join(file, path, "model.safetensors");
  data = slurp(file, &size);
  data[size - 100] ^= 16;
  f = fopen(file, "wb");
  fwrite(data, 1, size, f);
  fclose(f);
  need = 0;
  FAILS(qz_model_verify(rounded, path, NULL, 0, &need), QZ_STATUS_MISMATCH);
  SAYS("SHA-256");
  words = malloc(need);
  FAILS(qz_model_verify(rounded, path, words, need, NULL), QZ_STATUS_MISMATCH);
  CHECK(strstr(words, "\"ok\": false") && strstr(words, "model.safetensors")); /* filled */
  free(words);

  f = fopen(file, "wb"); /* half a file is no file */
  fwrite(data, 1, size / 2, f);
  fclose(f);
  free(data);
  FAILS(qz_model_open(context, path, NULL, &broken), QZ_STATUS_BAD_FILE);
  SAYS("model.safetensors");
  FAILS(qz_model_verify(rounded, path, NULL, 0, NULL), QZ_STATUS_MISMATCH);
  qz_model_free(rounded);
  qz_model_free(model);
  remove_directory(directory);
}

/* Families: their tables, and a directory that no table opens. */
static void families(const qz_context* context) {
  static char words[1 << 16];
  char small[8];
  size_t need = 0;
  CHECK(qz_arch_list(words, sizeof words, &need) == QZ_STATUS_OK && need == strlen(words) + 1);
  CHECK(strstr(words, "\"LlamaForCausalLM\"") != NULL);
  FAILS(qz_arch_list(small, sizeof small, &need), QZ_STATUS_BUFFER_TOO_SMALL);
  CHECK(qz_arch_show("bloom", words, sizeof words, NULL) == QZ_STATUS_OK);
  CHECK(strstr(words, "query_key_value") != NULL);
  FAILS(qz_arch_show("bloo", words, sizeof words, NULL), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("bloom");
  FAILS(qz_arch_show(NULL, words, sizeof words, NULL), QZ_STATUS_INVALID_ARGUMENT);
  CHECK(qz_arch_check(context, MODEL, words, sizeof words, NULL) == QZ_STATUS_OK);
  CHECK(strstr(words, "\"known\": \"llama\"") != NULL);
  FAILS(qz_arch_check(context, "/nowhere", words, sizeof words, NULL), QZ_STATUS_IO);
  FAILS(qz_arch_check(NULL, MODEL, words, sizeof words, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_arch_check(context, NULL, words, sizeof words, NULL), QZ_STATUS_INVALID_ARGUMENT);
}

/* What an encoder says of itself. */
static void encoders(const qz_context* context) {
  qz_model* model = open_model(context, "tests/data/goldens/models/bert-classifier");
  qz_model_info info = QZ_INIT(qz_model_info);
  float row[5], wide[6];
  const int32_t ids[3] = {5, 6, 7};
  qz_tensor logits = tensor_2d(row, 1, 5, QZ_DTYPE_F32), wrong = tensor_2d(wide, 1, 6, QZ_DTYPE_F32);
  qz_session* session = NULL;
  CHECK(qz_model_get_info(model, &info) == QZ_STATUS_OK);
  CHECK(info.outputs == 5 && info.encoder == 1 && info.classifier == 1 && info.vocab == 128);
  CHECK(qz_session_create(model, 0, &session) == QZ_STATUS_OK);
  FAILS(qz_session_logits(session, ids, 3, &wrong), QZ_STATUS_INVALID_ARGUMENT);
  CHECK(qz_session_logits(session, ids, 3, &logits) == QZ_STATUS_OK);
  FAILS(qz_session_logits(session, ids, 3, &logits), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("one step");
  CHECK(qz_session_reset(session) == QZ_STATUS_OK);
  FAILS(qz_session_generate(session, ids, 3, NULL, NULL, NULL), QZ_STATUS_UNSUPPORTED);
  qz_session_free(session);
  qz_model_free(model);
}

int main(void) {
  qz_context* context = make_context(2);
  families(context);
  encoders(context);
  opening(context);
  looking(context);
  saving(context);
  verifying(context);
  qz_context_free(context);
  return failures != 0;
}
