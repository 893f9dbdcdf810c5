// Publishing a directory: everything is written beside the target under a temporary name, synced, and renamed as the
// last step. The target is complete or absent at every moment, kill and power loss included.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"

namespace qz {

class OutputFile {  // a file inside a staging directory
 public:
  ~OutputFile();
  Status write_at(uint64_t offset, const void* data, uint64_t bytes);  // thread-safe for disjoint ranges
  Status close();                                                      // fsync + close; every error is reported
 private:
  friend class StagingDir;
  OutputFile() = default;
  int fd_ = -1;
  std::string path_;
};

class StagingDir {
 public:
  // Fails before any work when: target exists and !overwrite (kInvalidArgument), target is `source` or inside it or the
  // other way round (kInvalidArgument), another run holds it (kBusy), the parent is not writable (kIo), or statvfs says
  // that `expected_bytes` do not fit (kIo). A stale staging directory of a dead run is removed.
  static Result<std::unique_ptr<StagingDir>> create(const std::string& target, const std::string& source,
                                                    bool overwrite, uint64_t expected_bytes);
  ~StagingDir();  // removes what was not committed

  const std::string& path() const { return path_; }
  // Creates name (a plain file name) with `bytes` reserved (posix_fallocate; 0 = unknown).
  Result<std::unique_ptr<OutputFile>> create_file(const std::string& name, uint64_t bytes);
  Status write_file(const std::string& name, const std::string& text);  // create, write, fsync, close
  Status copy_file(const std::string& from_path, const std::string& name);
  // fsync of the directory, rename to the target (an old target is moved aside first and removed after), fsync of the
  // parent.
  Status commit();

 private:
  StagingDir() = default;
  std::string target_, path_;
  int dir_fd_ = -1, lock_fd_ = -1;
  bool overwrite_ = false, done_ = false;
};

}  // namespace qz
