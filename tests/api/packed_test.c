/* qz/packed.h: one matrix made, taken apart, put together. */
#include "check.h"

enum { ROWS = 64, COLS = 128 };

static float weight[ROWS * COLS], hessian[COLS * COLS];

static void dequantize(const qz_packed* p, float* to) {
  const qz_tensor t = tensor_2d(to, ROWS, COLS, QZ_DTYPE_F32);
  CHECK(qz_packed_dequantize(p, &t) == QZ_STATUS_OK);
}

static double loss(const float* q) {
  double sum = 0;
  int r, i, j;
  for (r = 0; r < ROWS; ++r)
    for (i = 0; i < COLS; ++i)
      for (j = 0; j < COLS; ++j)
        sum += (double)(weight[r * COLS + i] - q[r * COLS + i]) * (double)hessian[i * COLS + j] *
               (double)(weight[r * COLS + j] - q[r * COLS + j]);
  return sum;
}

/* Out of one handle and into another, in every format that holds it. */
static void round_trip(const qz_context* context, qz_format format, int32_t bits, int32_t group, int32_t asymmetric,
                       qz_order order) {
  static float before[ROWS * COLS], after[ROWS * COLS];
  qz_tensor w = tensor_2d(weight, ROWS, COLS, QZ_DTYPE_F32), h = tensor_2d(hessian, COLS, COLS, QZ_DTYPE_F32);
  qz_scheme scheme = QZ_INIT(qz_scheme);
  qz_gptq_options gptq = QZ_INIT(qz_gptq_options);
  qz_rule rule = QZ_INIT(qz_rule);
  qz_packed *made = NULL, *taken = NULL;
  qz_part parts[8];
  size_t count = 0, room, i;
  scheme.bits = bits;
  scheme.group = group;
  scheme.asymmetric = asymmetric;
  scheme.scale = QZ_DTYPE_F16;
  gptq.order = order;
  rule.method = QZ_METHOD_GPTQ;
  rule.scheme = &scheme;
  rule.gptq = &gptq;
  CHECK(qz_packed_quantize(context, &w, &rule, &h, &made) == QZ_STATUS_OK);
  FAILS(qz_packed_export(made, format, NULL, &count), QZ_STATUS_BUFFER_TOO_SMALL);
  CHECK(count >= 3 && count <= 8);
  room = count - 1;
  FAILS(qz_packed_export(made, format, parts, &room), QZ_STATUS_BUFFER_TOO_SMALL);
  CHECK(room == count);
  room = 8;
  CHECK(qz_packed_export(made, format, parts, &room) == QZ_STATUS_OK && room == count);
  for (i = 0; i < count; ++i) {
    CHECK(parts[i].name && parts[i].tensor.data && parts[i].tensor.ndim >= 1 && parts[i].tensor.ndim <= 2);
    CHECK(parts[i].tensor.device.kind == 1 && parts[i].tensor.stride[parts[i].tensor.ndim - 1] == 1);
  }
  CHECK(qz_packed_import(context, format, &scheme, ROWS, COLS, parts, count, &taken) == QZ_STATUS_OK);
  dequantize(made, before);
  qz_packed_free(made); /* what was imported is a copy */
  dequantize(taken, after);
  CHECK(memcmp(before, after, sizeof before) == 0);
  CHECK(loss(after) < 0.3 * (bits <= 3 ? 4 : 1) * loss((float[ROWS* COLS]){0}));
  qz_packed_free(taken);
}

