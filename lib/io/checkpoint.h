// A Hugging Face directory (or one .safetensors file's directory): its tensors by name, wherever the shards put them,
// and its small files. Opening reads headers only. Nothing outside the directory is opened, whatever an index says.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/context.h"
#include "base/json_fwd.h"
#include "io/safetensors.h"

namespace qz {

class Checkpoint {
 public:
  ~Checkpoint();

  // dir holds config.json and model.safetensors or model.safetensors.index.json with its shards (reliability rules ST,
  // IX). config_only: no tensor file is looked for; tensors() is empty.
  static Result<std::shared_ptr<const Checkpoint>> open(const Context& context, const std::string& dir,
                                                        bool config_only = false);

  // From parts that another container holds. path: what was opened, a file or a directory.
  static std::shared_ptr<const Checkpoint> assemble(std::string path, Json config, std::vector<TensorInfo> tensors,
                                                    std::vector<std::shared_ptr<File>> files);

  const std::string& dir() const { return dir_; }  // what was opened; a file where one file is the model
  // Where the configuration stands, for messages.
  const std::string& config_path() const { return config_path_; }
  const Json& config() const { return *config_; }  // config.json
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* find(std::string_view name) const;     // nullptr if there is none
  Status read(const TensorInfo& tensor, void* dst) const;  // tensor.bytes bytes; thread-safe
  Status read_range(const TensorInfo& tensor, uint64_t first_byte, uint64_t bytes, void* dst) const;
  void will_need(const TensorInfo& tensor) const;  // File::will_need of all its bytes
  // float32, all elements; kUnsupported for a dtype that is not F32/F16/BF16; kBadFile names the first NaN or infinity.
  Result<std::vector<float>> read_f32(const TensorInfo& tensor) const;
  Status check_unchanged() const;  // every shard still is what it was at open
  const std::vector<std::shared_ptr<File>>& files() const { return files_; }
  // Names of the other files that a converted directory must carry along (tokenizer, generation config, chat template,
  // licence,
  // *.py …): regular files, no *.safetensors*, *.bin, *.gguf, no config.json, no index, no quantize_config.json, no
  // report. None of a model that is one file.
  Result<std::vector<std::string>> side_files() const;

 private:
  void index();

  std::string dir_, config_path_;
  std::unique_ptr<const Json> config_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string_view, size_t> by_name_;
  std::vector<std::shared_ptr<File>> files_;
};

}  // namespace qz
