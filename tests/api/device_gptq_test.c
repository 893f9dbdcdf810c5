/* GPTQ runs on a device (qz_run_options.device) against the same on the CPU. The argument: the emulated GPU
 * (tests/cuda). */
#include "check.h"

/* Of half the tokens a CPU that multiplies float32, which rounds nothing of what Hessians are made of, is too far from
 * the device by chance. */
enum { SEQUENCES = 24, LENGTH = 64 };

static qz_context* context_with(const char* plugin) {
  qz_context_options options = QZ_INIT(qz_context_options);
  qz_context* context = NULL;
  char folder[512];
  snprintf(folder, sizeof folder, "%s", plugin);
  *strrchr(folder, '/') = '\0';
  options.backend_dir = folder;
  CHECK(qz_context_create(&options, &context) == QZ_STATUS_OK);
  return context;
}

/* A run into a folder of its own; report: at least 256 KiB. metric: -1: none, and GPTQ as published; whatever
 * more is done to codes makes near ties of them, and one that falls the other way changes the inputs of all later
 * modules. Returns the sum of the modules' errors. */
static double run_into(const qz_model* model, const qz_calib* calib, qz_device device, int32_t metric,
                       const char* folder, char* report) {
  qz_scheme scheme = QZ_INIT(qz_scheme);
  qz_gptq_options options = QZ_INIT(qz_gptq_options);
  qz_run_options run = QZ_INIT(qz_run_options);
  qz_model* out = NULL;
  size_t need = 0, i;
  double sum = 0;
  scheme.bits = 4, scheme.group = 32;
  options.metric = metric;
  if (metric < 0) options.drift = options.residual = options.sweeps = options.refit = -1;
  run.device = device;
  run.stream_to = folder;
  run.overwrite = 1;
  CHECK(qz_gptq_run(model, calib, &scheme, &options, &run, &out) == QZ_STATUS_OK);
  CHECK(out && qz_report_to_json(out, report, 1 << 18, &need) == QZ_STATUS_OK);
  for (i = 0; i < qz_report_count(out); ++i) {
    qz_module_report m = QZ_INIT(qz_module_report);
    CHECK(qz_report_get(out, i, &m) == QZ_STATUS_OK);
    sum += m.output_error;
  }
  qz_model_free(out);
  return sum;
}

static char* read_weights(const char* folder) {
  char path[512];
  size_t bytes = 0;
  char* data = slurp(join(path, folder, "model.safetensors"), &bytes);
  CHECK(data && bytes > 8);
  return data ? data : (exit(1), NULL);
}

/* Codes of all modules that are not the same, in a million. */
static double different(const qz_model* model, const char* one, const char* other) {
  char *a = read_weights(one), *b = read_weights(other), name[256];
  long codes = 0, differ = 0;
  size_t i;
  for (i = 0; i < qz_model_module_count(model); ++i) {
    qz_module_info info = QZ_INIT(qz_module_info);
    uint64_t header[2];
    long first[2], end[2], at;
    int k;
    CHECK(qz_model_get_module(model, i, &info) == QZ_STATUS_OK);
    if (info.layer < 0) continue;
    snprintf(name, sizeof name, "\"%s.weight_packed\"", info.name);
    for (k = 0; k < 2; ++k) {
      const char* entry;
      memcpy(&header[k], k ? b : a, 8);
      entry = strstr((k ? b : a) + 8, name);
      entry = entry ? strstr(entry, "\"data_offsets\":[") : NULL;
      CHECK(entry && sscanf(entry, "\"data_offsets\":[%ld,%ld]", &first[k], &end[k]) == 2);
      if (!entry) exit(1);
    }
    CHECK(end[0] - first[0] == end[1] - first[1]);
    for (at = 0; at < end[0] - first[0]; ++at) {
      const int x = a[8 + (long)header[0] + first[0] + at] ^ b[8 + (long)header[1] + first[1] + at];
      codes += 2, differ += (x & 0x0f) != 0, differ += (x & 0xf0) != 0;
    }
  }
  free(a);
  free(b);
  CHECK(codes > 800000);
  return 1e6 * (double)differ / (double)codes;
}

static void refusals(const qz_model* model, const qz_calib* calib) {
  static const struct {
    qz_device device;
    qz_status status;
    const char* says;
  } wrong[] = {{{2, 7}, QZ_STATUS_UNSUPPORTED, "device (2, 7)"},
               {{10, 0}, QZ_STATUS_UNSUPPORTED, "device (10, 0)"},
               {{-1, 0}, QZ_STATUS_UNSUPPORTED, "device (-1, 0)"},
               {{1, 1}, QZ_STATUS_INVALID_ARGUMENT, "the CPU is (1, 0)"},
               {{0, -1}, QZ_STATUS_INVALID_ARGUMENT, "device is (0, -1)"}};
  size_t i;
  for (i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    qz_run_options run = QZ_INIT(qz_run_options);
    qz_model* out = NULL;
    run.device = wrong[i].device;
    FAILS(qz_gptq_run(model, calib, NULL, NULL, &run, &out), wrong[i].status);
    SAYS(wrong[i].says);
    CHECK(out == NULL);
    FAILS(qz_rtn_run(model, NULL, &run, &out), wrong[i].status);
  }
}

static void breaks(const qz_model* model, const qz_calib* calib, qz_device device, const char* folder) {
  qz_run_options run = QZ_INIT(qz_run_options);
  qz_model* out = NULL;
  run.device = device;
  run.stream_to = folder;
  FAILS(qz_gptq_run(model, calib, NULL, NULL, &run, &out), QZ_STATUS_DEVICE);
  SAYS("the GPU has fallen off the bus");
  CHECK(out == NULL);
}

