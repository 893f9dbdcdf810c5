// Families and tensors as GGUF names them. One table of roles serves every family: what the family calls a part is in
// its ArchDesc.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "arch/desc.h"
#include "base/json_fwd.h"

namespace qz {

struct GgufFamily {
  std::string_view name;           // general.architecture
  std::string_view hf_class;       // of config.json
  bool pairs = false;              // rows of q and k are stored as rotated pairs (StoredForm::heads)
  bool experts = false;            // has experts: of two rows of one name the one that fits is meant
  std::string_view config = "{}";  // JSON: what llama.cpp takes for granted, for config.json
};

// nullptr: not one that is read. experts: whether the file has any.
const GgufFamily* find_gguf_family(std::string_view name, bool experts);
// The family in which a model of this class is written; nullptr: llama.cpp has none like it, or we do not know it.
const GgufFamily* gguf_family_of(std::string_view hf_class);
std::string gguf_families();  // "llama, qwen2, ...": what is known, for messages

// One tensor of a GGUF file in the terms of the family.
struct GgufName {
  std::string hf;        // full name, with ".weight" or ".bias"; of stacked experts with {} for the expert's number
  bool stacked = false;  // all experts in one tensor
  bool pairs_q = false, pairs_k = false;  // q or k: the rows of GgufFamily::pairs
};
// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; nullopt: not a part of this family.
std::optional<GgufName> name_from_gguf(const ArchDesc& desc, std::string_view name);
// The other way round: the name in the file; an expert's is that of the stack. "" if there is none.
std::string name_to_gguf(const ArchDesc& desc, std::string_view hf);

}  // namespace qz
