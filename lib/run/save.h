// Writing a model as it is: codes moved from one format to another without a change, or dequantized to plain weights.
#pragma once
#include <string>
#include <vector>

#include "run/writer.h"

namespace qz {

// What a conversion comes to, before anything is written.
struct SavePlan {
  struct Loss {
    std::string module, words;
  };
  FormatId format = FormatId::kDefault;
  PlanSummary summary;
  std::vector<Loss> lost;  // empty: the conversion is exact
};

// format kDefault: the model's own format. kUnsupported when the target cannot hold what the model has (with
// allow_loss: nor anything near it): all such modules in one message. Reads the matrices whose numbers decide.
Result<SavePlan> plan_save(const Model& model, FormatId format, bool allow_loss, Progress* progress);

// As planned; kUnsupported before anything is written.
Status save_model(const Model& model, const std::string& dir, WriteOptions options, Progress* progress);

}  // namespace qz
