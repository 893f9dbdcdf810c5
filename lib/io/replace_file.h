// Publishing one small file.
#pragma once
#include <string>
#include <string_view>

#include "base/status.h"

namespace qz {

// Writes PATH.qz-partial, syncs it, renames it to PATH and syncs the directory: PATH holds the old or the new text at
// every moment.
Status replace_file(const std::string& path, std::string_view text);

}  // namespace qz
