// Writes a model directory while its modules become ready: the layout of every file is known before the first of them.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "io/shard_writer.h"
#include "model/model.h"
#include "run/plan.h"

namespace qz {

struct WriteOptions {
  FormatId format = FormatId::kCompressed;
  bool overwrite = false;
  uint64_t shard_bytes = 0;
  bool allow_loss = false;  // save_model: what the target cannot hold exactly is rounded
};

class ModelWriter {
 public:
  // Lays out `target` for source's tensors with the modules of `summary` in `format`; fails before any work (target
  // exists, no room, busy). Tensors that no module owns are copied byte by byte at finish().
  static Result<std::unique_ptr<ModelWriter>> create(const Model& source, const PlanSummary& summary,
                                                     const std::string& target, const WriteOptions& options);
  // Bytes of one module's parts as stored.
  uint64_t module_bytes(size_t module) const;
  Status write_matrix(size_t module, const QMatrix& matrix);
  // A module that stays or becomes plain, in the checkpoint's dtype, when it has no bytes to copy (kPlain from codes).
  Status write_dense(size_t module, const Matrix& weight);
  // Copies the rest, writes config.json, side files and the report (its "files" are filled in), publishes the
  // directory.
  Status finish(Json report, Progress* progress);

 private:
  ModelWriter() = default;
  const Model* source_ = nullptr;
  const Format* format_ = nullptr;  // null: plain
  PlanSummary summary_;
  std::vector<std::string> copies_;  // tensors to pass through
  std::vector<size_t> rewritten_;    // modules that stay plain but leave a tensor that others share
  std::unique_ptr<StagingDir> staging_;
  std::unique_ptr<ShardWriter> shards_;
};

}  // namespace qz