int main(int argc, char** argv) {
  static char cpu_report[1 << 18], report[1 << 18];
  static const qz_device cpu = {1, 0}, gpu = {2, 0};
  char root[64], on_cpu[128], on_gpu[128], path[512];
  double apart, error, cpu_error;
  qz_device_info info = QZ_INIT(qz_device_info);
  qz_context* context;
  qz_model* model;
  qz_calib* calib;
  if (argc != 2) return 2;
  context = context_with(argv[1]);
  CHECK(qz_device_get(context, 0, &info) == QZ_STATUS_OK);
  model = open_model(context, MODEL);
  calib = make_tokens(context, SEQUENCES, LENGTH, 5);
  qz_context_free(context); /* what was made from it knows its backends */
  make_directory(root);
  snprintf(on_cpu, sizeof on_cpu, "%s/cpu", root);
  snprintf(on_gpu, sizeof on_gpu, "%s/gpu", root);
  refusals(model, calib);

  cpu_error = run_into(model, calib, cpu, -1, on_cpu, cpu_report);
  CHECK(!strstr(cpu_report, "GPTQ on"));
  error = run_into(model, calib, gpu, -1, on_gpu, report);
  CHECK(strstr(report,
               "GPTQ on Emulated GPU (cuda, device 0): 16 of 16 Hessians, 16 of 16 factorizations, 28 of 28 loops over "
               "columns") != NULL);
  CHECK(!strstr(report, "on the CPU instead"));
  apart = different(model, on_cpu, on_gpu);
  printf("%s: %.0f codes in a million differ, errors %g and %g\n", info.arch, apart, cpu_error, error);
  /* A CPU without products of BF16 does not round what Hessians are made of; the device does. */
  if (strstr(info.arch, "bf16") || strstr(info.arch, "amx")) CHECK(apart <= 1000);
  CHECK(fabs(error - cpu_error) <= 0.02 * cpu_error);

  /* Defaults: the output metric, small here, is the CPU's; the Hessians are not. */
  cpu_error = run_into(model, calib, cpu, 2, on_gpu, report);
  error = run_into(model, calib, gpu, 2, on_gpu, report);
  CHECK(
      strstr(
          report,
          "16 of 16 Hessians, 16 of 16 factorizations, 36 of 36 corrections of targets, 0 of 28 loops over columns") !=
      NULL);
  CHECK(strstr(report, "loops over columns on the CPU instead of cuda, device 0: an output metric couples the rows") !=
        NULL);
  printf("with an output metric and two streams: errors %g and %g\n", cpu_error, error);
  CHECK(fabs(error - cpu_error) <= 0.05 * cpu_error);

  /* What needs libraries that are missing is refused, and then the CPU's. */
  CHECK(setenv("QZ_TEST_NO_CUBLASLT", "1", 1) == 0 && setenv("QZ_TEST_NO_CUSOLVER", "1", 1) == 0);
  run_into(model, calib, gpu, -1, on_gpu, report);
  CHECK(unsetenv("QZ_TEST_NO_CUBLASLT") == 0 && unsetenv("QZ_TEST_NO_CUSOLVER") == 0);
  CHECK(strstr(report, "0 of 16 Hessians, 0 of 16 factorizations, 24 of 28 loops over columns") != NULL);
  CHECK(strstr(report, "Hessians on the CPU instead of cuda, device 0: ") != NULL);
  CHECK(strstr(report, "factorizations on the CPU instead of cuda, device 0: ") != NULL);
  CHECK(strstr(report, "this needs cuSOLVER, but libcusolver.so.12 cannot be opened") != NULL);
  CHECK(strstr(report, "this needs cuBLASLt, but libcublasLt.so.13 is not there") != NULL);
  CHECK(different(model, on_cpu, on_gpu) == 0);

  /* So is what a library that is there does not take, or cannot say the size of. */
  CHECK(setenv("QZ_TEST_NO_KERNEL", "1", 1) == 0 && setenv("QZ_TEST_NO_FACTOR_SIZE", "1", 1) == 0);
  run_into(model, calib, gpu, -1, on_gpu, report);
  CHECK(unsetenv("QZ_TEST_NO_KERNEL") == 0 && unsetenv("QZ_TEST_NO_FACTOR_SIZE") == 0);
  CHECK(strstr(report, "0 of 16 Hessians, 0 of 16 factorizations, 24 of 28 loops over columns") != NULL);
  CHECK(strstr(report, "Hessians on the CPU instead of cuda, device 0: ") != NULL);
  CHECK(strstr(report, "cuBLASLt has no kernel for this product") != NULL);
  CHECK(strstr(report, "cuSOLVER, size of a factorization: status 3") != NULL);
  CHECK(different(model, on_cpu, on_gpu) == 0);

  CHECK(setenv("QZ_TEST_GPU_BYTES", "300000", 1) == 0);
  run_into(model, calib, gpu, 2, on_gpu, report);
  CHECK(unsetenv("QZ_TEST_GPU_BYTES") == 0);
  CHECK(strstr(
            report,
            "0 of 16 Hessians, 12 of 16 factorizations, 28 of 36 corrections of targets, 0 of 28 loops over columns") !=
        NULL);
  CHECK(strstr(report, "memory on the GPU") != NULL);

  /* A device that fails at what it took ends the run, and leaves nothing. */
  CHECK(setenv("QZ_TEST_GPU_BREAKS", "1", 1) == 0);
  breaks(model, calib, gpu, join(path, root, "broken"));
  CHECK(unsetenv("QZ_TEST_GPU_BREAKS") == 0);
  CHECK(access(path, F_OK) != 0);

  qz_calib_free(calib);
  qz_model_free(model);
  remove_directory(root);
  return failures != 0;
}
