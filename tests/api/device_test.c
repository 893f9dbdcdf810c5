/* qz/device.h: the CPU is device 0. */
#include "check.h"

int main(void) {
  qz_context* context = make_context(3);
  qz_device_info info = QZ_INIT(qz_device_info);
  qz_memory_usage usage = QZ_INIT(qz_memory_usage);
  uint64_t bandwidth = 0;
  size_t need = 0, count = qz_device_count(context), i;
  char text[32768];
  CHECK(count >= 1);
  CHECK(qz_device_count(NULL) == 0);
  CHECK(qz_device_get(context, 0, &info) == QZ_STATUS_OK);
  CHECK(info.struct_size == sizeof info);
  CHECK(info.device.kind == 1 && info.device.index == 0);
  CHECK(info.units >= 1);
  CHECK(strlen(info.name) < sizeof info.name);
  CHECK(!strncmp(info.arch, "avx512", 6) || !strcmp(info.arch, "avx2") || !strncmp(info.arch, "neon", 4) ||
        !strcmp(info.arch, "ref"));
  CHECK(info.memory_total > ((uint64_t)1 << 27));
  CHECK(info.memory_free <= info.memory_total);
  CHECK(qz_context_set(context, "cpu", "ref") == QZ_STATUS_OK);
  CHECK(qz_device_get(context, 0, &info) == QZ_STATUS_OK);
  CHECK(strcmp(info.arch, "ref") == 0);
  CHECK(qz_context_set(context, "cpu", "") == QZ_STATUS_OK);

  CHECK(info.int8 >= -1 && info.int8 <= 1 && info.int4 == -1 && info.fp8 == -1);
  for (i = 1; i < count; ++i) {
    CHECK(qz_device_get(context, i, &info) == QZ_STATUS_OK);
    CHECK(info.device.kind == 2 && !strncmp(info.arch, "sm_", 3));
  }

  CHECK(qz_device_usage(context, &usage) == QZ_STATUS_OK);
  CHECK(usage.host > 0 && usage.host <= usage.host_peak);
  CHECK(qz_device_to_json(context, text, sizeof text, &need) == QZ_STATUS_OK);
  CHECK(strlen(text) + 1 == need && strstr(text, "\"devices\"") != NULL);
  CHECK(count > 1 || strstr(text, "\"get\"") != NULL);
  FAILS(qz_device_to_json(context, text, 3, &need), QZ_STATUS_BUFFER_TOO_SMALL);
  CHECK(qz_device_measure(context, 0, &bandwidth) == QZ_STATUS_OK && bandwidth > 0);
  FAILS(qz_device_measure(context, count, &bandwidth), QZ_STATUS_UNSUPPORTED);
  FAILS(qz_device_measure(context, 0, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_device_usage(NULL, &usage), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_device_to_json(NULL, NULL, 0, &need), QZ_STATUS_INVALID_ARGUMENT);

  FAILS(qz_device_get(context, count, &info), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_device_get(NULL, 0, &info), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_device_get(context, 0, NULL), QZ_STATUS_INVALID_ARGUMENT);
  info.struct_size = 0;
  FAILS(qz_device_get(context, 0, &info), QZ_STATUS_INVALID_ARGUMENT);
  info.struct_size = 8;
  info.arch[0] = '!';
  CHECK(qz_device_get(context, 0, &info) == QZ_STATUS_OK);
  CHECK(info.struct_size == 8 && info.arch[0] == '!');
  qz_context_free(context);
  return failures != 0;
}
