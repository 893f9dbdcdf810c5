/* qz/base.h: version, names of statuses, the last error of a thread. */
#include "check.h"

static void names(void) {
  static const char* const known[] = {
      "QZ_STATUS_OK",        "QZ_STATUS_INVALID_ARGUMENT", "QZ_STATUS_UNSUPPORTED", "QZ_STATUS_OUT_OF_MEMORY",
      "QZ_STATUS_IO",        "QZ_STATUS_BAD_FILE",         "QZ_STATUS_DEVICE",      "QZ_STATUS_NUMERIC",
      "QZ_STATUS_CANCELLED", "QZ_STATUS_BUFFER_TOO_SMALL", "QZ_STATUS_BUSY",        "QZ_STATUS_MISMATCH",
      "QZ_STATUS_INTERNAL"};
  qz_status s;
  for (s = 0; s <= QZ_STATUS_INTERNAL; ++s) CHECK(strcmp(qz_status_name(s), known[s]) == 0);
  CHECK(strcmp(qz_status_name(-1), "QZ_STATUS_UNKNOWN") == 0);
  CHECK(strcmp(qz_status_name(QZ_STATUS_INTERNAL + 1), "QZ_STATUS_UNKNOWN") == 0);
  CHECK(strcmp(qz_status_name(INT32_MAX), "QZ_STATUS_UNKNOWN") == 0);
}

static void version(void) {
  CHECK(qz_version() == QZ_VERSION_MAJOR * 1000000u + QZ_VERSION_MINOR * 1000u + QZ_VERSION_PATCH);
}

static void* other_thread(void* context) {
  qz_model* model = NULL;
  CHECK(strcmp(qz_last_error(), "") == 0); /* another thread's failure is not ours */
  FAILS(qz_model_open(context, "/does/not/exist/either", NULL, &model), QZ_STATUS_IO);
  SAYS("/does/not/exist/either");
  return NULL;
}

static void last_error(void) {
  pthread_t thread;
  qz_context* context = NULL;
  qz_model* model = NULL;
  char before[256];
  CHECK(strcmp(qz_last_error(), "") == 0);
  context = make_context(1);
  FAILS(qz_model_open(context, "/does/not/exist", NULL, &model), QZ_STATUS_IO);
  SAYS("/does/not/exist");
  CHECK(model == NULL);
  snprintf(before, sizeof before, "%s", qz_last_error());
  pthread_create(&thread, NULL, other_thread, context);
  pthread_join(thread, NULL);
  CHECK(strcmp(qz_last_error(), before) == 0);
  qz_context_free(context);
}

/* Words of any length fit. */
static void long_words(void) {
  qz_context* context = make_context(1);
  qz_model* model = NULL;
  char path[8192];
  memset(path, 'x', sizeof path - 1);
  path[sizeof path - 1] = 0;
  CHECK(qz_model_open(context, path, NULL, &model) == QZ_STATUS_IO);
  CHECK(strlen(qz_last_error()) > 100 && strlen(qz_last_error()) < sizeof path);
  qz_context_free(context);
}

int main(void) {
  names();
  version();
  last_error();
  long_words();
  return failures != 0;
}
