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

struct ShardIndex {
  std::vector<std::string> shards;                     // sorted, each once, plain names
  std::unordered_map<std::string, uint32_t> shard_of;  // tensor -> index into shards
  std::optional<uint64_t> total_size;                  // metadata.total_size, often wrong
};

// Reads and checks it (reliability rules IX01 to IX07); all missing shards are named in one failure.
Result<ShardIndex> read_shard_index(const Context& context, const Repository& repository);

}  // namespace qz
