// Safetensors shards of known layout, filled in any order while the run goes on.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/safetensors.h"
#include "io/staging.h"

namespace qz {

struct ShardHash {
  std::string file, sha256;
  uint64_t bytes = 0;
};

// SHA-256 of the file at `path`, which the report calls `name`.
Result<ShardHash> hash_file(const std::string& path, const std::string& name);

struct PlannedFile {
  std::string name;
  uint64_t bytes = 0;
};

class ShardWriter {
 public:
  // Splits `tensors` (kept in the given order between shards; each shard inside is ordered like the reference writer)
  // at shard_bytes (0 = 5e9), creates the files with their headers. One shard: model.safetensors, no index; else
  // model-00001-of-0000N.safetensors and model.safetensors.index.json.
  ~ShardWriter();
  static Result<std::unique_ptr<ShardWriter>> create(StagingDir* staging, std::vector<TensorSpec> tensors,
                                                     uint64_t shard_bytes);
  // Bytes that create() will need on disk, headers and index included, for the preflight check.
  static uint64_t total_bytes(const std::vector<TensorSpec>& tensors);
  // The files that create() and finish() will write, exact: names and sizes, the index last if there is one.
  static std::vector<PlannedFile> plan_files(std::vector<TensorSpec> tensors, uint64_t shard_bytes);

  // The whole tensor (spec.bytes bytes). A second write of one name, an unknown name or a wrong size is kInternal.
  // Thread-safe.
  Status write(const std::string& name, const void* data, uint64_t bytes);
  // Part of a tensor, for copies of tensors that should not be in memory at once; every byte must be written exactly
  // once.
  Status write_range(const std::string& name, uint64_t first_byte, const void* data, uint64_t bytes);
  // Fails (kInternal) when a byte was never written; syncs, closes, writes the index. Hashes are of the whole files, in
  // order.
  Result<std::vector<ShardHash>> finish();

 private:
  struct Slot;
  struct Shard;
  ShardWriter() = default;
  StagingDir* staging_ = nullptr;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::unordered_map<std::string, std::unique_ptr<Slot>> slots_;
};

}  // namespace qz
