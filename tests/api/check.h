/* What the tests of the C API share: a check, a model, tokens, a directory. */
#ifndef QZ_TESTS_API_CHECK_H
#define QZ_TESTS_API_CHECK_H
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif
#include <dirent.h>
#include <ftw.h>
#include <math.h>
#include <pthread.h>
#include <qz/qz.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODEL "examples/llama-1m"

static int failures;

#define CHECK(condition)                                                                      \
  do {                                                                                        \
    if (!(condition)) {                                                                       \
      printf("%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition, qz_last_error()); \
      ++failures;                                                                             \
    }                                                                                         \
  } while (0)

/* The call fails with this status, and the last error is one line that begins with the call's name. */
#define FAILS(call, want) failed(#call, (call), (want), __FILE__, __LINE__)

static inline void failed(const char* call, qz_status got, qz_status want, const char* file, int line) {
  const size_t name = strcspn(call, "(");
  const char* words = qz_last_error();
  if (got == want && strncmp(words, call, name) == 0 && words[name] == ':' && words[name + 1] == ' ' &&
      words[name + 2] && !strchr(words, '\n'))
    return;
  printf("%s:%d: %s: %s, expected %s: %s\n", file, line, call, qz_status_name(got), qz_status_name(want), words);
  ++failures;
}

/* Last error contains this. */
#define SAYS(word) CHECK(strstr(qz_last_error(), word) != NULL)

static inline qz_context* make_context(int32_t threads) {
  qz_context_options options = QZ_INIT(qz_context_options);
  qz_context* context = NULL;
  options.threads = threads;
  CHECK(qz_context_create(&options, &context) == QZ_STATUS_OK);
  return context;
}

static inline qz_model* open_model(const qz_context* context, const char* path) {
  qz_model* model = NULL;
  CHECK(qz_model_open(context, path, NULL, &model) == QZ_STATUS_OK);
  return model;
}

/* sequences x length tokens of a 2048-word vocabulary. */
static inline qz_calib* make_tokens(const qz_context* context, int sequences, int length, uint32_t seed) {
  qz_calib* calib = NULL;
  int i, t;
  int32_t ids[1024];
  CHECK(qz_calib_create(context, &calib) == QZ_STATUS_OK);
  for (i = 0; i < sequences; ++i) {
    for (t = 0; t < length; ++t) {
      seed = seed * 1664525u + 1013904223u;
      ids[t] = (int32_t)(seed >> 21);
    }
    CHECK(qz_calib_add_tokens(calib, ids, (size_t)length) == QZ_STATUS_OK);
  }
  return calib;
}

/* Small floats around zero. */
static inline void fill(float* values, size_t count, uint32_t seed) {
  size_t i;
  for (i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    values[i] = ((float)(seed >> 8) / 16777216.0f - 0.5f) / 8;
  }
}

static inline qz_tensor tensor_2d(void* data, int64_t rows, int64_t cols, qz_dtype dtype) {
  qz_tensor t;
  memset(&t, 0, sizeof t);
  t.data = data;
  t.ndim = 2;
  t.shape[0] = rows;
  t.shape[1] = cols;
  t.stride[0] = cols;
  t.stride[1] = 1;
  t.dtype = dtype;
  t.device.kind = 1;
  return t;
}

static inline void make_directory(char* path) { /* at least 32 characters */
  strcpy(path, "/tmp/qz-api-XXXXXX");
  CHECK(mkdtemp(path) != NULL);
}

static inline int remove_one(const char* path, const struct stat* s, int type, struct FTW* ftw) {
  (void)s, (void)type, (void)ftw;
  return remove(path);
}
static inline void remove_directory(const char* path) { nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS); }

static inline const char* join(char* to, const char* directory, const char* name) { /* 512 characters */
  snprintf(to, 512, "%.400s/%.100s", directory, name);
  return to;
}

/* Number of entries; hidden ones count. */
static inline int entries(const char* directory) {
  int count = 0;
  DIR* d = opendir(directory);
  if (!d) return -1;
  while (readdir(d)) ++count;
  closedir(d);
  return count - 2;
}

/* The whole file, zero-terminated, or NULL; free() it. */
static inline char* slurp(const char* path, size_t* size) {
  FILE* f = fopen(path, "rb");
  char* data;
  if (!f) return NULL;
  fseek(f, 0, SEEK_END);
  *size = (size_t)ftell(f);
  rewind(f);
  data = malloc(*size + 1);
  if (fread(data, 1, *size, f) != *size) *size = 0;
  data[*size] = 0;
  fclose(f);
  return data;
}

static inline int same_file(const char* a, const char* b) {
  size_t n = 0, m = 0;
  char *x = slurp(a, &n), *y = slurp(b, &m);
  const int same = x && y && n == m && memcmp(x, y, n) == 0;
  free(x);
  free(y);
  return same;
}

/* The weights of two models, written and compared. */
static inline int same_weights(const qz_model* a, const qz_model* b, const char* directory) {
  char x[512], y[512], xf[512], yf[512];
  int same;
  CHECK(qz_model_save(a, join(x, directory, "left"), NULL) == QZ_STATUS_OK);
  CHECK(qz_model_save(b, join(y, directory, "right"), NULL) == QZ_STATUS_OK);
  snprintf(xf, sizeof xf, "%.400s/model.safetensors", x);
  snprintf(yf, sizeof yf, "%.400s/model.safetensors", y);
  same = same_file(xf, yf);
  remove_directory(x);
  remove_directory(y);
  return same;
}

#endif
