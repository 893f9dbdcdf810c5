// The only place that reads the environment: three documented variables, read once by qz_context_create.
#pragma once
#include <string>

namespace qz {

struct Environment {
  std::string cpu;          // QZ_CPU: force a CPU target for tests and benchmarks: "ref", "avx2", "avx512"
  std::string backend_dir;  // QZ_BACKEND_DIR
  std::string log;          // QZ_LOG: 0 … 4, text to stderr is the caller's business; this only sets the level
};
Environment read_environment();

}  // namespace qz
