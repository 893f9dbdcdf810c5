#include "io/repository.h"

#include <sys/stat.h>

#include <cstdlib>

#include "io/system.h"

namespace qz {
namespace {

Result<std::string> canonical(const std::string& path) {
  char* real = ::realpath(path.c_str(), nullptr);
  if (!real) return system_error("cannot resolve", path);
  std::string out(real);
  std::free(real);
  return out;
}

std::string parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

}  // namespace

Result<Repository> Repository::open(const std::string& dir) {
  Repository r;
  r.dir_ = dir;
  while (r.dir_.size() > 1 && r.dir_.back() == '/') r.dir_.pop_back();
  struct stat s;
  if (r.dir_.empty() || ::stat(r.dir_.c_str(), &s) != 0) {
    if (r.dir_.empty()) return error(Code::kInvalidArgument, "the model directory's name is empty");
    return system_error("cannot open the model directory", r.dir_);
  }
  if (!S_ISDIR(s.st_mode))
    return error(Code::kIo, "%s: not a directory; expected one with config.json", r.dir_.c_str());
  QZ_ASSIGN(r.root_, canonical(r.dir_));
  const std::string above = parent(r.root_);
  if (above.size() > 10 && above.compare(above.size() - 10, 10, "/snapshots") == 0) r.root_ = parent(above);
  return r;
}

bool Repository::has(const std::string& name) const {
  struct stat s;
  return ::lstat(path(name).c_str(), &s) == 0;
}

Status Repository::check_inside(const std::string& name) const {
  struct stat s;
  if (::lstat(path(name).c_str(), &s) != 0) return system_error("cannot open", path(name));
  if (!S_ISLNK(s.st_mode)) return {};
  QZ_ASSIGN(const std::string real, canonical(path(name)));
  const std::string inside = root_ == "/" ? "/" : root_ + "/";
  if (real.compare(0, inside.size(), inside) != 0)
    return error(Code::kBadFile, "%s: a symbolic link to %s, which is outside %s", path(name).c_str(), real.c_str(),
                 root_.c_str());
  return {};
}

Result<std::shared_ptr<File>> Repository::open_file(const std::string& name) const {
  QZ_TRY(check_inside(name));
  return File::open(path(name));
}

Result<std::string> Repository::read_small(const std::string& name, uint64_t max_bytes) const {
  QZ_TRY(check_inside(name));
  return read_small_file(path(name), max_bytes);
}

bool is_plain_name(const std::string& name) {
  static constexpr char kForbidden[] = {'/', '\\', ':', '\0'};
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(kForbidden, 0, sizeof kForbidden) == std::string::npos;
}

}  // namespace qz
