// Which tensors an output directory will have, before anything is solved: names, types, shapes, bytes.
#pragma once
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/model.h"

namespace qz {

struct OutputTensors {
  std::vector<TensorSpec> tensors;  // the modules' first, then the copies
  std::vector<std::string> copies;  // names of tensors that pass through as they are
  std::vector<size_t> rewritten;    // modules that stay plain but not in the tensor that they are in: others share it
                                    // (Module::stack), or it is coded (Model::coded)
};

// source's tensors with the modules of `summary` in `format` (null: plain). A source that was opened from its
// configuration alone counts the tensors that the configuration implies, in its type.
OutputTensors output_tensors(const Model& source, const PlanSummary& summary, const Format* format);

}  // namespace qz
