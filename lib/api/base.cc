#include <cstring>

#include "api/handles.h"
#include "base/status.h"
#include "format/format.h"
#include "method/options.h"
#include "tensor/dtype.h"

namespace qz {
namespace {

// Thread-local, a fixed array: an out-of-memory error must be able to say so.
thread_local char last_error[2048];

// The enums of the C API and ours are the same numbers.
#define QZ_SAME(c, ours) static_assert(static_cast<int32_t>(c) == static_cast<int32_t>(ours))
QZ_SAME(QZ_STATUS_OK, Code::kOk);
QZ_SAME(QZ_STATUS_INVALID_ARGUMENT, Code::kInvalidArgument);
QZ_SAME(QZ_STATUS_UNSUPPORTED, Code::kUnsupported);
QZ_SAME(QZ_STATUS_OUT_OF_MEMORY, Code::kOutOfMemory);
QZ_SAME(QZ_STATUS_IO, Code::kIo);
QZ_SAME(QZ_STATUS_BAD_FILE, Code::kBadFile);
QZ_SAME(QZ_STATUS_DEVICE, Code::kDevice);
QZ_SAME(QZ_STATUS_NUMERIC, Code::kNumeric);
QZ_SAME(QZ_STATUS_CANCELLED, Code::kCancelled);
QZ_SAME(QZ_STATUS_BUFFER_TOO_SMALL, Code::kBufferTooSmall);
QZ_SAME(QZ_STATUS_BUSY, Code::kBusy);
QZ_SAME(QZ_STATUS_MISMATCH, Code::kMismatch);
QZ_SAME(QZ_STATUS_INTERNAL, Code::kInternal);
QZ_SAME(QZ_DTYPE_F32, DType::kF32);
QZ_SAME(QZ_DTYPE_F16, DType::kF16);
QZ_SAME(QZ_DTYPE_BF16, DType::kBF16);
QZ_SAME(QZ_DTYPE_I64, DType::kI64);
QZ_SAME(QZ_DTYPE_I32, DType::kI32);
QZ_SAME(QZ_DTYPE_I16, DType::kI16);
QZ_SAME(QZ_DTYPE_I8, DType::kI8);
QZ_SAME(QZ_DTYPE_U8, DType::kU8);
QZ_SAME(QZ_DTYPE_BOOL, DType::kBool);
QZ_SAME(QZ_DTYPE_F8_E4M3, DType::kF8E4M3);
QZ_SAME(QZ_CODE_INT, CodeKind::kInt);
QZ_SAME(QZ_CODE_NF4, CodeKind::kNf4);
QZ_SAME(QZ_CODE_FP4, CodeKind::kFp4);
QZ_SAME(QZ_CODE_FP8, CodeKind::kFp8);
QZ_SAME(QZ_CODE_LLM_INT8, CodeKind::kLlmInt8);
QZ_SAME(QZ_GROUPING_TILE - QZ_GROUPING_ROW, Grouping::kTile);
QZ_SAME(QZ_ACTIVATIONS_TOKEN, Activations::kToken);
QZ_SAME(QZ_ACTIVATIONS_TENSOR, Activations::kTensor);
QZ_SAME(QZ_ACTIVATIONS_OUTLIERS, Activations::kOutliers);
QZ_SAME(QZ_METHOD_KEEP, Method::kKeep);
QZ_SAME(QZ_METHOD_RTN, Method::kRtn);
QZ_SAME(QZ_METHOD_GPTQ, Method::kGptq);
QZ_SAME(QZ_METHOD_HQQ, Method::kHqq);
QZ_SAME(QZ_METHOD_MSE, Method::kMse);
QZ_SAME(QZ_FORMAT_GPTQ, FormatId::kGptq);
QZ_SAME(QZ_FORMAT_GPTQ_V2, FormatId::kGptqV2);
QZ_SAME(QZ_FORMAT_GPTQ_PLANAR, FormatId::kGptqPlanar);
QZ_SAME(QZ_FORMAT_COMPRESSED, FormatId::kCompressed);
QZ_SAME(QZ_FORMAT_AWQ, FormatId::kAwq);
QZ_SAME(QZ_FORMAT_BITSANDBYTES, FormatId::kBitsandbytes);
QZ_SAME(QZ_FORMAT_HQQ, FormatId::kHqq);
QZ_SAME(QZ_FORMAT_GGUF, FormatId::kGguf);
QZ_SAME(QZ_FORMAT_EETQ, FormatId::kEetq);
QZ_SAME(QZ_FORMAT_PLAIN, FormatId::kPlain);
QZ_SAME(QZ_ORDER_NONE, Order::kNone);
QZ_SAME(QZ_ORDER_STATIC, Order::kStatic);
QZ_SAME(QZ_ORDER_GIDX, Order::kGidx);
#undef QZ_SAME

constexpr const char* kStatusNames[] = {
    "QZ_STATUS_OK",        "QZ_STATUS_INVALID_ARGUMENT", "QZ_STATUS_UNSUPPORTED", "QZ_STATUS_OUT_OF_MEMORY",
    "QZ_STATUS_IO",        "QZ_STATUS_BAD_FILE",         "QZ_STATUS_DEVICE",      "QZ_STATUS_NUMERIC",
    "QZ_STATUS_CANCELLED", "QZ_STATUS_BUFFER_TOO_SMALL", "QZ_STATUS_BUSY",        "QZ_STATUS_MISMATCH",
    "QZ_STATUS_INTERNAL"};

}  // namespace

qz_status fail(const char* call, const Status& status) {
  const size_t room = sizeof last_error - 1;
  const size_t head = std::min(std::strlen(call), room);
  std::memcpy(last_error, call, head);
  size_t at = head;
  for (const char c : {':', ' '})
    if (at < room) last_error[at++] = c;
  const size_t tail = std::min(status.text().size(), room - at);
  std::memcpy(last_error + at, status.text().data(), tail);
  last_error[at + tail] = 0;
  return static_cast<qz_status>(status.code());
}

Status copy_text(const std::string& text, char* buf, size_t cap, size_t* need) {
  if (need) *need = text.size() + 1;
  if (!buf && cap == 0) return {};
  if (!buf) return error(Code::kInvalidArgument, "buf is NULL but cap is %zu", cap);
  if (cap < text.size() + 1)
    return error(Code::kBufferTooSmall, "%zu bytes are needed, the buffer has %zu", text.size() + 1, cap);
  std::memcpy(buf, text.c_str(), text.size() + 1);
  return {};
}

}  // namespace qz

extern "C" {

uint32_t qz_version(void) { return QZ_VERSION_MAJOR * 1000000u + QZ_VERSION_MINOR * 1000u + QZ_VERSION_PATCH; }

const char* qz_status_name(qz_status status) {
  const size_t count = sizeof qz::kStatusNames / sizeof qz::kStatusNames[0];
  return status >= 0 && static_cast<size_t>(status) < count ? qz::kStatusNames[status] : "QZ_STATUS_UNKNOWN";
}

const char* qz_last_error(void) { return qz::last_error; }

}  // extern "C"
