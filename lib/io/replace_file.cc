#include "io/replace_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "io/system.h"
#include "io/tree.h"

namespace qz {
namespace {

Status write_all(int fd, const std::string& path, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), static_cast<size_t>(std::min<uint64_t>(text.size(), kMaxTransfer)));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("cannot write", path);
    if (n == 0) return error(Code::kIo, "%s: cannot write: the device takes no more bytes", path.c_str());
    text.remove_prefix(static_cast<size_t>(n));
  }
  if (::fsync(fd) != 0) return system_error("cannot sync", path);
  return {};
}

}  // namespace

Status replace_file(const std::string& path, std::string_view text) {
  const std::string partial = path + ".qz-partial";
  const int fd = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) return system_error("cannot create", partial);
  Status status = write_all(fd, partial, text);
  if (::close(fd) != 0 && errno != EINTR && status.ok()) status = system_error("cannot close", partial);
  if (status.ok() && ::rename(partial.c_str(), path.c_str()) != 0) status = system_error("cannot rename to", path);
  if (!status.ok()) {
    ::unlink(partial.c_str());
    return status;
  }
  const size_t slash = path.rfind('/');
  return sync_directory(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash));
}

}  // namespace qz
