/* Products on a device (qz_packed_to_device), against the same on the CPU. The argument: the emulated GPU (tests/cuda),
 * whose memory is asked for through its own interface, as torch or cudaMalloc would. */
#include "check.h"

#include <dlfcn.h>
#include <qz/backend.h>

enum { ROWS = 70, COLS = 200, MOST = 20, X_STRIDE = 208 };

static qz_backend_api gpu;
static const qz_device kGpu = {2, 0};

static qz_status on_fail(void* host, qz_status status, const char* text) {
  (void)host, (void)text;
  return status;
}

static void open_gpu(const char* file) {
  static qz_host_api host;
  void* library = dlopen(file, RTLD_NOW);
  qz_backend_open_fn entry = NULL;
  *(void**)&entry = library ? dlsym(library, "qz_backend_open") : NULL;
  host.struct_size = sizeof host;
  host.fail = on_fail;
  gpu.struct_size = sizeof gpu;
  CHECK(entry && entry(QZ_BACKEND_ABI, &host, &gpu) == QZ_STATUS_OK);
}

static void* on_gpu(const void* from, uint64_t bytes) {
  void* p = NULL;
  CHECK(gpu.alloc(gpu.self, 0, bytes, &p) == QZ_STATUS_OK);
  if (from) memcpy(p, from, bytes); /* its memory is the host's */
  return p;
}

static qz_tensor there(void* data, int64_t rows, int64_t cols, int64_t stride, qz_dtype dtype) {
  qz_tensor t = tensor_2d(data, rows, cols, dtype);
  t.stride[0] = stride;
  t.device = kGpu;
  return t;
}

static qz_packed* pack(const qz_context* context, const float* weight, const char* preset) {
  const qz_tensor w = tensor_2d((void*)(uintptr_t)weight, ROWS, COLS, QZ_DTYPE_F32);
  qz_scheme scheme = QZ_INIT(qz_scheme);
  qz_rule rule = QZ_INIT(qz_rule);
  qz_packed* p = NULL;
  CHECK(qz_scheme_preset(preset, &scheme) == QZ_STATUS_OK);
  scheme.scale = QZ_DTYPE_F16;
  rule.scheme = &scheme;
  CHECK(qz_packed_quantize(context, &w, &rule, NULL, &p) == QZ_STATUS_OK);
  return p;
}

/* m tokens, with and without bias and workspace, against the CPU. */
static void same_as_cpu(const qz_packed* p, const qz_packed* d, int64_t m) {
  static uint16_t x[MOST * X_STRIDE];
  static float want[MOST * ROWS], bias[ROWS];
  qz_gemm_options cpu = QZ_INIT(qz_gemm_options), o = QZ_INIT(qz_gemm_options);
  qz_tensor tx = tensor_2d(x, m, COLS, QZ_DTYPE_BF16), ty = tensor_2d(want, m, ROWS, QZ_DTYPE_F32), b, db, dx, dy;
  uint64_t need = 77;
  int round;
  size_t i;
  for (i = 0; i < sizeof x / sizeof x[0]; ++i) x[i] = (uint16_t)(0x3e80 + i * 40503u % 256 + (i % 3 ? 0x8000 : 0));
  fill(bias, ROWS, 3);
  tx.stride[0] = X_STRIDE;
  b = tensor_2d(bias, 1, ROWS, QZ_DTYPE_F32);
  b.ndim = 1, b.shape[0] = ROWS, b.stride[0] = 1;
  db = b;
  db.data = on_gpu(bias, sizeof bias), db.device = kGpu;
  dx = there(on_gpu(x, sizeof x), m, COLS, X_STRIDE, QZ_DTYPE_BF16);
  dy = there(on_gpu(NULL, sizeof want), m, ROWS, ROWS, QZ_DTYPE_F32);
  CHECK(qz_gemm_workspace(&tx, p, &ty, &cpu, &need) == QZ_STATUS_OK && need == 0);
  for (round = 0; round < 4; ++round) {
    const float* found = dy.data;
    cpu.bias = round % 2 ? &b : NULL;
    o.bias = round % 2 ? &db : NULL;
    CHECK(qz_gemm_w4a16(&tx, p, &ty, &cpu) == QZ_STATUS_OK);
    CHECK(qz_gemm_workspace(&dx, d, &dy, &o, &need) == QZ_STATUS_OK);
    o.workspace = NULL, o.workspace_bytes = 0;
    if (round >= 2 && need) {
      o.workspace = on_gpu(NULL, need), o.workspace_bytes = need;
      memset(o.workspace, 0, need);
      o.workspace_bytes = need - 1;
      FAILS(qz_gemm_w4a16(&dx, d, &dy, &o), QZ_STATUS_INVALID_ARGUMENT);
      SAYS("workspace");
      o.workspace_bytes = need;
    }
    memset(dy.data, 0xff, sizeof want);
    CHECK(qz_gemm_w4a16(&dx, d, &dy, &o) == QZ_STATUS_OK);
    for (i = 0; i < (size_t)(m * ROWS); ++i) CHECK(fabsf(found[i] - want[i]) <= 0.01f + fabsf(want[i]) * 0.01f);
    gpu.release(gpu.self, 0, o.workspace);
  }
  gpu.release(gpu.self, 0, db.data);
  gpu.release(gpu.self, 0, dx.data);
  gpu.release(gpu.self, 0, dy.data);
}

