// The types behind the handles, and the three things that every entry does: guard, copy options, check arguments.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>

#include "api/device_matrix.h"
#include "backend/list.h"
#include "base/context.h"
#include "io/tokens.h"
#include "kernels/low_bit.h"
#include "model/session.h"
#include "packed/qmatrix.h"
#include "qz/qz.h"
#include "run/plan.h"
#include "run/report.h"

namespace qz {

// A context's plug-ins: opened by the first call that needs them, and shared with the handles that may outlive the
// context's own.
class Backends {
 public:
  Backends(ContextPtr context, std::string folder) : context_(std::move(context)), folder_(std::move(folder)) {}
  // Never fails; any thread.
  const BackendList& list() const;

 private:
  ContextPtr context_;
  std::string folder_;  // beside that of libqz; "": none
  mutable std::once_flag opening_;
  mutable BackendList list_;
};
using BackendsPtr = std::shared_ptr<const Backends>;

}  // namespace qz

struct qz_context {
  std::shared_ptr<qz::Context> context;
  qz::BackendsPtr backends;
};
struct qz_model {
  qz::ModelPtr model;
  qz::BackendsPtr backends;
  std::shared_ptr<const qz::RunReport> report;  // null: none
};
struct qz_calib {
  qz::ContextPtr context;
  qz::TokenSet tokens;
};
struct qz_plan {
  qz::Plan plan;
  qz::BackendsPtr backends;
};
struct qz_packed {
  qz::ContextPtr context;
  qz::QMatrix matrix;
  qz::Parts exported;  // what the last qz_packed_export handed out views of
  mutable std::mutex tiling;
  mutable std::optional<qz::TiledWeights> tiles;  // made by the first product, under `tiling`
  std::unique_ptr<qz::DeviceMatrix> device;       // else on the CPU; `matrix` then holds no codes
};
struct qz_session {
  std::unique_ptr<qz::Session> session;
  std::atomic<bool> busy{false};  // inside a callback
};

namespace qz {

// Remembers the failure for qz_last_error() and returns its code.
qz_status fail(const char* call, const Status& status);

// Runs `body` (returning Status) and turns whatever happens into a status: nothing may leave through the C boundary.
template <class F>
qz_status guard(const char* call, F&& body) noexcept {
  try {
    const Status status = body();
    return status.ok() ? QZ_STATUS_OK : fail(call, status);
  } catch (const std::bad_alloc&) {
    return fail(call, Status(Code::kOutOfMemory, "out of memory"));
  } catch (const std::exception& e) {
    return fail(call, Status(Code::kInternal, e.what()));
  } catch (...) {
    return fail(call, Status(Code::kInternal, "unknown exception"));
  }
}

// The caller's options over zeros: min(struct_size, sizeof(T)) bytes. null: all defaults. A longer struct is accepted
// if the part that this library does not know is zero.
template <class T>
Status copy_options(const T* from, const char* name, T* to) {
  *to = T();
  to->struct_size = sizeof(T);
  if (!from) return {};
  if (from->struct_size < sizeof(uint32_t))
    return error(Code::kInvalidArgument, "%s: struct_size is %u; use QZ_INIT", name, from->struct_size);
  const unsigned char* bytes = reinterpret_cast<const unsigned char*>(from);
  for (size_t i = sizeof(T); i < from->struct_size; i++)
    if (bytes[i])
      return error(Code::kUnsupported, "%s: a field beyond the %zu bytes that this library knows is set", name,
                   sizeof(T));
  std::memcpy(to, from, from->struct_size < sizeof(T) ? from->struct_size : sizeof(T));
  to->struct_size = sizeof(T);
  return {};
}

// `value` into the caller's output struct, as much of it as the caller has room for.
template <class T>
Status copy_out(const T& value, const char* name, T* to) {
  if (!to) return error(Code::kInvalidArgument, "%s is NULL", name);
  const uint32_t room = to->struct_size;
  if (room < sizeof(uint32_t)) return error(Code::kInvalidArgument, "%s: struct_size is %u; use QZ_INIT", name, room);
  std::memcpy(to, &value, room < sizeof(T) ? room : sizeof(T));
  to->struct_size = room;
  return {};
}

inline Status require(const void* pointer, const char* name) {
  return pointer ? Status() : error(Code::kInvalidArgument, "%s is NULL", name);
}
inline Status check_reserved(int64_t reserved, const char* name) {
  return reserved == 0 ? Status() : error(Code::kInvalidArgument, "%s: reserved must be 0", name);
}

// Zero-terminated text into (buf, cap, need).
Status copy_text(const std::string& text, char* buf, size_t cap, size_t* need);

// A Progress that calls the host's callback; an empty one if it is NULL.
Progress make_progress(qz_progress_fn fn, void* user);

// The options of quantize.h, defaults filled in.
Result<Scheme> scheme_from(const qz_scheme* scheme);
Result<GptqOptions> gptq_options_from(const qz_gptq_options* options);

Result<std::unique_ptr<qz_model>> wrap_model(ModelPtr model, BackendsPtr backends);

// Whether an option names a device other than the CPU.
Result<bool> names_device(qz_device device);

// A CPU tensor of the given rank, its element count checked; strides must be positive.
Status check_tensor(const qz_tensor* tensor, int32_t ndim, const char* name);
// Row-major float32 copy of a 2-D F32, F16 or BF16 tensor.
Result<Matrix> matrix_from(const qz_tensor& tensor, const char* name);

}  // namespace qz
