// llama.cpp's importance matrices (its tools/imatrix): for each linear layer the mean square of each of its inputs over
// the tokens of a text. A calibration run has them anyway; who has no text can round with those of somebody else.
#pragma once
#include <string>
#include <vector>

#include "run/pipeline.h"

namespace qz {

// Runs the tokens through the model as it is and writes what its layers read, under the names that GGUF has for them.
// path: the file, replaced when it is complete. An expert with too few tokens has some of others (run/experts.h),
// unlike llama.cpp's. kUnsupported: a family that llama.cpp does not have.
Status write_imatrix(const ModelPtr& model, const TokenSet& tokens, const std::string& path, Progress* progress);

// From a GGUF file, or the older one without a header (*.dat). For each of model.modules() the mean squares of its
// columns, empty for those that the file does not hold. kBadFile: none is held, one is of another model's size, or a
// number is not finite.
Result<std::vector<std::vector<float>>> read_imatrix(const Model& model, const std::string& path);

// From now on the errors of columns count by their importance where the plan rounds to block codes (GGUF).
Status set_imatrix(Plan* plan, const std::string& path);

}  // namespace qz
