#include <list>

#include "arch/list.h"

namespace qz {
namespace {

struct Owner {
  std::shared_ptr<const ArchDesc> whole, part;  // whose strings are referred to
  ArchDesc desc;
  std::list<std::string> strings;  // addresses stay

  // The names that ArchDesc::prefix is meant for.
  std::vector<std::string_view*> body() {
    ArchDesc& d = desc;
    return {&d.layer,      &d.embed,       &d.positions,  &d.final_norm,
            &d.project_in, &d.project_out, &d.embed_norm, &d.token_types};
  }
  // prefix + the name without its first `cut` characters.
  void rename(std::string_view* name, const std::string& prefix, size_t cut = 0) {
    if (!name->empty()) *name = strings.emplace_back(prefix + std::string(name->substr(cut)));
  }
};

}  // namespace

std::shared_ptr<const ArchDesc> with_prefix(std::shared_ptr<const ArchDesc> desc, const std::string& prefix) {
  auto owner = std::make_shared<Owner>();
  owner->desc = *desc;
  owner->part = std::move(desc);
  owner->desc.prefix = "";
  for (std::string_view* name : owner->body()) owner->rename(name, prefix);
  return std::shared_ptr<const ArchDesc>(owner, &owner->desc);
}

std::shared_ptr<const ArchDesc> language_part(std::shared_ptr<const ArchDesc> whole,
                                              std::shared_ptr<const ArchDesc> part, TextNames names) {
  constexpr std::string_view kModel = "model.";
  auto owner = std::make_shared<Owner>();
  ArchDesc& d = owner->desc;
  d = *part;
  d.name = whole->name, d.hf_class = whole->hf_class, d.model_type = whole->model_type;
  d.text_config = whole->text_config, d.text_family = whole->text_family, d.text_prefix = whole->text_prefix,
  d.text_body = whole->text_body;
  d.prefix = "";
  for (std::string_view* name : owner->body()) {
    if (names != TextNames::kInBody) {
      owner->rename(name, std::string(names == TextNames::kPrefixed ? d.text_prefix : "") + std::string(part->prefix));
    } else if (name->substr(0, kModel.size()) == kModel) {
      owner->rename(name, std::string(d.text_body), kModel.size());
    }
  }
  if (names == TextNames::kPrefixed) owner->rename(&d.head, std::string(d.text_prefix));
  owner->whole = std::move(whole), owner->part = std::move(part);
  return std::shared_ptr<const ArchDesc>(owner, &owner->desc);
}

}  // namespace qz
