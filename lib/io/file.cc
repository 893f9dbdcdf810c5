#include "io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "io/system.h"

namespace qz {
namespace {

int64_t mtime_ns(const struct stat& s) {
  return static_cast<int64_t>(s.st_mtim.tv_sec) * 1'000'000'000 + s.st_mtim.tv_nsec;
}

}  // namespace

Result<std::shared_ptr<File>> File::open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer. It means nothing for the regular files that are accepted.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return system_error("cannot open", path);
  std::shared_ptr<File> file(new File);
  file->fd_ = fd;
  file->path_ = path;
  struct stat s;
  if (::fstat(fd, &s) != 0) return system_error("cannot examine", path);
  if (!S_ISREG(s.st_mode)) return error(Code::kIo, "%s: not a regular file", path.c_str());
  file->size_ = static_cast<uint64_t>(s.st_size);
  file->mtime_ns_ = mtime_ns(s);
  file->inode_ = s.st_ino;
  return file;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

Status File::read_at(uint64_t offset, void* dst, uint64_t bytes) const {
  if (offset > size_ || bytes > size_ - offset)
    return error(Code::kBadFile, "%s: bytes %llu to %llu were wanted but the file has %llu", path_.c_str(),
                 static_cast<unsigned long long>(offset), static_cast<unsigned long long>(offset) + bytes,
                 static_cast<unsigned long long>(size_));
  auto* to = static_cast<char*>(dst);
  while (bytes > 0) {
    const ssize_t n = ::pread(fd_, to, static_cast<size_t>(std::min(bytes, kMaxTransfer)), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("cannot read", path_);
    if (n == 0)
      return error(Code::kIo, "%s: changed while it was read: it had %llu bytes and now ends at byte %llu",
                   path_.c_str(), static_cast<unsigned long long>(size_), static_cast<unsigned long long>(offset));
    to += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<uint64_t>(n);
  }
  return {};
}

void File::will_need(uint64_t offset, uint64_t bytes) const {
  (void)::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_WILLNEED);
}

Status File::check_unchanged() const {
  struct stat s;
  if (::fstat(fd_, &s) != 0) return system_error("cannot examine", path_);
  bool same = static_cast<uint64_t>(s.st_size) == size_ && mtime_ns(s) == mtime_ns_ && s.st_nlink > 0;
  // A replaced file leaves the open one as it was, so the name is looked up too; it may mean nothing any more if the
  // process has changed its directory since.
  struct stat named;
  if (same && ::stat(path_.c_str(), &named) == 0)
    same = named.st_ino == inode_ && static_cast<uint64_t>(named.st_size) == size_;
  if (!same)
    return error(Code::kIo, "%s: changed while it was in use (it had %llu bytes, now %llu, or was replaced)",
                 path_.c_str(), static_cast<unsigned long long>(size_), static_cast<unsigned long long>(s.st_size));
  return {};
}

Result<std::string> read_small_file(const std::string& path, uint64_t max_bytes) {
  QZ_ASSIGN(const std::shared_ptr<File> file, File::open(path));
  if (file->size() > max_bytes)
    return error(Code::kBadFile, "%s: %llu bytes; at most %llu are allowed", path.c_str(),
                 static_cast<unsigned long long>(file->size()), static_cast<unsigned long long>(max_bytes));
  std::string text(static_cast<size_t>(file->size()), '\0');
  QZ_TRY(file->read_at(0, text.data(), text.size()));
  return text;
}

}  // namespace qz
