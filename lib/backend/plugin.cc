#include "backend/plugin.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>

namespace qz {
namespace {

constexpr uint32_t kOldestAbi = 1;
constexpr size_t kMostDevices = 1024;
constexpr size_t kMostWords = 400;

// The words of this thread's last failure inside a plug-in: taken right after the call that failed.
std::string& words() {
  static thread_local std::string text;
  return text;
}

// One line, of any length and content, made fit for a message.
std::string one_line(const char* text) {
  std::string line(text ? text : "", text ? strnlen(text, kMostWords) : 0);
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  return line;
}

// What a plug-in that fills a shorter table leaves out.
bool has_all(const qz_backend_api& t) {
  return t.alloc && t.release && t.copy && t.fill_zero && t.supports && t.workspace && t.run && t.synchronize;
}

}  // namespace

Result<std::shared_ptr<const Backend>> Backend::open(const std::string& file, LogSink log) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) return error(Code::kIo, "%s cannot be opened: %s", file.c_str(), one_line(dlerror()).c_str());
  const auto entry = reinterpret_cast<qz_backend_open_fn>(dlsym(library, "qz_backend_open"));
  if (!entry) return error(Code::kUnsupported, "%s is no backend: it has no qz_backend_open", file.c_str());
  std::shared_ptr<Backend> backend(new Backend);
  backend->file_ = file;
  backend->log_ = std::move(log);
  QZ_TRY(backend->negotiate(entry));
  QZ_TRY(backend->list_devices());
  return std::shared_ptr<const Backend>(std::move(backend));
}

Status Backend::negotiate(qz_backend_open_fn entry) {
  host_.struct_size = sizeof host_;
  host_.host = this;
  host_.log = [](void* host, int32_t level, const char* text) {
    const Backend& backend = *static_cast<const Backend*>(host);
    if (backend.log_) backend.log_(level, backend.file_ + ": " + one_line(text));
  };
  host_.fail = [](void*, qz_status status, const char* text) {
    words() = one_line(text);
    return status;
  };
  qz_status status = QZ_STATUS_UNSUPPORTED;
  for (uint32_t abi = QZ_BACKEND_ABI; abi >= kOldestAbi && status == QZ_STATUS_UNSUPPORTED; --abi) {
    words().clear();
    api_ = {};
    api_.struct_size = sizeof api_;
    status = entry(abi, &host_, &api_);
  }
  if (status != QZ_STATUS_OK) {
    api_ = {};
    if (status == QZ_STATUS_UNSUPPORTED && words().empty())
      return error(Code::kUnsupported, "%s speaks none of the versions %u to %d of the backend interface",
                   file_.c_str(), kOldestAbi, QZ_BACKEND_ABI);
    return status_of(status);
  }
  if (api_.struct_size < sizeof api_)  // it knows a shorter table: what lies behind is not its
    std::memset(reinterpret_cast<char*>(&api_) + api_.struct_size, 0, sizeof api_ - api_.struct_size);
  if (!api_.name || !api_.device_count || !api_.device_info)
    return error(Code::kUnsupported, "%s: its table lacks name, device_count or device_info", file_.c_str());
  if (!has_all(api_)) api_.run = nullptr;
  name_ = one_line(api_.name);
  return {};
}

Status Backend::list_devices() {
  const size_t count = api_.device_count(api_.self);
  if (count > kMostDevices) return error(Code::kDevice, "%s: %zu devices are too many", file_.c_str(), count);
  for (size_t i = 0; i < count; ++i) {
    qz_device_info info = {};
    info.struct_size = sizeof info;
    words().clear();
    QZ_TRY(status_of(api_.device_info(api_.self, i, &info)));
    info.name[sizeof info.name - 1] = info.arch[sizeof info.arch - 1] = '\0';
    devices_.push_back(info);
  }
  return {};
}

Backend::~Backend() {
  if (api_.destroy) api_.destroy(api_.self);
}

Status Backend::status_of(qz_status status) const {
  if (status == QZ_STATUS_OK) return {};
  // A plug-in of a later release may know more values.
  const Code code = status > 0 && status <= QZ_STATUS_INTERNAL ? static_cast<Code>(status) : Code::kDevice;
  return error(code, "%s: %s", file_.c_str(), words().empty() ? "it failed and does not say why" : words().c_str());
}

Result<void*> Backend::alloc(int32_t index, uint64_t size) const {
  words().clear();
  void* pointer = nullptr;
  QZ_TRY(status_of(api_.alloc(api_.self, index, size, &pointer)));
  return pointer;
}

Status Backend::copy(void* stream, const qz_tensor& to, const qz_tensor& from) const {
  words().clear();
  return status_of(api_.copy(api_.self, stream, &to, &from));
}

Status Backend::fill_zero(void* stream, int32_t index, void* pointer, uint64_t size) const {
  words().clear();
  return status_of(api_.fill_zero(api_.self, stream, index, pointer, size));
}

Status Backend::run(void* stream, const qz_op& op) const {
  words().clear();
  return status_of(api_.run(api_.self, stream, &op));
}

Status Backend::synchronize(void* stream, int32_t index) const {
  words().clear();
  return status_of(api_.synchronize(api_.self, stream, index));
}

}  // namespace qz
