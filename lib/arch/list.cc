#include "arch/list.h"

#include "arch/tables.h"

namespace qz {

const std::vector<const ArchDesc*>& architectures() {
  static const std::vector<const ArchDesc*> all = {&kLlama, &kMistral, &kOpt, &kQwen2, &kQwen3};
  return all;
}

const ArchDesc* find_architecture(std::string_view hf_class, std::string_view model_type) {
  for (const ArchDesc* desc : architectures()) {
    if (hf_class.empty() ? desc->model_type == model_type : desc->hf_class == hf_class) return desc;
  }
  return nullptr;
}

}  // namespace qz
