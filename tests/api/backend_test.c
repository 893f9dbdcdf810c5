/* backend_dir: plug-ins in the list of devices, those that work and those that do not. The argument: where the toys
 * are. */
#include "check.h"

static int logged;

static void on_log(void* user, int32_t level, const char* text) {
  (void)user;
  if (level == 3 && strstr(text, "no toy is plugged in")) ++logged;
}

static qz_context* context_with(const char* toys, const char* kind, char* folder) {
  qz_context_options options = QZ_INIT(qz_context_options);
  qz_context* context = NULL;
  options.threads = 1;
  options.log = on_log;
  options.backend_dir = join(folder, toys, kind);
  CHECK(qz_context_create(&options, &context) == QZ_STATUS_OK);
  memset(folder, 0, 512); /* it was copied */
  return context;
}

/* Devices of which the list says that there is something that computes on them. */
static int computing(const char* json) {
  int found = 0;
  for (json = strstr(json, "\"computes\": true"); json; json = strstr(json + 1, "\"computes\": true")) ++found;
  return found;
}

int main(int argc, char** argv) {
  static const char* const failing[] = {"fails", "newer", "nameless", "breaks", "empty", "junk", "nowhere"};
  qz_device_info info = QZ_INIT(qz_device_info);
  char folder[512], text[32768];
  qz_context *plain = make_context(1), *context;
  size_t count = qz_device_count(plain), need, i;
  if (argc != 2) return 2;

  context = context_with(argv[1], "works", folder);
  CHECK(qz_device_count(context) == count + 1);
  CHECK(qz_device_get(context, count, &info) == QZ_STATUS_OK);
  CHECK(!strcmp(info.name, "Toy") && !strcmp(info.arch, "toy_1"));
  CHECK(info.device.kind == 12 && info.units == 7 && info.memory_total == 1 << 20);
  CHECK(info.int4 == 1 && info.int8 == 0);
  CHECK(qz_device_to_json(context, text, sizeof text, &need) == QZ_STATUS_OK);
  CHECK(strstr(text, "libqz_toy_works.so) calls it device 0") != NULL);
  CHECK(computing(text) == 2);
  qz_context_free(context);

  context = context_with(argv[1], "lists", folder);
  CHECK(qz_device_count(context) == count + 1);
  CHECK(qz_device_to_json(context, text, sizeof text, &need) == QZ_STATUS_OK);
  CHECK(computing(text) == 1);
  qz_context_free(context);

  for (i = 0; i < sizeof failing / sizeof failing[0]; ++i) {
    context = context_with(argv[1], failing[i], folder);
    CHECK(qz_device_count(context) == count);
    CHECK(qz_device_to_json(context, text, sizeof text, &need) == QZ_STATUS_OK);
    CHECK(strstr(text, "\"backend ") != NULL && strstr(text, failing[i]) != NULL);
    qz_context_free(context);
  }
  CHECK(logged == 1); /* the list is made once per context */

  CHECK(setenv("QZ_BACKEND_DIR", join(folder, argv[1], "works"), 1) == 0);
  context = make_context(1);
  CHECK(qz_device_count(context) == count + 1);
  qz_context_free(context);
  context = context_with(argv[1], "fails", folder); /* the option comes before the environment */
  CHECK(qz_device_count(context) == count);
  qz_context_free(context);
  qz_context_free(plain);
  return failures != 0;
}
