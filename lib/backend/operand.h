// Memory of a device with a shape, and the steps around one operation on it: what a computation that moves its data
// there and back is made of.
#pragma once
#include <cstdint>

#include "backend/plugin.h"

namespace qz {

// `bytes` bytes in a row.
qz_tensor bytes_at(void* data, uint64_t bytes, qz_device device);
// An operation on `count` operands, which must live as long as it does.
qz_op op_on(qz_op_kind kind, const qz_tensor* operands, size_t count);
// OK: the backend takes the operation. Otherwise the status and the words with which it refuses it.
Status ask(const Backend& backend, const qz_op& op);

// One operand of an operation, dense; its memory is given back at the end. The backend must live as long.
class Operand {
 public:
  Operand(const Backend& backend, qz_device device) : backend_(backend), device_(device) {}
  ~Operand() { backend_.release(device_.index, view_.data); }
  Operand(const Operand&) = delete;
  Operand& operator=(const Operand&) = delete;

  // [rows][cols], or [rows] where cols is 0; `width`: bytes of one element. Once; nothing is initialized. kUnsupported:
  // the backend only lists devices. kOutOfMemory: the device has no room.
  Status make(qz_dtype dtype, int64_t width, int64_t rows, int64_t cols);
  // The first `rows` rows, all by default, from and to the host. In the order of the default stream: host memory may be
  // used again after Backend::synchronize().
  Status put(const void* from, int64_t rows = -1);
  Status get(void* to, int64_t rows = -1) const;
  Status zero();
  const qz_tensor& view() const { return view_; }

 private:
  const Backend& backend_;
  qz_device device_;
  qz_tensor view_ = {};
  int64_t bytes_ = 0, row_bytes_ = 0;
};

// Scratch of operations that run one after another on the default stream.
class Workspace {
 public:
  Workspace(const Backend& backend, qz_device device) : backend_(backend), device_(device) {}
  ~Workspace() { backend_.release(device_.index, data_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // Asks the backend whether it takes the operation, and gives op the scratch that it needs; then Backend::run() may
  // follow. kUnsupported with the backend's words: it does not take it. kOutOfMemory: the device has no room.
  Status prepare(qz_op* op);

 private:
  const Backend& backend_;
  qz_device device_;
  void* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace qz
