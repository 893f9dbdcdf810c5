// One input file, read at offsets. Regular files only; a file that changes while it is open is an error, not a crash.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"

namespace qz {

class File {
 public:
  // `path` as given by the user or found inside a checkpoint directory. FIFOs, devices and directories are refused.
  static Result<std::shared_ptr<File>> open(const std::string& path);
  ~File();
  uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  // Exactly `bytes` bytes at `offset`; a short read says that the file changed. Thread-safe.
  Status read_at(uint64_t offset, void* dst, uint64_t bytes) const;
  // A hint: these bytes will be read soon, so the system may fetch them meanwhile. Nothing to be seen if it does not.
  void will_need(uint64_t offset, uint64_t bytes) const;
  // kIo if size, modification time or inode differ from those at open.
  Status check_unchanged() const;

 private:
  File() = default;
  int fd_ = -1;
  uint64_t size_ = 0;
  int64_t mtime_ns_ = 0;
  uint64_t inode_ = 0;
  std::string path_;
};

// A whole small file (configuration). kUnsupported… never: kIo when it is missing or unreadable, kBadFile above
// max_bytes.
Result<std::string> read_small_file(const std::string& path, uint64_t max_bytes);

}  // namespace qz
