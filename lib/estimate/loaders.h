// Will it load? What loaders are known to refuse, as rules with their sources: asked of a plan before hours of work,
// and of anybody's directory.
#pragma once
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "packed/scheme.h"

namespace qz {

struct LoadModule {
  std::string name, role;
  int64_t layer = -1, rows = 0, cols = 0;
  bool quantized = false, g_idx = false;
  Scheme scheme;
};

struct LoadQuestion {
  std::string loader;        // "vllm" "transformers" "llama.cpp" "bitsandbytes"
  std::string format, arch;  // as format/format.h and the architecture tables call them; "plain"
  int64_t tensor_parallel = 1;
  int32_t capability = 0;  // of the GPU, 10 * major + minor; 0: not known
  int64_t heads = 0, kv_heads = 0;
  std::vector<LoadModule> modules;
};

struct LoadFinding {
  bool error = true;   // false: it loads, but slower or not everywhere
  std::string module;  // "" = the whole model
  std::string text, source;
};

const std::vector<std::string_view>& known_loaders();

// kInvalidArgument: a loader that the rules do not know. One finding a rule and module; modules of one shape and scheme
// are told once, with their number.
Result<std::vector<LoadFinding>> check_loading(const LoadQuestion& question);

Json findings_to_json(const std::vector<LoadFinding>& findings);

}  // namespace qz