static void methods(const qz_context* context) {
  static float rounded[ROWS * COLS], solved[ROWS * COLS], again[ROWS * COLS], transposed[ROWS * COLS];
  static uint16_t narrow[ROWS * COLS];
  qz_tensor w = tensor_2d(weight, ROWS, COLS, QZ_DTYPE_F32), h = tensor_2d(hessian, COLS, COLS, QZ_DTYPE_F32);
  qz_packed* p = NULL;
  int r, c;
  CHECK(qz_packed_quantize(context, &w, NULL, NULL, &p) == QZ_STATUS_OK);
  dequantize(p, rounded);
  qz_packed_free(p);
  CHECK(qz_packed_quantize(context, &w, NULL, &h, &p) == QZ_STATUS_OK); /* default: GPTQ, there is a Hessian */
  dequantize(p, solved);
  qz_packed_free(p);
  CHECK(loss(solved) < 0.8 * loss(rounded));
  /* Strides say where things lie. */
  for (r = 0; r < ROWS; ++r)
    for (c = 0; c < COLS; ++c) transposed[c * ROWS + r] = weight[r * COLS + c];
  w = tensor_2d(transposed, ROWS, COLS, QZ_DTYPE_F32);
  w.stride[0] = 1;
  w.stride[1] = ROWS;
  CHECK(qz_packed_quantize(context, &w, NULL, NULL, &p) == QZ_STATUS_OK);
  dequantize(p, again);
  CHECK(memcmp(again, rounded, sizeof again) == 0);
  memset(again, 0, sizeof again);
  w.data = again;
  CHECK(qz_packed_dequantize(p, &w) == QZ_STATUS_OK);
  for (r = 0; r < ROWS; ++r)
    for (c = 0; c < COLS; ++c) CHECK(again[c * ROWS + r] == rounded[r * COLS + c]);
  qz_packed_free(p);
  /* BF16 is the upper half of F32. */
  for (r = 0; r < ROWS * COLS; ++r) {
    uint32_t bits;
    memcpy(&bits, &weight[r], 4);
    narrow[r] = (uint16_t)(bits >> 16);
  }
  w = tensor_2d(narrow, ROWS, COLS, QZ_DTYPE_BF16);
  CHECK(qz_packed_quantize(context, &w, NULL, NULL, &p) == QZ_STATUS_OK);
  dequantize(p, again);
  CHECK(loss(again) < 2 * loss(rounded));
  qz_packed_free(p);
}

