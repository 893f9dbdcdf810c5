#include "io/checkpoint.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/json.h"
#include "io/repository.h"
#include "io/shard_index.h"
#include "io/stored_form.h"
#include "io/tree.h"
#include "tensor/convert.h"

namespace qz {
namespace {

using ull = unsigned long long;

constexpr uint64_t kChunkBytes = 1u << 20;

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// A file that belongs to the model but neither holds weights nor is written anew by a conversion.
bool is_side_file(std::string_view name) {
  if (name.empty() || name[0] == '.') return false;  // .gitattributes, .cache
  if (name.find(".safetensors") != std::string_view::npos) return false;
  for (const char* written : {"config.json", "quantize_config.json", "qz_report.json"})
    if (name == written) return false;
  // Weights of other frameworks beside the safetensors.
  for (const char* end : {".bin", ".bin.index.json", ".gguf", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx",
                          ".onnx_data", ".tflite", ".ot"})
    if (ends_with(name, end)) return false;
  return true;
}

// Why a directory has no tensors that we read.
Status no_tensors(const Repository& r) {
  for (const char* pickle : {"pytorch_model.bin", "pytorch_model.bin.index.json"})
    if (r.has(pickle))
      return error(Code::kUnsupported,
                   "%s: holds %s, a Python pickle, which is never read; convert it to safetensors first (transformers: "
                   "save_pretrained)",
                   r.dir().c_str(), pickle);
  return error(Code::kIo, "%s: holds neither %s nor %s", r.dir().c_str(), kSingleName, kIndexName);
}

Status same_bytes(const File& a, const TensorInfo& ta, const File& b, const TensorInfo& tb) {
  bool same = ta.dtype_name == tb.dtype_name && ta.shape == tb.shape && ta.bytes == tb.bytes;
  std::string left, right;
  for (uint64_t at = 0; same && at < ta.bytes; at += kChunkBytes) {
    const uint64_t n = std::min(kChunkBytes, ta.bytes - at);
    left.resize(n);
    right.resize(n);
    QZ_TRY(a.read_at(ta.offset + at, left.data(), n));
    QZ_TRY(b.read_at(tb.offset + at, right.data(), n));
    same = left == right;
  }
  if (!same)
    return error(Code::kBadFile, "tensor '%s' is in %s and in %s, with different contents", ta.name.c_str(),
                 a.path().c_str(), b.path().c_str());
  return {};
}

// Gathers the tensors of all shards under the index's rules. The index filters: a tensor that it does not list, or
// lists for another shard, is not part of the model.
class Gatherer {
 public:
  Gatherer(const Context& context, const ShardIndex& index) : context_(context), index_(index) {}

  std::vector<TensorInfo> tensors;

  Status add(uint32_t shard, const std::vector<std::shared_ptr<File>>& files, std::vector<TensorInfo> found) {
    size_t unlisted = 0;
    std::string first_unlisted;
    for (TensorInfo& t : found) {
      t.file = shard;
      const auto listed = index_.shard_of.find(t.name);
      if (listed == index_.shard_of.end()) {
        if (unlisted++ == 0) first_unlisted = t.name;
        continue;
      }
      const auto [it, fresh] = seen_.emplace(t.name, tensors.size());
      if (!fresh) {  // copies must agree, then the one that the index names is used
        TensorInfo& other = tensors[it->second];
        QZ_TRY(same_bytes(*files[other.file], other, *files[shard], t));
        if (listed->second == shard) other = std::move(t);
        continue;
      }
      tensors.push_back(std::move(t));
    }
    if (unlisted > 0)
      context_.log(LogLevel::kWarn, "%s: %zu tensors are not listed in the index and are ignored, '%s' first",
                   files[shard]->path().c_str(), unlisted, first_unlisted.c_str());
    return {};
  }

  // Every listed tensor was found where the index says.
  Status finish(const Repository& r) const {
    for (const auto& [name, shard] : index_.shard_of) {
      const auto it = seen_.find(name);
      if (it == seen_.end() || tensors[it->second].file != shard)
        return error(Code::kBadFile, "%s: weight_map: tensor '%s' is not in %s", r.path(kIndexName).c_str(),
                     name.c_str(), index_.shards[shard].c_str());
    }
    return {};
  }

