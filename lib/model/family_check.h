// Can a directory be opened, and if not, what would its family's description have to say?
#pragma once
#include <string>
#include <vector>

#include "base/context.h"
#include "base/json.h"
#include "base/status.h"

namespace qz {

struct FamilyCheck {
  std::string hf_class, model_type;       // of config.json; "" when it does not say
  std::string known;                      // the table that opens it; "": none does
  std::string problem;                    // why it does not open; "" when it does
  std::string closest;                    // the table that names most of its tensors
  std::vector<std::string> missing;       // tensors that this table names and the file lacks, {} for numbers
  std::vector<std::string> unused;        // linear layers and norms of the file that this table does not name
  std::vector<std::string> missing_keys;  // of config.json, by the names that the table expects
  Json suggestion;                        // an arch_json to start from; null when the directory opens
  std::string still;                      // what is wrong when it is opened with that; "" when it opens
};

// kBadFile when there is no readable config.json or no tensor file.
Result<FamilyCheck> check_family(ContextPtr context, const std::string& dir);
Json family_check_to_json(const FamilyCheck& check);

}  // namespace qz
