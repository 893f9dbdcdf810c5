#include "base/status.h"

#include <cstdarg>
#include <cstdio>

namespace qz {

Status error(Code code, const char* format, ...) {
  va_list args;
  va_start(args, format);
  va_list again;
  va_copy(again, args);
  const int n = vsnprintf(nullptr, 0, format, args);
  va_end(args);
  std::string text(n > 0 ? static_cast<size_t>(n) : 0, '\0');
  if (n > 0) vsnprintf(text.data(), text.size() + 1, format, again);
  va_end(again);
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20) c = '?';  // one line, whatever a hostile file put into a name
  return Status(code, std::move(text));
}

}  // namespace qz
