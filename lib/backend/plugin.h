// One plug-in (qz/backend.h): opened, asked for its table, its devices listed.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "qz/backend.h"

namespace qz {

class Backend {
 public:
  using LogSink = std::function<void(int32_t level, const std::string& text)>;

  // Opens the file (RTLD_NOW | RTLD_LOCAL), never to close it: shared libraries are not safe to unload. kUnsupported:
  // no such symbol or no common version; kDevice: nothing to compute on; the words name the file. log may be empty.
  static Result<std::shared_ptr<const Backend>> open(const std::string& file, LogSink log);
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  const std::string& file() const { return file_; }
  const std::string& name() const { return name_; }
  const std::vector<qz_device_info>& devices() const { return devices_; }
  bool computes() const { return api_.run != nullptr; }  // else it only lists devices

  // The table's functions with Status; computes() must hold. Shapes, ownership, errors: qz/backend.h.
  Result<void*> alloc(int32_t index, uint64_t size) const;
  void release(int32_t index, void* pointer) const { api_.release(api_.self, index, pointer); }
  Status copy(void* stream, const qz_tensor& to, const qz_tensor& from) const;
  Status fill_zero(void* stream, int32_t index, void* pointer, uint64_t size) const;
  int32_t supports(const qz_op& op) const { return api_.supports(api_.self, &op); }
  uint64_t workspace(const qz_op& op) const { return api_.workspace(api_.self, &op); }
  Status run(void* stream, const qz_op& op) const;
  Status synchronize(void* stream, int32_t index) const;

 private:
  Backend() = default;
  Status negotiate(qz_backend_open_fn entry);
  Status list_devices();
  Status status_of(qz_status status) const;

  std::string file_, name_;
  LogSink log_;
  qz_host_api host_ = {};
  qz_backend_api api_ = {};
  std::vector<qz_device_info> devices_;
};

}  // namespace qz
