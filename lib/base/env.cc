#include "base/env.h"

#include <cstdlib>

namespace qz {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

Environment read_environment() { return {variable("QZ_CPU"), variable("QZ_BACKEND_DIR"), variable("QZ_LOG")}; }

}  // namespace qz
