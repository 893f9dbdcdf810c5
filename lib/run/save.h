// Writing a model as it is: codes moved from one format to another without a change, or dequantized to plain weights.
#pragma once
#include <string>

#include "run/writer.h"

namespace qz {

// options.format kDefault: the model's own format. kUnsupported before anything is written when the target cannot hold
// what the model has: all such modules in one message.
Status save_model(const Model& model, const std::string& dir, WriteOptions options, Progress* progress);

}  // namespace qz
