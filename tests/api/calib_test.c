/* qz/calib.h: sequences in, out, to disk and back, written by the model. */
#include "check.h"

static int same_calib(const qz_calib* a, const qz_calib* b) {
  int64_t i;
  if (qz_calib_sequences(a) != qz_calib_sequences(b)) return 0;
  for (i = 0; i < qz_calib_sequences(a); ++i) {
    const int32_t *x = NULL, *y = NULL;
    size_t n = 0, m = 0;
    CHECK(qz_calib_get(a, i, &x, &n) == QZ_STATUS_OK);
    CHECK(qz_calib_get(b, i, &y, &m) == QZ_STATUS_OK);
    if (n != m || memcmp(x, y, n * sizeof *x) != 0) return 0;
  }
  return 1;
}

static void arguments(const qz_context* context) {
  qz_calib* calib = NULL;
  const int32_t ids[3] = {5, 0, 7};
  const int32_t negative[2] = {1, -2};
  const int32_t* got = NULL;
  size_t count = 0;
  FAILS(qz_calib_create(NULL, &calib), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_create(context, NULL), QZ_STATUS_INVALID_ARGUMENT);
  CHECK(qz_calib_create(context, &calib) == QZ_STATUS_OK);
  CHECK(qz_calib_sequences(calib) == 0 && qz_calib_tokens(calib) == 0);
  FAILS(qz_calib_add_tokens(NULL, ids, 3), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_add_tokens(calib, NULL, 3), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_add_tokens(calib, ids, 0), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_add_tokens(calib, negative, 2), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("-2");
  CHECK(qz_calib_sequences(calib) == 0);
  CHECK(qz_calib_add_tokens(calib, ids, 3) == QZ_STATUS_OK);
  CHECK(qz_calib_add_tokens(calib, ids, 1) == QZ_STATUS_OK);
  CHECK(qz_calib_sequences(calib) == 2 && qz_calib_tokens(calib) == 4);
  CHECK(qz_calib_get(calib, 0, &got, &count) == QZ_STATUS_OK);
  CHECK(count == 3 && memcmp(got, ids, sizeof ids) == 0 && got != ids);
  got = NULL;
  FAILS(qz_calib_get(calib, 2, &got, &count), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_get(calib, -1, &got, &count), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_get(NULL, 0, &got, &count), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_get(calib, 0, NULL, &count), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_get(calib, 0, &got, NULL), QZ_STATUS_INVALID_ARGUMENT);
  CHECK(got == NULL && count == 3); /* untouched */
  {                                 /* embeddings come after the ids and are none */
    float x[2 * 3] = {1, 2, 3, 4, 5, 6};
    qz_tensor t = tensor_2d(x, 2, 3, QZ_DTYPE_F32);
    FAILS(qz_calib_add_embeddings(NULL, &t), QZ_STATUS_INVALID_ARGUMENT);
    FAILS(qz_calib_add_embeddings(calib, NULL), QZ_STATUS_INVALID_ARGUMENT);
    CHECK(qz_calib_add_embeddings(calib, &t) == QZ_STATUS_OK);
    CHECK(qz_calib_sequences(calib) == 3 && qz_calib_tokens(calib) == 6);
    FAILS(qz_calib_get(calib, 2, &got, &count), QZ_STATUS_INVALID_ARGUMENT);
    SAYS("token ids");
    FAILS(qz_calib_save(calib, "/nowhere"), QZ_STATUS_UNSUPPORTED);
    t.dtype = QZ_DTYPE_I32;
    FAILS(qz_calib_add_embeddings(calib, &t), QZ_STATUS_INVALID_ARGUMENT);
    t.dtype = QZ_DTYPE_F32, x[4] = NAN;
    FAILS(qz_calib_add_embeddings(calib, &t), QZ_STATUS_NUMERIC);
    SAYS("(1, 1)");
    CHECK(qz_calib_sequences(calib) == 3);
  }
  CHECK(qz_calib_sequences(NULL) == 0 && qz_calib_tokens(NULL) == 0);
  qz_calib_free(calib);
  qz_calib_free(NULL);
}

static void files(const qz_context* context) {
  char directory[64], path[512], cut[512];
  qz_calib *calib = make_tokens(context, 5, 77, 3), *back = NULL;
  size_t size = 0;
  char* data;
  FILE* f;
  make_directory(directory);
  join(path, directory, "a.tokens");
  CHECK(qz_calib_save(calib, path) == QZ_STATUS_OK);
  CHECK(qz_calib_load(context, path, &back) == QZ_STATUS_OK);
  CHECK(same_calib(calib, back));
  qz_calib_free(back);
  data = slurp(path, &size);
  data[size / 2] ^= 1;
  f = fopen(join(cut, directory, "b.tokens"), "wb");
  fwrite(data, 1, size, f);
  fclose(f);
  free(data);
  back = (qz_calib*)calib;
  FAILS(qz_calib_load(context, cut, &back), QZ_STATUS_BAD_FILE);
  SAYS("b.tokens");
  CHECK(back == NULL);
  FAILS(qz_calib_load(context, "/does/not/exist", &back), QZ_STATUS_IO);
  FAILS(qz_calib_save(calib, "/does/not/exist/here"), QZ_STATUS_IO);
  FAILS(qz_calib_save(NULL, path), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_save(calib, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_load(NULL, path, &back), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_load(context, NULL, &back), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_load(context, path, NULL), QZ_STATUS_INVALID_ARGUMENT);
  qz_calib_free(calib);
  remove_directory(directory);
}

static int32_t stop(void* user, const qz_progress* progress) {
  CHECK(strcmp(progress->phase, "sample") == 0);
  ++*(int*)user;
  return 1;
}

static void generated(const qz_context* context) {
  qz_context* two = make_context(2);
  qz_model *model = open_model(context, MODEL), *other = open_model(two, MODEL);
  qz_calib *a = NULL, *b = NULL, *c = NULL;
  const int32_t *x = NULL, *y = NULL;
  size_t n = 0, m = 0;
  int calls = 0;
  int64_t i;
  CHECK(qz_calib_create(context, &a) == QZ_STATUS_OK);
  CHECK(qz_calib_create(context, &b) == QZ_STATUS_OK);
  CHECK(qz_calib_create(context, &c) == QZ_STATUS_OK);
  CHECK(qz_calib_add_generated(a, model, 3, 12, 7, NULL, NULL) == QZ_STATUS_OK);
  CHECK(qz_calib_sequences(a) == 3 && qz_calib_tokens(a) == 36);
  CHECK(qz_calib_add_generated(b, other, 3, 12, 7, NULL, NULL) == QZ_STATUS_OK);
  CHECK(same_calib(a, b)); /* the same for any number of threads */
  CHECK(qz_calib_add_generated(c, model, 5, 12, 7, NULL, NULL) == QZ_STATUS_OK);
  for (i = 0; i < 3; ++i) { /* sequence i does not depend on how many there are */
    CHECK(qz_calib_get(a, i, &x, &n) == QZ_STATUS_OK && qz_calib_get(c, i, &y, &m) == QZ_STATUS_OK);
    CHECK(n == 12 && m == 12 && memcmp(x, y, n * sizeof *x) == 0);
  }
  CHECK(qz_calib_add_generated(b, model, 3, 12, 8, NULL, NULL) == QZ_STATUS_OK); /* appends */
  CHECK(qz_calib_sequences(b) == 6);
  CHECK(qz_calib_get(b, 0, &x, &n) == QZ_STATUS_OK && qz_calib_get(b, 3, &y, &m) == QZ_STATUS_OK);
  CHECK(memcmp(x, y, n * sizeof *x) != 0); /* another seed */
  FAILS(qz_calib_add_generated(a, model, 0, 12, 7, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_add_generated(a, model, 3, 0, 7, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_add_generated(a, model, 3, 1 << 20, 7, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_add_generated(NULL, model, 3, 12, 7, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_add_generated(a, NULL, 3, 12, 7, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_calib_add_generated(a, model, 3, 1024, 7, stop, &calls), QZ_STATUS_CANCELLED);
  CHECK(calls == 1);
  CHECK(qz_calib_sequences(a) == 3);
  qz_calib_free(a);
  qz_calib_free(b);
  qz_calib_free(c);
  qz_model_free(other);
  qz_model_free(model);
  qz_context_free(two);
}

int main(void) {
  qz_context* context = make_context(1);
  arguments(context);
  files(context);
  generated(context);
  qz_context_free(context);
  return failures != 0;
}
