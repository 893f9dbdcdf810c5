/* Products of qz/packed.h: against sums over qz_packed_dequantize. */
#include "check.h"

enum { M = 5, ROWS = 37, COLS = 96 };

static float weight[ROWS * COLS], input[M * COLS], bias[ROWS];

static uint16_t to_bf16(float v) {
  uint32_t bits;
  memcpy(&bits, &v, 4);
  return (uint16_t)((bits + 0x7FFFu + ((bits >> 16) & 1)) >> 16);
}

static float from_bf16(uint16_t v) {
  const uint32_t bits = (uint32_t)v << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static qz_tensor vector_of(float* data, int64_t n) {
  qz_tensor t = tensor_2d(data, 1, n, QZ_DTYPE_F32);
  t.ndim = 1;
  t.shape[0] = n;
  t.stride[0] = 1;
  return t;
}

static qz_packed* pack(const qz_context* context, const char* preset) {
  const qz_tensor w = tensor_2d(weight, ROWS, COLS, QZ_DTYPE_F32);
  qz_scheme scheme = QZ_INIT(qz_scheme);
  qz_rule rule = QZ_INIT(qz_rule);
  qz_packed* p = NULL;
  CHECK(qz_scheme_preset(preset, &scheme) == QZ_STATUS_OK);
  rule.scheme = &scheme;
  CHECK(qz_packed_quantize(context, &w, &rule, NULL, &p) == QZ_STATUS_OK);
  return p;
}

static qz_status multiply(const qz_tensor* x, const qz_packed* w, const qz_tensor* y, const qz_gemm_options* o,
                          int wide) {
  return wide ? qz_gemm_w8a16(x, w, y, o) : qz_gemm_w4a16(x, w, y, o);
}

/* F32 and BF16, with and without a bias, rows and columns of x and y both as they are and swapped. */
static void every_layout(const qz_context* context, const char* preset, int wide) {
  static float dense[ROWS * COLS], y[M * ROWS], x_swapped[COLS * M], y_swapped[ROWS * M];
  static uint16_t x_half[M * COLS], y_half[M * ROWS];
  qz_packed* p = pack(context, preset);
  qz_tensor t = tensor_2d(dense, ROWS, COLS, QZ_DTYPE_F32), x = tensor_2d(input, M, COLS, QZ_DTYPE_F32),
            out = tensor_2d(y, M, ROWS, QZ_DTYPE_F32), b = vector_of(bias, ROWS);
  qz_gemm_options options = QZ_INIT(qz_gemm_options);
  int i, r, c;
  CHECK(qz_packed_dequantize(p, &t) == QZ_STATUS_OK);
  CHECK(multiply(&x, p, &out, NULL, wide) == QZ_STATUS_OK);
  options.bias = &b;
  for (i = 0; i < M; ++i)
    for (c = 0; c < COLS; ++c) {
      x_swapped[c * M + i] = input[i * COLS + c];
      x_half[i * COLS + c] = to_bf16(input[i * COLS + c]);
    }
  x = tensor_2d(x_swapped, M, COLS, QZ_DTYPE_F32);
  x.stride[0] = 1;
  x.stride[1] = M;
  out = tensor_2d(y_swapped, M, ROWS, QZ_DTYPE_F32);
  out.stride[0] = 1;
  out.stride[1] = M;
  CHECK(multiply(&x, p, &out, &options, wide) == QZ_STATUS_OK);
  x = tensor_2d(x_half, M, COLS, QZ_DTYPE_BF16);
  out = tensor_2d(y_half, M, ROWS, QZ_DTYPE_BF16);
  CHECK(multiply(&x, p, &out, &options, wide) == QZ_STATUS_OK);
  for (i = 0; i < M; ++i)
    for (r = 0; r < ROWS; ++r) {
      double sum = 0, half = bias[r], size = 0;
      for (c = 0; c < COLS; ++c) {
        sum += (double)input[i * COLS + c] * dense[r * COLS + c];
        half += (double)from_bf16(x_half[i * COLS + c]) * dense[r * COLS + c];
        size += fabs((double)input[i * COLS + c] * dense[r * COLS + c]);
      }
      CHECK(fabs(y[i * ROWS + r] - sum) <= 1e-5 * size);
      CHECK(fabs(y_swapped[r * M + i] - (sum + bias[r])) <= 1e-5 * (size + 1));
      CHECK(fabs(from_bf16(y_half[i * ROWS + r]) - half) <= 1e-5 * size + fabs(half) / 256);
    }
  if (wide)
    FAILS(qz_gemm_w4a16(&x, p, &out, NULL), QZ_STATUS_UNSUPPORTED);
  else
    FAILS(qz_gemm_w8a16(&x, p, &out, NULL), QZ_STATUS_UNSUPPORTED);
  SAYS(wide ? "qz_gemm_w8a16" : "qz_gemm_w4a16");
  qz_packed_free(p);
}

/* Inputs rounded to 8 bits: other sums, each within half a step of every input; where integers cannot be multiplied,
 * the same. */
static void eight_bit_inputs(const qz_context* context, const char* preset, int wide, int integers) {
  static float dense[ROWS * COLS], exact[M * ROWS], y[M * ROWS], spoilt[M * COLS];
  qz_packed* p = pack(context, preset);
  qz_tensor t = tensor_2d(dense, ROWS, COLS, QZ_DTYPE_F32), x = tensor_2d(input, M, COLS, QZ_DTYPE_F32),
            full = tensor_2d(exact, M, ROWS, QZ_DTYPE_F32), out = tensor_2d(y, M, ROWS, QZ_DTYPE_F32);
  qz_gemm_options options = QZ_INIT(qz_gemm_options);
  int i, r, c;
  options.allow_int8_activations = 1;
  CHECK(qz_packed_dequantize(p, &t) == QZ_STATUS_OK);
  CHECK(multiply(&x, p, &full, NULL, wide) == QZ_STATUS_OK);
  CHECK(multiply(&x, p, &out, &options, wide) == QZ_STATUS_OK);
  CHECK((memcmp(exact, y, sizeof y) != 0) == integers);
  for (i = 0; i < M; ++i)
    for (r = 0; r < ROWS; ++r) {
      double most = 0, weights = 0;
      for (c = 0; c < COLS; ++c) {
        most = fmax(most, fabs(input[i * COLS + c]));
        weights += fabs(dense[r * COLS + c]);
      }
      CHECK(fabs(y[i * ROWS + r] - exact[i * ROWS + r]) <= 1.001 * most / 127.5 * 0.5 * weights);
    }
  memcpy(spoilt, input, sizeof spoilt);
  spoilt[3] = INFINITY;
  x = tensor_2d(spoilt, M, COLS, QZ_DTYPE_F32);
  CHECK(multiply(&x, p, &full, NULL, wide) == QZ_STATUS_OK);
  CHECK(multiply(&x, p, &out, &options, wide) == QZ_STATUS_OK);
  CHECK(memcmp(exact, y, sizeof y) == 0);
  qz_packed_free(p);
}

/* Integers by integers: what the text of the scheme says, number by number. */
static void rounded_inputs(const qz_context* context, const char* preset, float steps, float outlier) {
  static float dense[ROWS * COLS], x[M * COLS], y[M * ROWS];
  qz_packed* p = pack(context, preset);
  qz_tensor t = tensor_2d(dense, ROWS, COLS, QZ_DTYPE_F32), in = tensor_2d(x, M, COLS, QZ_DTYPE_F32),
            out = tensor_2d(y, M, ROWS, QZ_DTYPE_F32), b = vector_of(bias, ROWS);
  qz_gemm_options options = QZ_INIT(qz_gemm_options);
  int i, r, c, k;
  options.bias = &b;
  memcpy(x, input, sizeof x);
  x[2 * COLS + 5] = 7.5f; /* one outlier column */
  CHECK(qz_packed_dequantize(p, &t) == QZ_STATUS_OK);
  CHECK(qz_gemm_w8a8(&in, p, &out, &options) == QZ_STATUS_OK);
  for (i = 0; i < M; ++i) {
    int apart[COLS] = {0};
    float most = 0, scale;
    for (c = 0; c < COLS; ++c) {
      for (k = 0; k < M; ++k) apart[c] |= fabsf(x[k * COLS + c]) >= outlier;
      if (!apart[c]) most = fmaxf(most, fabsf(x[i * COLS + c]));
    }
    scale = most / steps;
    for (r = 0; r < ROWS; ++r) {
      double sum = bias[r], size = fabs(sum);
      for (c = 0; c < COLS; ++c) {
        const float v = x[i * COLS + c], code = fminf(127, nearbyintf(v / scale));
        const double term = (apart[c] ? (double)v : (double)code * scale) * dense[r * COLS + c];
        sum += term;
        size += fabs(term);
      }
      CHECK(fabs(y[i * ROWS + r] - sum) <= 1e-6 * size);
    }
  }
  x[COLS] = NAN;
  CHECK(qz_gemm_w8a8(&in, p, &out, &options) == QZ_STATUS_OK);
  for (r = 0; r < ROWS; ++r) CHECK(isfinite(y[r]) && !isfinite(y[ROWS + r]));
  qz_packed_free(p);
}

static void mistakes(const qz_context* context) {
  static float y[M * ROWS];
  qz_packed* p = pack(context, "w4g32");
  const qz_tensor good_x = tensor_2d(input, M, COLS, QZ_DTYPE_F32), good_y = tensor_2d(y, M, ROWS, QZ_DTYPE_F32);
  qz_tensor x = good_x, out = good_y, b = vector_of(bias, ROWS - 1);
  qz_gemm_options options = QZ_INIT(qz_gemm_options);
  FAILS(qz_gemm_w4a16(NULL, p, &good_y, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_gemm_w4a16(&good_x, NULL, &good_y, NULL), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_gemm_w4a16(&good_x, p, NULL, NULL), QZ_STATUS_INVALID_ARGUMENT);
  x.shape[1] = COLS - 1;
  FAILS(qz_gemm_w4a16(&x, p, &good_y, NULL), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("95 columns");
  x = good_x;
  x.dtype = QZ_DTYPE_I8;
  FAILS(qz_gemm_w4a16(&x, p, &good_y, NULL), QZ_STATUS_INVALID_ARGUMENT);
  out.shape[0] = M - 1;
  FAILS(qz_gemm_w4a16(&good_x, p, &out, NULL), QZ_STATUS_INVALID_ARGUMENT);
  options.bias = &b;
  FAILS(qz_gemm_w4a16(&good_x, p, &good_y, &options), QZ_STATUS_INVALID_ARGUMENT);
  SAYS("opts.bias");
  options.bias = NULL;
  options.stream = y;
  FAILS(qz_gemm_w4a16(&good_x, p, &good_y, &options), QZ_STATUS_INVALID_ARGUMENT);
  options.stream = NULL;
  options.allow_int8_activations = 2;
  FAILS(qz_gemm_w4a16(&good_x, p, &good_y, &options), QZ_STATUS_INVALID_ARGUMENT);
  FAILS(qz_gemm_w8a8(&good_x, p, &good_y, NULL), QZ_STATUS_UNSUPPORTED);
  SAYS("w4g32");
  qz_packed_free(p);
}

struct Shared {
  const qz_packed* w;
  float y[M * ROWS];
};

static void* use(void* argument) {
  struct Shared* s = argument;
  const qz_tensor x = tensor_2d(input, M, COLS, QZ_DTYPE_F32), y = tensor_2d(s->y, M, ROWS, QZ_DTYPE_F32);
  CHECK(qz_gemm_w4a16(&x, s->w, &y, NULL) == QZ_STATUS_OK);
  return NULL;
}

/* The first product re-tiles: also when four come at once. */
static void many_threads(const qz_context* context) {
  static struct Shared shared[4];
  pthread_t threads[4];
  qz_packed* p = pack(context, "w4g32");
  int i;
  for (i = 0; i < 4; ++i) {
    shared[i].w = p;
    CHECK(pthread_create(&threads[i], NULL, use, &shared[i]) == 0);
  }
  for (i = 0; i < 4; ++i) pthread_join(threads[i], NULL);
  for (i = 1; i < 4; ++i) CHECK(memcmp(shared[0].y, shared[i].y, sizeof shared[0].y) == 0);
  qz_packed_free(p);
}

int main(void) {
  qz_context* context = make_context(2);
  uint32_t seed = 1;
  int i;
  for (i = 0; i < ROWS * COLS + M * COLS + ROWS; ++i) {
    const float v = (float)((seed = seed * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1;
    if (i < ROWS * COLS) weight[i] = v;
    if (i >= ROWS * COLS && i < ROWS * COLS + M * COLS) input[i - ROWS * COLS] = v;
    if (i >= ROWS * COLS + M * COLS) bias[i - ROWS * COLS - M * COLS] = v;
  }
  every_layout(context, "w4g32", 0);
  every_layout(context, "w3g32a", 0);
  every_layout(context, "w2g16", 0);
  every_layout(context, "nf4b32", 0);
  every_layout(context, "fp4b64", 0); /* blocks run across rows */
  every_layout(context, "q4_0", 0);
  every_layout(context, "w8row", 1);
  every_layout(context, "w8g32a", 1);
  every_layout(context, "fp8", 1);
  every_layout(context, "llm-int8", 1);
  every_layout(context, "q8_0", 1);
  eight_bit_inputs(context, "w4g32", 0, 1);
  eight_bit_inputs(context, "w2g16", 0, 1);
  eight_bit_inputs(context, "w8g32a", 1, 1);
  eight_bit_inputs(context, "w3g32a", 0, 0);
  eight_bit_inputs(context, "nf4b32", 0, 0);
  rounded_inputs(context, "w8a8", 127.5f, INFINITY);
  rounded_inputs(context, "llm-int8", 127, 6);
  mistakes(context);
  many_threads(context);
  qz_context_free(context);
  return failures != 0;
}