 private:
  const Context& context_;
  const ShardIndex& index_;
  std::unordered_map<std::string, size_t> seen_;  // name -> index into tensors
};

void warn_total_size(const Context& context, const Repository& r, const ShardIndex& index,
                     const std::vector<TensorInfo>& tensors) {
  if (!index.total_size) return;
  uint64_t sum = 0;
  for (const TensorInfo& t : tensors) sum += t.bytes;
  if (sum != *index.total_size)
    context.log(LogLevel::kWarn, "%s: metadata.total_size is %llu but the tensors have %llu bytes",
                r.path(kIndexName).c_str(), ull{*index.total_size}, ull{sum});
}

Result<std::vector<TensorInfo>> open_sharded(const Context& context, const Repository& r,
                                             std::vector<std::shared_ptr<File>>* files) {
  QZ_ASSIGN(const ShardIndex index, read_shard_index(context, r));
  if (!std::binary_search(index.shards.begin(), index.shards.end(), kSingleName) && r.has(kSingleName))
    context.log(LogLevel::kWarn, "%s: ignored, because %s is there too", r.path(kSingleName).c_str(), kIndexName);
  Gatherer gatherer(context, index);
  for (uint32_t shard = 0; shard < index.shards.size(); ++shard) {
    QZ_ASSIGN(auto file, r.open_file(index.shards[shard]));
    files->push_back(file);
    QZ_ASSIGN(SafetensorsHeader header, read_safetensors_header(*file, context.limits));
    QZ_TRY(gatherer.add(shard, *files, std::move(header.tensors)));
  }
  QZ_TRY(gatherer.finish(r));
  warn_total_size(context, r, index, gatherer.tensors);
  return std::move(gatherer.tensors);
}

}  // namespace

Checkpoint::~Checkpoint() = default;

Result<std::shared_ptr<const Checkpoint>> Checkpoint::open(const Context& context, const std::string& dir,
                                                           bool config_only) {
  QZ_ASSIGN(const Repository repository, Repository::open(dir));
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->dir_ = repository.dir();
  checkpoint->config_path_ = repository.path("config.json");
  QZ_ASSIGN(const std::string text, repository.read_small("config.json", context.limits.config_bytes));
  JsonLimits limits;
  limits.depth = context.limits.json_depth;
  QZ_ASSIGN(Json config, parse_json(text, repository.path("config.json"), limits));
  if (!config.is_object())
    return error(Code::kBadFile, "%s: expected an object, found %s", repository.path("config.json").c_str(),
                 config.type_name());
  checkpoint->config_ = std::make_unique<const Json>(std::move(config));
  if (config_only) return std::shared_ptr<const Checkpoint>(checkpoint);

  if (repository.has(kIndexName)) {
    QZ_ASSIGN(checkpoint->tensors_, open_sharded(context, repository, &checkpoint->files_));
  } else if (repository.has(kSingleName)) {
    QZ_ASSIGN(auto file, repository.open_file(kSingleName));
    QZ_ASSIGN(SafetensorsHeader header, read_safetensors_header(*file, context.limits));
    checkpoint->files_.push_back(file);
    checkpoint->tensors_ = std::move(header.tensors);
  } else {
    return no_tensors(repository);
  }
  checkpoint->index();
  return std::shared_ptr<const Checkpoint>(checkpoint);
}

std::shared_ptr<const Checkpoint> Checkpoint::assemble(std::string path, Json config, std::vector<TensorInfo> tensors,
                                                       std::vector<std::shared_ptr<File>> files) {
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->dir_ = std::move(path);
  checkpoint->config_path_ = files.front()->path();
  checkpoint->config_ = std::make_unique<const Json>(std::move(config));
  checkpoint->tensors_ = std::move(tensors);
  checkpoint->files_ = std::move(files);
  checkpoint->index();
  return checkpoint;
}

void Checkpoint::index() {
  by_name_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) by_name_.emplace(tensors_[i].name, i);
}

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

Status Checkpoint::read(const TensorInfo& tensor, void* dst) const { return read_range(tensor, 0, tensor.bytes, dst); }

Status Checkpoint::read_range(const TensorInfo& tensor, uint64_t first_byte, uint64_t bytes, void* dst) const {
  if (tensor.file >= files_.size() || first_byte > tensor.bytes || bytes > tensor.bytes - first_byte)
    return error(Code::kInternal, "tensor '%s': bytes %llu + %llu of %llu were wanted", tensor.name.c_str(),
                 ull{first_byte}, ull{bytes}, ull{tensor.bytes});
  const File& file = *files_[tensor.file];
  if (tensor.form) return tensor.form->read(file, tensor, first_byte, bytes, static_cast<uint8_t*>(dst));
  return file.read_at(tensor.offset + first_byte, dst, bytes);
}

void Checkpoint::will_need(const TensorInfo& tensor) const {
  if (tensor.file < files_.size()) files_[tensor.file]->will_need(tensor.offset, tensor.bytes);
}

Result<std::vector<float>> Checkpoint::read_f32(const TensorInfo& tensor) const {
  const auto file = [&] { return tensor.file < files_.size() ? files_[tensor.file]->path().c_str() : ""; };
  if (!is_float(tensor.dtype))
    return error(Code::kUnsupported, "%s: tensor '%s' has dtype %s; expected F32, F16 or BF16", file(),
                 tensor.name.c_str(), tensor.dtype_name.c_str());
  const uint64_t size = dtype_bits(tensor.dtype) / 8;
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  std::vector<char> chunk(static_cast<size_t>(std::min(tensor.bytes, kChunkBytes)));
  for (uint64_t at = 0; at < tensor.bytes; at += chunk.size()) {
    const uint64_t bytes = std::min<uint64_t>(chunk.size(), tensor.bytes - at);
    QZ_TRY(read_range(tensor, at, bytes, chunk.data()));
    to_f32(chunk.data(), tensor.dtype, static_cast<size_t>(bytes / size), values.data() + at / size);
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]))
      return error(Code::kBadFile, "%s: tensor '%s': element %zu of %zu is %s", file(), tensor.name.c_str(), i,
                   values.size(), std::isnan(values[i]) ? "NaN" : "infinite");
  }
  return values;
}

Status Checkpoint::check_unchanged() const {
  for (const auto& file : files_) QZ_TRY(file->check_unchanged());
  return {};
}

Result<std::vector<std::string>> Checkpoint::side_files() const {
  if (struct stat s; ::stat(dir_.c_str(), &s) == 0 && S_ISREG(s.st_mode)) return std::vector<std::string>();
  QZ_ASSIGN(const Repository repository, Repository::open(dir_));
  QZ_ASSIGN(const std::vector<std::string> names, list_directory(dir_));
  std::vector<std::string> kept;
  for (const std::string& name : names) {
    if (!is_side_file(name)) continue;
    struct stat s;
    if (::stat(repository.path(name).c_str(), &s) != 0 || !S_ISREG(s.st_mode)) continue;
    QZ_TRY(repository.check_inside(name));
    kept.push_back(name);
  }
  return kept;
}

}  // namespace qz
