// Writes a model directory while its modules become ready: the layout of every file is known before the first of them.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/shard_writer.h"
#include "model/model.h"
#include "run/plan.h"

namespace qz {

constexpr uint64_t kCopyBytes = 16u << 20;  // of a tensor that is copied, at a time

struct WriteOptions {
  FormatId format = FormatId::kCompressed;
  bool overwrite = false;
  uint64_t shard_bytes = 0;
  bool allow_loss = false;  // save_model: what the target cannot hold exactly is rounded
};

class ModelWriter {
 public:
  // Lays out `target` for source's tensors with the modules of `summary` in the format of `options`; fails before any
  // work (target exists, no room, busy). Tensors that no module owns are copied at finish(). A directory of safetensors
  // (directory_writer.cc), or one with a GGUF file (gguf_writer.cc).
  static Result<std::unique_ptr<ModelWriter>> create(const Model& source, const PlanSummary& summary,
                                                     const std::string& target, const WriteOptions& options);
  virtual ~ModelWriter() = default;
  // Bytes of one module's parts as stored.
  virtual uint64_t module_bytes(size_t module) const = 0;
  virtual Status write_matrix(size_t module, const QMatrix& matrix) = 0;
  // A module that stays or becomes plain, in the checkpoint's dtype, when it has no bytes to copy (kPlain from codes).
  virtual Status write_dense(size_t module, const Matrix& weight) = 0;
  // This tensor gets other values than the source's when the rest is copied.
  void replace(const std::string& name, std::vector<float> values) { changed_[name] = std::move(values); }
  // Copies the rest, writes the configuration and side files, then asks for the report and writes it (its "files" are
  // filled in), publishes the directory.
  virtual Status finish(const std::function<Json()>& report, Progress* progress) = 0;

 protected:
  Vectors changed_;
};

Result<std::unique_ptr<ModelWriter>> create_directory_writer(const Model& source, const PlanSummary& summary,
                                                             const std::string& target, const WriteOptions& options);
// kUnsupported: a model that llama.cpp has no like of.
Result<std::unique_ptr<ModelWriter>> create_gguf_writer(const Model& source, const PlanSummary& summary,
                                                        const std::string& target, const WriteOptions& options);

// What every writer does at the end: side files, the report with the hashes of `files`, the last chance to cancel, the
// new name.
Status publish(const Model& source, const std::vector<ShardHash>& files, Json report, StagingDir* staging,
               Progress* progress);

}  // namespace qz
