#include "io/shard_index.h"

#include <algorithm>
#include <set>

#include "base/json.h"

namespace qz {
namespace {

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

Status check_present(const Repository& repository, const std::vector<std::string>& shards) {
  constexpr size_t kListed = 200;  // an index of a hostile file may name millions
  std::string missing;
  size_t count = 0;
  for (const std::string& shard : shards) {
    if (repository.has(shard)) continue;
    if (++count <= kListed) missing += (count > 1 ? ", " : "") + shard.substr(0, 255);
  }
  if (count == 0) return {};
  if (count > kListed) missing += ", …";
  return error(Code::kIo, "%s: %zu of %zu shards are missing (incomplete download?): %s",
               repository.path(kIndexName).c_str(), count, shards.size(), missing.c_str());
}

}  // namespace

std::string numbered(std::string_view stem, size_t index, size_t count, std::string_view end) {
  const auto five = [](size_t n) {
    const std::string digits = std::to_string(n);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
  };
  std::string name(stem);
  name.append("-").append(five(index + 1)).append("-of-").append(five(count)).append(end);
  return name;
}

Result<ShardIndex> read_shard_index(const Context& context, const Repository& repository) {
  const std::string path = repository.path(kIndexName);
  const char* file = path.c_str();
  QZ_ASSIGN(const std::string text, repository.read_small(kIndexName, context.limits.index_bytes));
  JsonLimits limits;
  limits.depth = context.limits.json_depth;
  limits.values = context.limits.tensors_per_model + 4096;  // one string per tensor, and what "metadata" holds
  QZ_ASSIGN(const Json json, parse_json(text, path, limits));
  if (!json.is_object()) return error(Code::kBadFile, "%s: expected an object, found %s", file, json.type_name());
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object())
    return error(Code::kBadFile, "%s: key 'weight_map': expected an object, found %s", file,
                 map == json.end() ? "nothing" : map->type_name());
  if (map->empty()) return error(Code::kBadFile, "%s: key 'weight_map' is empty", file);
  if (map->size() > context.limits.tensors_per_model)
    return error(Code::kBadFile, "%s: %zu tensors; at most %llu are allowed", file, map->size(),
                 static_cast<unsigned long long>(context.limits.tensors_per_model));

  std::set<std::string> names;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string())
      return error(Code::kBadFile, "%s: weight_map: tensor '%.500s': expected a file name, found %s", file,
                   tensor.c_str(), shard.type_name());
    const auto& name = shard.get_ref<const std::string&>();
    if (!is_plain_name(name))
      return error(Code::kBadFile, "%s: weight_map: tensor '%.500s': '%.500s' is not a plain file name", file,
                   tensor.c_str(), name.c_str());
    if (!ends_with(name, ".safetensors"))
      return error(Code::kBadFile, "%s: weight_map: tensor '%.500s': '%.500s' does not end in .safetensors", file,
                   tensor.c_str(), name.c_str());
    names.insert(name);
  }
  ShardIndex index;
  index.shards.assign(names.begin(), names.end());
  QZ_TRY(check_present(repository, index.shards));
  index.shard_of.reserve(map->size());
  for (const auto& [tensor, shard] : map->items()) {
    const auto& name = shard.get_ref<const std::string&>();
    const auto at = std::lower_bound(index.shards.begin(), index.shards.end(), name);
    index.shard_of.emplace(tensor, static_cast<uint32_t>(at - index.shards.begin()));
  }
  if (const auto metadata = json.find("metadata"); metadata != json.end() && metadata->is_object())
    if (const auto size = metadata->find("total_size"); size != metadata->end() && size->is_number_unsigned())
      index.total_size = size->get<uint64_t>();
  return index;
}

}  // namespace qz
