#include "io/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "io/system.h"

namespace qz {

Result<std::vector<std::string>> list_directory(const std::string& path) {
  DIR* stream = ::opendir(path.c_str());
  if (!stream) return system_error("cannot list", path);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(stream)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
    errno = 0;
  }
  const int number = errno;
  ::closedir(stream);
  if (number != 0) return system_error("cannot list", path, number);
  std::sort(names.begin(), names.end());
  return names;
}

Status remove_tree(const std::string& path) {
  struct stat s;
  if (::lstat(path.c_str(), &s) != 0) return errno == ENOENT ? Status() : system_error("cannot examine", path);
  if (!S_ISDIR(s.st_mode)) return ::unlink(path.c_str()) == 0 ? Status() : system_error("cannot remove", path);
  QZ_ASSIGN(const std::vector<std::string> names, list_directory(path));
  for (const std::string& name : names) QZ_TRY(remove_tree(path + "/" + name));
  return ::rmdir(path.c_str()) == 0 ? Status() : system_error("cannot remove", path);
}

Status sync_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return system_error("cannot open", path);
  Status status;
  // Some network file systems cannot sync a directory and say so; there is nothing better to do there.
  if (::fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP) status = system_error("cannot sync", path);
  ::close(fd);
  return status;
}

}  // namespace qz
