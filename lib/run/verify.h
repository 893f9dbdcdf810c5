// Reading a written directory back, and proving it.
#pragma once
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "model/model.h"

namespace qz {

struct Finding {
  std::string severity;  // "error" "warning"
  std::string file, tensor, text;
};
struct Verification {
  int64_t files = 0, modules = 0, tensors = 0;  // that were checked
  std::vector<Finding> findings;
  bool ok() const;  // no finding of severity "error"
};

// Headers and shapes (by opening), the file hashes and matrix hashes of dir's report, every decoded matrix against
// `model`'s where that is quantized, and every tensor that was to be passed through against `model`'s bytes. Fails only
// when cancelled.
Result<Verification> verify_directory(const Model& model, const std::string& dir, Progress* progress);
Json verification_to_json(const Verification& verification);

}  // namespace qz
