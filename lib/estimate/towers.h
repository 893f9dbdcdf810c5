// Parameters of a multimodal model beside its language model, from config.json alone.
#pragma once
#include <cstdint>

#include "base/json_fwd.h"

namespace qz {

// Vision encoder and projector. 0: the configuration has none. -1: it has one that this table does not know.
int64_t tower_parameters(const Json& config, int64_t text_hidden);

}  // namespace qz
