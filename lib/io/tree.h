// Directories as a whole.
#pragma once
#include <string>
#include <vector>

#include "base/status.h"

namespace qz {

// Names in a directory, sorted, without "." and "..".
Result<std::vector<std::string>> list_directory(const std::string& path);

// Removes a file or a directory with all that is in it; links are removed, not followed. Nothing there is a success.
Status remove_tree(const std::string& path);

// Makes names that were created or renamed in a directory survive a power loss.
Status sync_directory(const std::string& path);

}  // namespace qz
