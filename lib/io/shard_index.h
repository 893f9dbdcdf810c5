// model.safetensors.index.json: which shard holds which tensor.
#pragma once
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/context.h"
#include "io/repository.h"

namespace qz {

inline constexpr char kIndexName[] = "model.safetensors.index.json";
inline constexpr char kSingleName[] = "model.safetensors";

// What shards are called: "model-00002-of-00003" + end, for index 1 of count 3.
std::string numbered(std::string_view stem, size_t index, size_t count, std::string_view end);

struct ShardIndex {
  std::vector<std::string> shards;                     // sorted, each once, plain names
  std::unordered_map<std::string, uint32_t> shard_of;  // tensor -> index into shards
  std::optional<uint64_t> total_size;                  // metadata.total_size, often wrong
};

// Reads and checks it (reliability rules IX01 to IX07); all missing shards are named in one failure.
Result<ShardIndex> read_shard_index(const Context& context, const Repository& repository);

}  // namespace qz
