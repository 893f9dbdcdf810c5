#include "io/staging.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "io/file.h"
#include "io/repository.h"
#include "io/system.h"
#include "io/tree.h"

namespace qz {
namespace {

using ull = unsigned long long;

constexpr uint64_t kCopyBytes = 1u << 20;
constexpr uint64_t kEarly = 1u << 18;  // writes from this size on are sent to the disk at once

std::string lock_name(const std::string& target) { return target + ".qz-lock"; }
std::string old_name(const std::string& target) { return target + ".qz-old"; }

// The directory part made canonical, the last component as given: the target need not exist.
Result<std::string> resolve_target(const std::string& given) {
  std::string path = given;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (!is_plain_name(name) && name.find_first_of(":\\") == std::string::npos)
    return error(Code::kInvalidArgument, "output directory '%s' has no name of its own", given.c_str());
  const std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  char* real = ::realpath(parent.c_str(), nullptr);
  if (!real) return system_error("cannot resolve the directory above the output", parent);
  std::string out(real);
  std::free(real);
  if (out.back() != '/') out += '/';
  return out + name;
}

bool inside(const std::string& path, const std::string& above) {
  return path == above || above == "/" || path.compare(0, above.size() + 1, above + "/") == 0;
}

// Writing into the model that is being read would destroy it while it is in use.
Status check_apart(const std::string& target, const std::string& source) {
  if (source.empty()) return {};
  char* real = ::realpath(source.c_str(), nullptr);
  if (!real) return system_error("cannot resolve the input directory", source);
  const std::string from(real);
  std::free(real);
  if (inside(target, from) || inside(from, target))
    return error(Code::kInvalidArgument,
                 "output directory %s and input directory %s must not be the same or one in the other", target.c_str(),
                 from.c_str());
  return {};
}

// What stands at the target's place may be replaced only if it is a directory that looks like an earlier output: a
// mistyped name must not cost somebody's home directory.
Status check_replaceable(const std::string& target, bool overwrite, bool* exists) {
  struct stat s;
  *exists = ::lstat(target.c_str(), &s) == 0;
  if (!*exists && errno != ENOENT) return system_error("cannot examine the output directory", target);
  if (!*exists) return {};
  if (!overwrite) return error(Code::kInvalidArgument, "%s: output directory exists already", target.c_str());
  if (!S_ISDIR(s.st_mode))
    return error(Code::kInvalidArgument, "%s: exists and is not a directory; it is not overwritten", target.c_str());
  QZ_ASSIGN(const std::vector<std::string> names, list_directory(target));
  const bool model = std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name == "config.json" || name == "model.gguf" || (name.starts_with("model-") && name.ends_with(".gguf"));
  });
  if (!names.empty() && !model)
    return error(Code::kInvalidArgument,
                 "%s: exists and holds no config.json or model.gguf; only a model directory is overwritten",
                 target.c_str());
  return {};
}

// The lock file is removed by its holder at the end, so the one that was opened may be gone by the time it is locked.
Result<int> take_lock(const std::string& target) {
  const std::string path = lock_name(target);
  for (;;) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0) return system_error("cannot create the lock file", path);
    int rc;
    do rc = ::flock(fd, LOCK_EX | LOCK_NB);
    while (rc != 0 && errno == EINTR);
    const int number = errno;
    struct stat held, named;
    if (rc == 0 && ::fstat(fd, &held) == 0 && ::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
        held.st_dev == named.st_dev)
      return fd;
    ::close(fd);
    if (rc == 0) continue;
    if (number == EWOULDBLOCK)
      return error(Code::kBusy, "%s: another run is writing this output directory", target.c_str());
    return system_error("cannot lock", path, number);
  }
}

