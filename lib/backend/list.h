// Which backends are here: every libqz_*.so in the folders where they are looked for, opened or with the reason why
// not.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "backend/plugin.h"

namespace qz {

struct FailedBackend {
  std::string file;  // or the folder, where that is what fails
  Status why;
};

struct BackendList {
  std::vector<std::shared_ptr<const Backend>> backends;  // by folder, then by name of the file
  std::vector<FailedBackend> failed;
};

// The folder of the file that this code was loaded from; "" where the system does not tell.
std::string own_folder();

// Opens the plug-ins of the folders in this order; empty names are skipped, a file of the same name as an earlier one
// too. Never fails: a folder that cannot be read (`must` says it has to be there) or a plug-in that does not open is
// an entry of `failed`.
struct BackendFolder {
  std::string path;
  bool must = false;
};
BackendList open_backends(const std::vector<BackendFolder>& folders, const Backend::LogSink& log);

inline bool same_device(qz_device a, qz_device b) { return a.kind == b.kind && a.index == b.index; }

// The first one that computes on the device; kUnsupported: none does.
Result<std::shared_ptr<const Backend>> backend_for(const BackendList& list, qz_device device);

}  // namespace qz
