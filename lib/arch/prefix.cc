#include <list>

#include "arch/list.h"

namespace qz {

std::shared_ptr<const ArchDesc> with_prefix(std::shared_ptr<const ArchDesc> desc, const std::string& prefix) {
  struct Owner {
    std::shared_ptr<const ArchDesc> base;
    ArchDesc desc;
    std::list<std::string> strings;
  };
  auto owner = std::make_shared<Owner>();
  ArchDesc& d = owner->desc = *desc;
  owner->base = std::move(desc);
  d.prefix = "";
  for (std::string_view* name :
       {&d.layer, &d.embed, &d.positions, &d.final_norm, &d.project_in, &d.project_out, &d.embed_norm}) {
    if (!name->empty()) *name = owner->strings.emplace_back(prefix + std::string(*name));
  }
  return std::shared_ptr<const ArchDesc>(owner, &owner->desc);
}

}  // namespace qz