static void refusals(const qz_context* context, const qz_packed* p, qz_packed* d, const float* weight) {
  static float dense[ROWS * COLS];
  const qz_device cpu = {1, 0}, second = {2, 1};
  qz_tensor host = tensor_2d(dense, 2, COLS, QZ_DTYPE_F32), y = tensor_2d(dense, 2, ROWS, QZ_DTYPE_F32), x = host;
  qz_packed *out = (qz_packed*)&host, *wide = pack(context, weight, "w8g64");
  qz_gemm_options o = QZ_INIT(qz_gemm_options);
  qz_part parts[4];
  uint64_t need = 0;
  size_t count = 4;
  FAILS(qz_packed_to_device(context, p, cpu, &out), QZ_STATUS_UNSUPPORTED);
  CHECK(out == NULL);
  FAILS(qz_packed_to_device(context, p, second, &out), QZ_STATUS_UNSUPPORTED);
  SAYS("(2, 1)");
  FAILS(qz_packed_to_device(context, wide, kGpu, &out), QZ_STATUS_UNSUPPORTED);
  SAYS("more than 4 bits");
  FAILS(qz_packed_to_device(context, d, kGpu, &out), QZ_STATUS_UNSUPPORTED);
  FAILS(qz_packed_to_device(NULL, p, kGpu, &out), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_to_device(context, NULL, kGpu, &out), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_to_device(context, p, kGpu, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_export(d, QZ_FORMAT_GPTQ, parts, &count), QZ_STATUS_UNSUPPORTED);
  host.shape[0] = ROWS;
  FAILS(qz_packed_dequantize(d, &host), QZ_STATUS_UNSUPPORTED);
  FAILS(qz_gemm_w4a16(&x, d, &y, NULL), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("x: is on device (1, 0), w on (2, 0)");
  x.device = y.device = kGpu;
  FAILS(qz_gemm_w4a16(&x, d, &y, NULL), QZ_STATUS_UNSUPPORTED);
  SAYS("x that is not F16 or BF16");
  FAILS(qz_gemm_workspace(&x, d, &y, NULL, &need), QZ_STATUS_UNSUPPORTED);
  FAILS(qz_gemm_w8a16(&x, d, &y, NULL), QZ_STATUS_UNSUPPORTED);
  x.data = NULL;
  FAILS(qz_gemm_w4a16(&x, d, &y, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_gemm_w4a16(NULL, d, &y, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_gemm_workspace(&x, d, &y, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_gemm_workspace(&x, NULL, &y, NULL, &need), QZ_STATUS_INVALID_ARGUMENT);
  x = tensor_2d(dense, 2, COLS, QZ_DTYPE_F32), y = tensor_2d(dense, 2, ROWS, QZ_DTYPE_F32);
  o.workspace = dense;
  FAILS(qz_gemm_w4a16(&x, p, &y, &o), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("opts.workspace");
  qz_packed_free(wide);
}

int main(int argc, char** argv) {
  static float weight[ROWS * COLS];
  char folder[512];
  qz_context_options options = QZ_INIT(qz_context_options);
  qz_context* context = NULL;
  qz_device_info info = QZ_INIT(qz_device_info);
  qz_packed *p, *d = NULL;
  if (argc != 2) return 2;
  open_gpu(argv[1]);
  snprintf(folder, sizeof folder, "%s", argv[1]);
  *strrchr(folder, '/') = '\0';
  options.backend_dir = folder;
  CHECK(qz_context_create(&options, &context) == QZ_STATUS_OK);
  CHECK(qz_device_get(context, qz_device_count(context) - 1, &info) == QZ_STATUS_OK);
  CHECK(!strcmp(info.name, "Emulated GPU") && info.device.kind == 2);
  fill(weight, ROWS * COLS, 1);
  p = pack(context, weight, "w4g64a");
  CHECK(qz_packed_to_device(context, p, info.device, &d) == QZ_STATUS_OK);
  refusals(context, p, d, weight);
  qz_context_free(context); /* in any order */
  same_as_cpu(p, d, 5);
  same_as_cpu(p, d, 20);
  qz_packed_free(p);
  qz_packed_free(d);
  return failures != 0;
}
