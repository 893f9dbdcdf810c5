/* Structs grow at their end (docs/growth.md): a client compiled against a shorter or a longer struct than the
 * library's. */
#include <qz/qz.h>
#include <stdio.h>
#include <string.h>

static int failures;
#define CHECK(condition)                                                                      \
  do {                                                                                        \
    if (!(condition)) {                                                                       \
      printf("%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition, qz_last_error()); \
      ++failures;                                                                             \
    }                                                                                         \
  } while (0)

/* The options of a client that was compiled when the struct ended after `threads`. */
static void shorter_input(void) {
  struct {
    uint32_t struct_size;
    int32_t threads;
    unsigned char not_ours[64];
  } old;
  qz_context* context = NULL;
  memset(&old, 0xAB, sizeof old); /* what lies behind must not be read */
  old.struct_size = 8;
  old.threads = 1;
  CHECK(qz_context_create((const qz_context_options*)(const void*)&old, &context) == QZ_STATUS_OK);
  CHECK(context != NULL);
  qz_context_free(context);
}

/* The options of a client that knows a field which this library does not: fine while it is zero. */
static void longer_input(void) {
  struct {
    qz_context_options known;
    uint64_t unknown;
  } newer;
  qz_context* context = NULL;
  memset(&newer, 0, sizeof newer);
  newer.known.struct_size = sizeof newer;
  newer.known.threads = 1;
  CHECK(qz_context_create(&newer.known, &context) == QZ_STATUS_OK);
  qz_context_free(context);

  context = NULL;
  newer.unknown = 1;
  CHECK(qz_context_create(&newer.known, &context) == QZ_STATUS_UNSUPPORTED);
  CHECK(context == NULL);
  CHECK(strlen(qz_last_error()) > 0);
}

/* A result is filled as far as the client has room, and not one byte further. */
static void shorter_output(void) {
  struct {
    uint32_t struct_size;
    int32_t units;
    unsigned char not_ours[sizeof(qz_device_info)];
  } old;
  size_t i;
  qz_context* context = NULL;
  CHECK(qz_context_create(NULL, &context) == QZ_STATUS_OK);
  memset(&old, 0xAB, sizeof old);
  old.struct_size = 8;
  CHECK(qz_device_get(context, 0, (qz_device_info*)(void*)&old) == QZ_STATUS_OK);
  CHECK(old.struct_size == 8);
  CHECK(old.units >= 1);
  for (i = 0; i < sizeof old.not_ours; ++i) CHECK(old.not_ours[i] == 0xAB);
  qz_context_free(context);
}

static void longer_output(void) {
  struct {
    qz_device_info known;
    unsigned char unknown[16];
  } newer;
  qz_context* context = NULL;
  CHECK(qz_context_create(NULL, &context) == QZ_STATUS_OK);
  memset(&newer, 0, sizeof newer);
  newer.known.struct_size = sizeof newer;
  CHECK(qz_device_get(context, 0, &newer.known) == QZ_STATUS_OK);
  CHECK(newer.known.units >= 1);
  CHECK(newer.known.struct_size == sizeof newer);
  qz_context_free(context);
}

/* A client whose header and library disagree finds out before it passes a struct. */
static void version(void) {
  CHECK(qz_version() == QZ_VERSION_MAJOR * 1000000u + QZ_VERSION_MINOR * 1000u + QZ_VERSION_PATCH);
}

int main(void) {
  shorter_input();
  longer_input();
  shorter_output();
  longer_output();
  version();
  return failures != 0;
}
