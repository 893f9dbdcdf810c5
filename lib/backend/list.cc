#include "backend/list.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <set>

namespace qz {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostPlugins = 64;

bool is_plugin(const std::string& name) { return name.starts_with("libqz_") && name.ends_with(".so"); }

Result<std::vector<std::string>> plugins_of(const std::string& folder) {
  std::error_code ec;
  std::vector<std::string> names;
  for (fs::directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec))
    if (std::string name = at->path().filename().string(); is_plugin(name)) names.push_back(std::move(name));
  if (ec) return error(Code::kIo, "%s: %s", folder.c_str(), ec.message().c_str());
  if (names.size() > kMostPlugins)
    return error(Code::kInvalidArgument, "%s has %zu files libqz_*.so, at most %zu are opened", folder.c_str(),
                 names.size(), kMostPlugins);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::string own_folder() {
  Dl_info info = {};
  if (!dladdr(reinterpret_cast<const void*>(&own_folder), &info) || !info.dli_fname) return "";
  std::error_code ec;
  const fs::path file = fs::canonical(info.dli_fname, ec);
  return ec ? "" : file.parent_path().string();
}

BackendList open_backends(const std::vector<BackendFolder>& folders, const Backend::LogSink& log) {
  BackendList list;
  std::set<std::string> seen;
  for (const BackendFolder& folder : folders) {
    if (folder.path.empty()) continue;
    const Result<std::vector<std::string>> names = plugins_of(folder.path);
    if (!names.ok() && folder.must) list.failed.push_back({folder.path, names.status()});
    if (!names.ok()) continue;
    for (const std::string& name : *names) {
      if (!seen.insert(name).second) continue;
      const std::string file = folder.path + "/" + name;
      Result<std::shared_ptr<const Backend>> backend = Backend::open(file, log);
      if (backend.ok()) {
        list.backends.push_back(*backend);
        continue;
      }
      if (log) log(backend.status().code() == Code::kDevice ? 3 : 2, backend.status().text());
      list.failed.push_back({file, backend.status()});
    }
  }
  return list;
}

Result<std::shared_ptr<const Backend>> backend_for(const BackendList& list, qz_device device) {
  for (const auto& backend : list.backends)
    for (const qz_device_info& info : backend->devices())
      if (backend->computes() && same_device(info.device, device)) return backend;
  return error(Code::kUnsupported, "no backend computes on device (%d, %d): qz_device_to_json says what is missing",
               device.kind, device.index);
}

}  // namespace qz
