#include "run/places.h"

#include <algorithm>
#include <map>

#include "model/layout.h"
#include "transform/list.h"

namespace qz {
namespace {

constexpr const char* kNormFollows = "their input is the residual stream itself: the norm follows the addition";
constexpr const char* kNormedStream = "the normed stream is also what the block adds to";
constexpr const char* kRouterReads = "the router, which is not quantized, reads the same norm";
constexpr const char* kExperts = "scales within experts are not searched";
constexpr const char* kHeadKept = "the norm before the head is left as it is";

class Finder {
 public:
  Finder(const Model& model, const std::vector<ModulePlan>& plans, int64_t layer)
      : model_(model), config_(model.config()), arch_(model.arch()), plans_(plans), layer_(layer) {
    const auto [first, end] = model.block_modules(layer);
    for (size_t i = first; i < end; ++i) {
      const Module& m = model.modules()[i];
      if (m.role == Role::kRouter) mixture_ = true;
      (m.expert < 0 ? own_ : experts_)[m.role].push_back(i);
    }
  }

  std::vector<FoldPlace> find() {
    const bool shared_norm = config_.parallel && arch_.mlp_norm.empty();
    const char* obstacle = !config_.norm_first       ? kNormFollows
                           : config_.residual_normed ? kNormedStream
                           : shared_norm && mixture_ ? kRouterReads
                                                     : "";
    std::vector<size_t> attention = of({Role::kQ, Role::kK, Role::kV, Role::kQkv, Role::kQA, Role::kKvA});
    std::vector<size_t> mlp = of({Role::kGate, Role::kUp, Role::kGateUp}), down = of({Role::kDown});
    if (mixture_) {
      for (const Role role : {Role::kGate, Role::kUp, Role::kGateUp}) append(experts_[role], &mlp);
      append(experts_[Role::kDown], &down);
    } else if (shared_norm) {
      append(mlp, &attention);
    }
    behind_norm(Input::kAttention, std::move(attention), arch_.attn_norm, obstacle);
    behind_norm(Input::kQueryLatent, of({Role::kQB}), arch_.q_a_norm, "");
    behind_norm(Input::kKeyLatent, of({Role::kKvB}), arch_.kv_a_norm, "");
    behind_linear(Input::kMixed, of({Role::kO}), of({Role::kV, Role::kQkv, Role::kKvB}), "");
    if (!shared_norm || mixture_)
      behind_norm(Input::kMlp, std::move(mlp), arch_.mlp_norm, mixture_ ? kRouterReads : obstacle);
    // act(gate) * up scales with up, relu(up) too.
    const bool scales = arch_.mlp == MlpKind::kGated || config_.activation == Activation::kRelu;
    behind_linear(Input::kInner, std::move(down), of({Role::kUp, Role::kGateUp}),
                  mixture_ ? kExperts
                  : scales ? ""
                           : "the activation before them does not scale with its input");
    return std::move(places_);
  }

 private:
  std::vector<size_t> of(std::initializer_list<Role> roles) {
    std::vector<size_t> out;
    for (const Role role : roles) append(own_[role], &out);
    return out;
  }
  static void append(const std::vector<size_t>& from, std::vector<size_t>* to) {
    to->insert(to->end(), from.begin(), from.end());
  }

  // The readers' common transform, or why there is none; false: none of them wants one.
  bool agree(const std::vector<size_t>& readers, FoldPlace* place) const {
    const auto wants = [&](size_t i) { return plans_[i].transform.kind != TransformKind::kNone; };
    const auto first = std::find_if(readers.begin(), readers.end(), wants);
    if (first == readers.end()) return false;
    place->transform = plans_[*first].transform;
    for (const size_t i : readers) {
      if (plans_[i].transform == place->transform) continue;
      const char* why = plans_[i].method == Method::kKeep ? ", which reads the same input, is kept"
                        : !wants(i)                       ? ", which reads the same input, is not to be rescaled"
                                                          : ", which reads the same input, has another transform";
      place->obstacle = std::string(role_name(model_.modules()[i].role)) + why;
    }
    return true;
  }

  void behind_norm(Input input, std::vector<size_t> readers, std::string_view norm, const char* obstacle) {
    FoldPlace place;
    place.input = input;
    if (!agree(readers, &place)) return;
    place.readers = std::move(readers);
    if (*obstacle) place.obstacle = obstacle;
    if (!norm.empty()) place.norm = in_layer(arch_, layer_, norm);
    places_.push_back(std::move(place));
  }

  void behind_linear(Input input, std::vector<size_t> readers, const std::vector<size_t>& source,
                     const char* obstacle) {
    FoldPlace place;
    place.input = input;
    if (!agree(readers, &place) || !find_transform(place.transform.kind)->behind_linears) return;
    place.readers = std::move(readers);
    if (*obstacle) {
      place.obstacle = obstacle;
    } else {
      place.source = source.front();
      if (plans_[place.source].method == Method::kKeep)
        place.obstacle =
            std::string(role_name(model_.modules()[place.source].role)) + ", which makes their input, is kept";
    }
    places_.push_back(std::move(place));
  }

  const Model& model_;
  const ModelConfig& config_;
  const ArchDesc& arch_;
  const std::vector<ModulePlan>& plans_;
  const int64_t layer_;
  bool mixture_ = false;
  std::map<Role, std::vector<size_t>> own_, experts_;
  std::vector<FoldPlace> places_;
};

// "q, k, v"
std::string readers_text(const Model& model, const FoldPlace& place) {
  std::vector<std::string> names;
  for (const size_t i : place.readers) {
    const std::string name = role_name(model.modules()[i].role);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  std::string text;
  for (const std::string& name : names) text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

}  // namespace

std::vector<FoldPlace> fold_places(const Model& model, const std::vector<ModulePlan>& plans, int64_t layer) {
  return Finder(model, plans, layer).find();
}

std::vector<std::string> transform_notes(const Model& model, const std::vector<ModulePlan>& plans) {
  std::vector<std::string> texts;
  std::map<std::string, int64_t> layers;
  const auto add = [&](const FoldPlace& place) {
    const std::string text = std::string(find_transform(place.transform.kind)->name) + ": the inputs of " +
                             readers_text(model, place) + " are not rescaled: " + place.obstacle;
    if (layers[text]++ == 0) texts.push_back(text);
  };
  for (int64_t layer = 0; layer < model.config().layers; ++layer)
    for (const FoldPlace& place : fold_places(model, plans, layer))
      if (!place.obstacle.empty()) add(place);
  const size_t head = plans.size() - 1;
  if (model.modules()[head].layer < 0 && plans[head].transform.kind != TransformKind::kNone) {
    FoldPlace place;
    place.readers = {head};
    place.transform = plans[head].transform;
    place.obstacle = kHeadKept;
    add(place);
  }
  for (std::string& text : texts)
    if (layers[text] > 1) text += " (" + std::to_string(layers[text]) + " layers)";
  return texts;
}

}  // namespace qz
