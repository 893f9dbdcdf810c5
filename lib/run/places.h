// Where scales may go in a block: linear layers that read the same input, and what comes before them, which takes the
// inverse. Known from the family's table and the plan, before any weight is read.
#pragma once
#include <string>
#include <vector>

#include "run/plan.h"

namespace qz {

// What a place reads, in the order in which a block computes it.
enum class Input : int32_t { kAttention, kQueryLatent, kKeyLatent, kMixed, kMlp, kInner };
constexpr size_t kInputs = 6;

struct FoldPlace {
  Input input = Input::kAttention;
  std::vector<size_t> readers;  // modules
  std::string norm;   // full name without ".weight" of the norm that makes the input; "": a linear layer makes it,
  size_t source = 0;  // this module
  TransformOptions transform;
  std::string obstacle;  // why nothing can take the scales, in words; "": nothing stands in the way
};

// The places of one block at which the plan wants a transform, those where it cannot be included.
std::vector<FoldPlace> fold_places(const Model& model, const std::vector<ModulePlan>& plans, int64_t layer);

// What the plan asks for and does not get, in words, one line for each kind of place and reason.
std::vector<std::string> transform_notes(const Model& model, const std::vector<ModulePlan>& plans);

}  // namespace qz