Status check_space(const std::string& parent, uint64_t expected_bytes) {
  struct statvfs v;
  if (::statvfs(parent.c_str(), &v) != 0) return system_error("cannot examine the file system", parent);
  const uint64_t block = v.f_frsize ? v.f_frsize : v.f_bsize;
  // By division: blocks times size may not fit 64 bits.
  if (block > 0 && expected_bytes / block >= v.f_bavail && expected_bytes > 0)
    return error(Code::kIo, "%s: the output needs %llu MiB but %llu MiB are free", parent.c_str(),
                 ull{expected_bytes >> 20}, static_cast<ull>(static_cast<long double>(v.f_bavail) * block / (1 << 20)));
  return {};
}

std::string parent_of(const std::string& target) {
  const size_t slash = target.rfind('/');
  return slash == 0 ? "/" : target.substr(0, slash);
}

}  // namespace

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
}

Status OutputFile::write_at(uint64_t offset, const void* data, uint64_t bytes) {
  const auto* from = static_cast<const char*>(data);
  const uint64_t first = offset, total = bytes;
  while (bytes > 0) {
    const ssize_t n =
        ::pwrite(fd_, from, static_cast<size_t>(std::min(bytes, kMaxTransfer)), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("cannot write", path_);
    if (n == 0) return error(Code::kIo, "%s: cannot write: the device takes no more bytes", path_.c_str());
    from += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<uint64_t>(n);
  }
  // The disk begins now, not when close() asks and waits. A wish: what fails is found by fsync.
  if (total >= kEarly)
    (void)::sync_file_range(fd_, static_cast<off_t>(first), static_cast<off_t>(total), SYNC_FILE_RANGE_WRITE);
  return {};
}

Status OutputFile::close() {
  if (fd_ < 0) return {};
  int rc;
  do rc = ::fsync(fd_);
  while (rc != 0 && errno == EINTR);
  Status status;
  if (rc != 0) status = system_error("cannot sync", path_);
  // Linux has closed the descriptor even when it reports EINTR; everything was synced before.
  if (::close(fd_) != 0 && errno != EINTR && status.ok()) status = system_error("cannot close", path_);
  fd_ = -1;
  return status;
}

Result<std::unique_ptr<StagingDir>> StagingDir::create(const std::string& given, const std::string& source,
                                                       bool overwrite, uint64_t expected_bytes) {
  std::unique_ptr<StagingDir> staging(new StagingDir);
  QZ_ASSIGN(const std::string target, resolve_target(given));
  QZ_TRY(check_apart(target, source));
  bool exists = false;
  QZ_TRY(check_replaceable(target, overwrite, &exists));
  QZ_TRY(check_space(parent_of(target), expected_bytes));
  QZ_ASSIGN(staging->lock_fd_, take_lock(target));
  staging->target_ = target;  // from here on the destructor gives the lock back
  staging->overwrite_ = overwrite;
  // Under the lock: what a dead run left. If it died between the two renames of an overwrite, its old target is put
  // back.
  const std::string old = old_name(target);
  struct stat s;
  if (::lstat(old.c_str(), &s) == 0 && ::lstat(target.c_str(), &s) != 0 && ::rename(old.c_str(), target.c_str()) != 0)
    return system_error("cannot put back the earlier output", old);
  QZ_TRY(remove_tree(old));
  QZ_TRY(check_replaceable(target, overwrite, &exists));
  const std::string path = target + ".qz-partial";
  QZ_TRY(remove_tree(path));
  if (::mkdir(path.c_str(), 0777) != 0) return system_error("cannot create", path);
  staging->path_ = path;
  staging->dir_fd_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (staging->dir_fd_ < 0) return system_error("cannot open", path);
  return staging;
}

StagingDir::~StagingDir() {
  if (dir_fd_ >= 0) ::close(dir_fd_);
  if (!done_ && !path_.empty()) static_cast<void>(remove_tree(path_));
  if (lock_fd_ < 0) return;
  ::unlink(lock_name(target_).c_str());  // while it is held
  ::close(lock_fd_);
}

Result<std::unique_ptr<OutputFile>> StagingDir::create_file(const std::string& name, uint64_t bytes) {
  if (!is_plain_name(name)) return error(Code::kInternal, "'%s' is not a plain file name", name.c_str());
  std::unique_ptr<OutputFile> file(new OutputFile);
  file->path_ = path_ + "/" + name;
  file->fd_ = ::open(file->path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (file->fd_ < 0) return system_error("cannot create", file->path_);
  if (bytes > 0) {
    int number;
    do number = ::posix_fallocate(file->fd_, 0, static_cast<off_t>(bytes));
    while (number == EINTR);
    // Without support the file grows as it is written, and each write is checked.
    if (number != 0 && number != EOPNOTSUPP && number != EINVAL)
      return system_error("cannot reserve space", file->path_, number);
  }
  return file;
}

Status StagingDir::write_file(const std::string& name, const std::string& text) {
  QZ_ASSIGN(const std::unique_ptr<OutputFile> file, create_file(name, text.size()));
  QZ_TRY(file->write_at(0, text.data(), text.size()));
  return file->close();
}

Status StagingDir::copy_file(const std::string& from_path, const std::string& name) {
  QZ_ASSIGN(const std::shared_ptr<File> from, File::open(from_path));
  QZ_ASSIGN(const std::unique_ptr<OutputFile> to, create_file(name, from->size()));
  std::vector<char> chunk(static_cast<size_t>(std::min(from->size(), kCopyBytes)));
  for (uint64_t at = 0; at < from->size(); at += chunk.size()) {
    const uint64_t n = std::min<uint64_t>(chunk.size(), from->size() - at);
    QZ_TRY(from->read_at(at, chunk.data(), n));
    QZ_TRY(to->write_at(at, chunk.data(), n));
  }
  QZ_TRY(to->close());
  return from->check_unchanged();
}

Status StagingDir::commit() {
  if (done_) return error(Code::kInternal, "%s: committed twice", target_.c_str());
  if (::fsync(dir_fd_) != 0 && errno != EINVAL && errno != ENOTSUP) return system_error("cannot sync", path_);
  std::string leftover;  // the earlier output, to be removed when the new one is safe
  const auto rename2 = [this](unsigned flags) {
    return ::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target_.c_str(), flags) == 0;
  };
  struct stat s;
  if (::lstat(target_.c_str(), &s) != 0) {
    if (errno != ENOENT) return system_error("cannot examine", target_);
    // RENAME_NOREPLACE: plain rename would replace an empty directory that appeared meanwhile.
    if (!rename2(RENAME_NOREPLACE)) {
      if (errno == EEXIST) return error(Code::kInvalidArgument, "%s: appeared while the run went on", target_.c_str());
      if (errno != ENOSYS && errno != EINVAL) return system_error("cannot rename the output to", target_);
      if (::rename(path_.c_str(), target_.c_str()) != 0) return system_error("cannot rename the output to", target_);
    }
  } else {
    bool exists = false;
    QZ_TRY(check_replaceable(target_, overwrite_, &exists));
    if (rename2(RENAME_EXCHANGE)) {
      leftover = path_;
    } else {
      if (errno != ENOSYS && errno != EINVAL) return system_error("cannot exchange the output with", target_);
      leftover = old_name(target_);
      if (::rename(target_.c_str(), leftover.c_str()) != 0) return system_error("cannot move aside", target_);
      if (::rename(path_.c_str(), target_.c_str()) != 0) {
        const Status status = system_error("cannot rename the output to", target_);
        if (::rename(leftover.c_str(), target_.c_str()) != 0)
          return error(status.code(), "%s; the earlier output is now %s", status.text().c_str(), leftover.c_str());
        return status;
      }
    }
  }
  done_ = true;
  QZ_TRY(sync_directory(parent_of(target_)));
  // The new output is complete and durable. An earlier one that cannot be removed is left to the next run.
  if (!leftover.empty()) static_cast<void>(remove_tree(leftover));
  return {};
}

}  // namespace qz