static void mistakes(const qz_context* context) {
  static float copy[ROWS * COLS];
  qz_tensor w = tensor_2d(weight, ROWS, COLS, QZ_DTYPE_F32), h = tensor_2d(hessian, COLS, COLS, QZ_DTYPE_F32), t;
  qz_rule rule = QZ_INIT(qz_rule);
  qz_scheme scheme = QZ_INIT(qz_scheme);
  qz_packed *p = NULL, *other = NULL;
  qz_part parts[8];
  size_t count = 8;
#define REFUSED(change, status)                                     \
  do {                                                              \
    t = w;                                                          \
    change;                                                         \
    FAILS(qz_packed_quantize(context, &t, NULL, NULL, &p), status); \
    CHECK(p == NULL);                                               \
  } while (0)
  REFUSED(t.data = NULL, QZ_STATUS_INVALID_ARGUMENT);
  REFUSED(t.ndim = 1, QZ_STATUS_INVALID_ARGUMENT);
  REFUSED(t.ndim = 100, QZ_STATUS_INVALID_ARGUMENT);
  REFUSED(t.shape[0] = 0, QZ_STATUS_INVALID_ARGUMENT);
  REFUSED(t.shape[1] = -5, QZ_STATUS_INVALID_ARGUMENT);
  REFUSED((t.shape[0] = t.shape[1] = (int64_t)1 << 40), QZ_STATUS_INVALID_ARGUMENT);
  REFUSED(t.stride[0] = -1, QZ_STATUS_INVALID_ARGUMENT);
  REFUSED(t.dtype = QZ_DTYPE_I32, QZ_STATUS_INVALID_ARGUMENT);
  REFUSED(t.dtype = 99, QZ_STATUS_INVALID_ARGUMENT);
  REFUSED(t.dtype = -7, QZ_STATUS_INVALID_ARGUMENT);
  REFUSED(t.device.kind = 2, QZ_STATUS_INVALID_ARGUMENT);
#undef REFUSED
  FAILS(qz_packed_quantize(NULL, &w, NULL, NULL, &p), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_quantize(context, NULL, NULL, NULL, &p), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_quantize(context, &w, NULL, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  memcpy(copy, weight, sizeof copy);
  copy[777] = NAN;
  t = tensor_2d(copy, ROWS, COLS, QZ_DTYPE_F32);
  FAILS(qz_packed_quantize(context, &t, NULL, NULL, &p), QZ_STATUS_NUMERIC);
  SAYS("(6, 9)");
  rule.method = QZ_METHOD_GPTQ;
  FAILS(qz_packed_quantize(context, &w, &rule, NULL, &p), QZ_STATUS_INVALID_ARGUMENT);
  h.shape[0] = h.shape[1] = 64;
  FAILS(qz_packed_quantize(context, &w, &rule, &h, &p), QZ_STATUS_INVALID_ARGUMENT);
  memset(copy, 0, sizeof copy);
  h = tensor_2d(copy, COLS, COLS, QZ_DTYPE_F32); /* shape of a Hessian, needs COLS * COLS floats */
  h.stride[0] = 0;
  FAILS(qz_packed_quantize(context, &w, &rule, &h, &p), QZ_STATUS_NUMERIC); /* all zero */
  rule.method = QZ_METHOD_KEEP;
  FAILS(qz_packed_quantize(context, &w, &rule, NULL, &p), QZ_STATUS_INVALID_ARGUMENT);
  rule.struct_size = 1;
  FAILS(qz_packed_quantize(context, &w, &rule, NULL, &p), QZ_STATUS_INVALID_ARGUMENT);

  CHECK(qz_packed_quantize(context, &w, NULL, NULL, &p) == QZ_STATUS_OK); /* scales in F32 */
  FAILS(qz_packed_export(p, QZ_FORMAT_GPTQ, parts, &count), QZ_STATUS_UNSUPPORTED);
  FAILS(qz_packed_export(p, QZ_FORMAT_PLAIN, parts, &count), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_export(p, 55, parts, &count), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_export(NULL, QZ_FORMAT_COMPRESSED, parts, &count), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_export(p, QZ_FORMAT_COMPRESSED, parts, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_export(p, QZ_FORMAT_COMPRESSED, NULL, &count), QZ_STATUS_INVALID_ARGUMENT);
  count = 8;
  CHECK(qz_packed_export(p, QZ_FORMAT_COMPRESSED, parts, &count) == QZ_STATUS_OK);

  FAILS(qz_packed_import(context, QZ_FORMAT_GPTQ, &scheme, ROWS, COLS, parts, count, &other), QZ_STATUS_BAD_FILE);
  FAILS(qz_packed_import(context, QZ_FORMAT_COMPRESSED, &scheme, ROWS, COLS, parts, count - 1, &other),
        QZ_STATUS_BAD_FILE);
  FAILS(qz_packed_import(context, QZ_FORMAT_COMPRESSED, &scheme, ROWS, COLS - 8, parts, count, &other),
        QZ_STATUS_BAD_FILE);
  FAILS(qz_packed_import(context, QZ_FORMAT_COMPRESSED, &scheme, 0, COLS, parts, count, &other),
        QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_import(context, QZ_FORMAT_COMPRESSED, &scheme, ROWS, COLS, parts, 1000, &other),
        QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_import(context, QZ_FORMAT_COMPRESSED, &scheme, ROWS, COLS, NULL, 3, &other),
        QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_import(context, 55, &scheme, ROWS, COLS, parts, count, &other), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_import(NULL, QZ_FORMAT_COMPRESSED, &scheme, ROWS, COLS, parts, count, &other),
        QZ_STATUS_INVALID_ARGUMENT);
  parts[0].tensor.dtype = 1234;
  FAILS(qz_packed_import(context, QZ_FORMAT_COMPRESSED, &scheme, ROWS, COLS, parts, count, &other),
        QZ_STATUS_INVALID_ARGUMENT);
  parts[0].tensor.dtype = QZ_DTYPE_I32;
  parts[0].name = NULL;
  FAILS(qz_packed_import(context, QZ_FORMAT_COMPRESSED, &scheme, ROWS, COLS, parts, count, &other),
        QZ_STATUS_INVALID_ARGUMENT);
  CHECK(other == NULL);

  t = tensor_2d(copy, ROWS, COLS - 1, QZ_DTYPE_F32);
  FAILS(qz_packed_dequantize(p, &t), QZ_STATUS_INVALID_ARGUMENT);
  t = tensor_2d(copy, ROWS, COLS, QZ_DTYPE_F16);
  FAILS(qz_packed_dequantize(p, &t), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_dequantize(p, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_packed_dequantize(NULL, &t), QZ_STATUS_INVALID_ARGUMENT);
  qz_packed_free(p);
  qz_packed_free(NULL);
}

/* More than there is: told, not died of. (Sanitizers end the program there.) */
static void out_of_memory(const qz_context* context) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  struct rlimit old, small;
  qz_tensor w = tensor_2d(weight, (int64_t)1 << 20, (int64_t)1 << 20, QZ_DTYPE_F32);
  qz_packed* p = NULL;
  w.stride[0] = w.stride[1] = 0;
  CHECK(getrlimit(RLIMIT_AS, &old) == 0);
  small = old;
  small.rlim_cur = (rlim_t)4 << 30;
  CHECK(setrlimit(RLIMIT_AS, &small) == 0);
  FAILS(qz_packed_quantize(context, &w, NULL, NULL, &p), QZ_STATUS_OUT_OF_MEMORY);
  CHECK(setrlimit(RLIMIT_AS, &old) == 0);
  w = tensor_2d(weight, ROWS, COLS, QZ_DTYPE_F32);
  CHECK(qz_packed_quantize(context, &w, NULL, NULL, &p) == QZ_STATUS_OK); /* and life goes on */
  qz_packed_free(p);
#else
  (void)context;
#endif
}

int main(void) {
  static float inputs[256 * COLS];
  qz_context* context = make_context(1);
  int t, i, j;
  int32_t asymmetric;
  fill(weight, ROWS * COLS, 1);
  fill(inputs, 256 * COLS, 2);
  for (t = 0; t < 256; ++t) /* correlated columns of different sizes */
    for (i = COLS - 1; i > 0; --i)
      inputs[t * COLS + i] = (inputs[t * COLS + i] + 0.7f * inputs[t * COLS + i / 2]) * (0.5f + (float)(i % 5));
  for (t = 0; t < 256; ++t)
    for (i = 0; i < COLS; ++i)
      for (j = 0; j < COLS; ++j) hessian[i * COLS + j] += inputs[t * COLS + i] * inputs[t * COLS + j];

  for (asymmetric = 0; asymmetric < 2; ++asymmetric) {
    static const int32_t bits[] = {2, 3, 4, 8};
    for (i = 0; i < 4; ++i) {
      round_trip(context, QZ_FORMAT_GPTQ, bits[i], 32, asymmetric, QZ_ORDER_STATIC);
      round_trip(context, QZ_FORMAT_GPTQ_V2, bits[i], 64, asymmetric, QZ_ORDER_GIDX);
      round_trip(context, QZ_FORMAT_COMPRESSED, bits[i], -1, asymmetric, QZ_ORDER_NONE);
      round_trip(context, QZ_FORMAT_COMPRESSED, bits[i], -2, asymmetric, QZ_ORDER_STATIC);
    }
    round_trip(context, QZ_FORMAT_GPTQ_PLANAR, 3, 128, asymmetric, QZ_ORDER_STATIC);
  }
  methods(context);
  mistakes(context);
  out_of_memory(context);
  qz_context_free(context);
  return failures != 0;
}
