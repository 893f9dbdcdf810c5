// Which files a checkpoint directory may reach. Hub caches hold symbolic links (snapshots/REV/name ->
// ../../blobs/HASH), so a link is followed if it stays inside the repository: the directory itself, or two levels up in
// a snapshots/REV layout.
#pragma once
#include <memory>
#include <string>

#include "base/status.h"
#include "io/file.h"

namespace qz {

class Repository {
 public:
  // kIo if `dir` is missing or not a directory.
  static Result<Repository> open(const std::string& dir);

  const std::string& dir() const { return dir_; }  // as given, without trailing slashes
  std::string path(const std::string& name) const { return dir_ + "/" + name; }
  bool has(const std::string& name) const;  // anything of that name, a dangling link included
  // kBadFile when `name` is a link out of the repository, kIo when it dangles or loops or is missing.
  Status check_inside(const std::string& name) const;
  Result<std::shared_ptr<File>> open_file(const std::string& name) const;
  Result<std::string> read_small(const std::string& name, uint64_t max_bytes) const;

 private:
  std::string dir_, root_;  // root_: canonical
};

// One plain path component, as an index may name it: not empty, ".", "..", no '/', '\', ':' or NUL.
bool is_plain_name(const std::string& name);

}  // namespace qz
