/* qz/device.h: the CPU is device 0. */
#include "check.h"

int main(void) {
  qz_context* context = make_context(3);
  qz_device_info info = QZ_INIT(qz_device_info);
  CHECK(qz_device_count(context) == 1);
  CHECK(qz_device_count(NULL) == 0);
  CHECK(qz_device_get(context, 0, &info) == QZ_STATUS_OK);
  CHECK(info.struct_size == sizeof info);
  CHECK(info.device.kind == 1 && info.device.index == 0);
  CHECK(info.units >= 1);
  CHECK(strlen(info.name) < sizeof info.name);
  CHECK(!strcmp(info.arch, "avx512") || !strcmp(info.arch, "avx2") || !strcmp(info.arch, "ref"));
  CHECK(info.memory_total > ((uint64_t)1 << 27));
  CHECK(info.memory_free <= info.memory_total);
  CHECK(qz_context_set(context, "cpu", "ref") == QZ_STATUS_OK);
  CHECK(qz_device_get(context, 0, &info) == QZ_STATUS_OK);
  CHECK(strcmp(info.arch, "ref") == 0);
  CHECK(qz_context_set(context, "cpu", "") == QZ_STATUS_OK);

  FAILS(qz_device_get(context, 1, &info), QZ_STATUS_INVALID_ARGUMENT);
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
