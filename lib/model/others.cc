// Linear layers of a file that the forward pass does not know, such as those of a vision tower.
#include "model/others.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "base/json.h"

namespace qz {
namespace {

using Sides = std::pair<int64_t, int64_t>;  // rows, cols; 0, 0: not to be seen

constexpr uint64_t kMaxState = 1u << 16;  // bytes of the JSON beside a matrix of bitsandbytes

Result<Sides> sides_in_tensor(const Checkpoint& checkpoint, const TensorInfo& shape) {
  int64_t sides[2] = {0, 0};
  if (shape.dtype != DType::kI64 || shape.bytes != sizeof sides) return Sides();
  QZ_TRY(checkpoint.read(shape, sides));
  return Sides(sides[0], sides[1]);
}

Result<Sides> sides_in_state(const Checkpoint& checkpoint, const TensorInfo& state) {
  if (state.bytes > kMaxState) return Sides();
  std::string text(state.bytes, '\0');
  QZ_TRY(checkpoint.read(state, text.data()));
  QZ_ASSIGN(const Json json, parse_json(text, state.name));
  const auto shape = json.is_object() ? json.find("shape") : json.end();
  if (!json.is_object() || shape == json.end() || !shape->is_array() || shape->size() != 2) return Sides();
  for (const Json& side : *shape)
    if (!side.is_number_unsigned() || side.get<uint64_t>() > uint64_t{1} << 32) return Sides();
  return Sides((*shape)[0].get<int64_t>(), (*shape)[1].get<int64_t>());
}

// By what the formats that may round such layers put beside their codes; a matrix otherwise tells itself.
Result<Sides> sides_of(const Checkpoint& checkpoint, const std::string& module, const TensorInfo& tensor) {
  if (const TensorInfo* shape = checkpoint.find(module + ".weight_shape")) return sides_in_tensor(checkpoint, *shape);
  for (const char* state : {".weight.quant_state.bitsandbytes__nf4", ".weight.quant_state.bitsandbytes__fp4"})
    if (const TensorInfo* found = checkpoint.find(module + state)) return sides_in_state(checkpoint, *found);
  return tensor.shape.size() == 2 ? Sides(tensor.shape[0], tensor.shape[1]) : Sides();
}

}  // namespace

Result<std::vector<Module>> list_other_linears(const Checkpoint& checkpoint, const std::vector<Module>& known,
                                               const Limits& limits) {
  std::set<std::string_view> names;
  for (const Module& m : known) names.insert(m.name);
  std::vector<Module> others;
  for (const TensorInfo& t : checkpoint.tensors()) {
    size_t end = std::string::npos;
    for (const std::string_view suffix : {".weight", ".weight_packed"}) {
      const size_t at = t.name.size() - std::min(t.name.size(), suffix.size());
      if (t.name.compare(at, std::string::npos, suffix) == 0) end = at;
    }
    if (end == std::string::npos || t.name.find("embed") != std::string::npos) continue;
    Module m;
    m.name = t.name.substr(0, end);
    m.role = Role::kOther;
    if (names.count(m.name) != 0) continue;
    QZ_ASSIGN(const Sides sides, sides_of(checkpoint, m.name, t));
    std::tie(m.rows, m.cols) = sides;
    const auto most = static_cast<int64_t>(std::max(limits.hidden, limits.vocab));
    if (m.rows < 1 || m.cols < 1 || m.rows > most || m.cols > most) continue;
    others.push_back(std::move(m));
  }
  std::sort(others.begin(), others.end(), [](const Module& a, const Module& b) { return a.name < b.name; });
  return others;
}

}  // namespace qz
