// System calls in words.
#pragma once
#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>

#include "base/status.h"

namespace qz {

// Linux moves at most 2 GiB - 4 KiB in one call; larger transfers are looped.
inline constexpr uint64_t kMaxTransfer = uint64_t{1} << 30;

// "PATH: WHAT: No space left on device", from errno (or `number`).
inline Status system_error(const char* what, const std::string& path, int number = errno) {
  return error(Code::kIo, "%s: %s: %s", path.c_str(), what, std::generic_category().message(number).c_str());
}

}  // namespace qz
