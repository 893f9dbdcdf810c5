/* A backend in one file, with the headers of the first interface. TOY picks what is wrong with it. */
#define _XOPEN_SOURCE 600
#include <qz/backend.h>
#include <stdlib.h>
#include <string.h>

#define TOY_WORKS 0    /* one device whose memory is the host's; computes a product */
#define TOY_FAILS 1    /* nothing to compute on */
#define TOY_NEWER 2    /* speaks the next version only */
#define TOY_NAMELESS 3 /* no symbol of that name */
#define TOY_LISTS 4    /* knows a table that ends after device_info, and leaves dirt behind it */
#define TOY_BREAKS 5   /* its device cannot be asked; the words have a line break and do not end */
#define TOY_EMPTY 6    /* says it is well and fills nothing */

#define TOY_KIND 12 /* DLPack's extension device */

typedef struct toy {
  const qz_host_api* host;
} toy;

#if TOY == TOY_WORKS || TOY == TOY_LISTS || TOY == TOY_BREAKS
static size_t device_count(void* self) {
  (void)self;
  return 1;
}

static qz_status device_info(void* self, size_t i, qz_device_info* out) {
  qz_device_info info;
  const uint32_t room = out->struct_size;
  if (TOY == TOY_BREAKS) {
    static char words[1 << 16];
    toy* t = self;
    memset(words, 'x', sizeof words - 1);
    memcpy(words, "broken\ndevice", 13);
    return t->host->fail(t->host->host, QZ_STATUS_IO, words);
  }
  memset(&info, 0, sizeof info);
  info.struct_size = room;
  info.units = 7;
  info.device.kind = TOY_KIND;
  info.device.index = (int32_t)i;
  strcpy(info.name, "Toy");
  strcpy(info.arch, "toy_1");
  info.memory_total = 1 << 20;
  info.int4 = 1;
  memcpy(out, &info, room < sizeof info ? room : sizeof info);
  return QZ_STATUS_OK;
}
#endif

#if TOY == TOY_WORKS
static qz_status toy_alloc(void* self, int32_t index, uint64_t size, void** out) {
  toy* t = self;
  if (index == 0 && posix_memalign(out, 256, size) == 0) return QZ_STATUS_OK;
  return t->host->fail(t->host->host, QZ_STATUS_OUT_OF_MEMORY, "no memory for a toy");
}

static void toy_release(void* self, int32_t index, void* pointer) {
  (void)self, (void)index;
  free(pointer);
}

static uint64_t bytes_of(const qz_tensor* t) {
  uint64_t n = t->dtype == QZ_DTYPE_F32 ? 4 : t->dtype == QZ_DTYPE_F16 || t->dtype == QZ_DTYPE_BF16 ? 2 : 1;
  int32_t i;
  for (i = 0; i < t->ndim; ++i) n *= (uint64_t)t->shape[i];
  return n;
}

static qz_status toy_copy(void* self, void* stream, const qz_tensor* to, const qz_tensor* from) {
  (void)self, (void)stream;
  memcpy(to->data, from->data, bytes_of(from));
  return QZ_STATUS_OK;
}

static qz_status toy_fill_zero(void* self, void* stream, int32_t index, void* pointer, uint64_t size) {
  (void)self, (void)stream, (void)index;
  memset(pointer, 0, size);
  return QZ_STATUS_OK;
}

static int32_t toy_supports(void* self, const qz_op* op) {
  (void)self;
  return op->kind == QZ_OP_DEQUANTIZE && op->operands[0].dtype == QZ_DTYPE_F32;
}

static uint64_t toy_workspace(void* self, const qz_op* op) {
  (void)self, (void)op;
  return 0;
}

/* Every weight is the zero point: enough to see that the operation arrived. */
static qz_status toy_run(void* self, void* stream, const qz_op* op) {
  toy* t = self;
  float* out = op->operands[0].data;
  int64_t i;
  (void)stream;
  if (!toy_supports(self, op)) return t->host->fail(t->host->host, QZ_STATUS_UNSUPPORTED, "a toy does not do that");
  for (i = 0; i < op->w->rows * op->w->cols; ++i) out[i] = (float)op->w->zero;
  return QZ_STATUS_OK;
}

static qz_status toy_synchronize(void* self, void* stream, int32_t index) {
  (void)self, (void)stream, (void)index;
  return QZ_STATUS_OK;
}
#endif

#if TOY == TOY_NAMELESS
QZ_API int toy_entry(void);
int toy_entry(void) { return 0; }
#else
QZ_API qz_status qz_backend_open(uint32_t abi, const qz_host_api* host, qz_backend_api* out);
qz_status qz_backend_open(uint32_t abi, const qz_host_api* host, qz_backend_api* out) {
  (void)out;
  if (abi != (TOY == TOY_NEWER ? QZ_BACKEND_ABI + 1 : QZ_BACKEND_ABI)) return QZ_STATUS_UNSUPPORTED;
  if (TOY == TOY_FAILS) return host->fail(host->host, QZ_STATUS_DEVICE, "no toy is plugged in");
  if (TOY == TOY_EMPTY) return QZ_STATUS_OK;
#if TOY == TOY_WORKS || TOY == TOY_LISTS || TOY == TOY_BREAKS
  {
    static toy one;
    one.host = host;
    host->log(host->host, 3, "a toy was opened");
    if (TOY == TOY_LISTS) memset(out, 0xAB, out->struct_size);
    out->reserved = 0;
    out->name = "toy";
    out->self = &one;
    out->destroy = NULL;
    out->device_count = device_count;
    out->device_info = device_info;
#if TOY == TOY_LISTS
    out->struct_size = offsetof(qz_backend_api, alloc);
#elif TOY == TOY_WORKS
    out->struct_size = sizeof *out;
    out->alloc = toy_alloc;
    out->release = toy_release;
    out->copy = toy_copy;
    out->fill_zero = toy_fill_zero;
    out->supports = toy_supports;
    out->workspace = toy_workspace;
    out->run = toy_run;
    out->synchronize = toy_synchronize;
#endif
  }
#endif
  return QZ_STATUS_OK;
}
#endif
