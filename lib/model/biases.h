// Which linear layers have a bias, as far as config.json and the family tell. Only for estimates without tensor files:
// where there are files, their tensors say it.
#pragma once
#include "arch/desc.h"
#include "base/json_fwd.h"
#include "model/model.h"

namespace qz {

// The family's list (ArchDesc::biases), and what transformers' configurations switch on or off: attention_bias (q, k,
// v, o), mlp_bias (gate, up, down), enable_bias (OPT).
bool expects_bias(const Json& config, const ArchDesc& desc, const Module& module);

}  // namespace qz
