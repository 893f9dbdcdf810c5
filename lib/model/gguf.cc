#include "model/gguf.h"

#include <sys/stat.h>

#include <cmath>
#include <cstring>

#include "arch/list.h"
#include "base/json.h"
#include "io/gguf.h"
#include "io/stored_form.h"
#include "io/tree.h"
#include "model/gguf_config.h"
#include "packed/block_code.h"

namespace qz {
namespace {

constexpr char kEnd[] = ".gguf";
constexpr char kRopeFreqs[] = "rope_freqs.weight";

bool is_gguf_name(const std::string& name) {
  const size_t n = sizeof kEnd - 1;
  return name.size() > n && name.compare(name.size() - n, n, kEnd) == 0;
}

// "-00002-of-00005" in front of ".gguf": the place of the digits "00002", or npos.
size_t split_place(const std::string& name) {
  const size_t n = name.size();
  const size_t tail = std::strlen("-00001-of-00001.gguf");
  if (n <= tail || name.compare(n - tail, 1, "-") != 0 || name.compare(n - tail + 6, 4, "-of-") != 0)
    return std::string::npos;
  for (const size_t at : {n - tail + 1, n - tail + 10})
    for (size_t i = 0; i < 5; ++i)
      if (name[at + i] < '0' || name[at + i] > '9') return std::string::npos;
  return n - tail + 1;
}

struct Opened {
  std::vector<std::shared_ptr<File>> files;
  Json metadata;                     // of the first file
  std::vector<GgufTensor> tensors;   // of all
  std::vector<uint32_t> file_index;  // per tensor
};

uint64_t count_of(const Json& metadata, const char* key, uint64_t absent) {
  const auto it = metadata.find(key);
  return it != metadata.end() && it->is_number_unsigned() ? it->get<uint64_t>() : absent;
}

Result<Opened> open_parts(const Context& context, const std::string& file) {
  Opened out;
  uint64_t count = 1;
  for (uint64_t part = 0; part < count; ++part) {
    std::string path = file;
    if (part > 0) {
      const std::string digits = std::to_string(part + 1);
      path.replace(split_place(path), 5, std::string(5 - std::min<size_t>(5, digits.size()), '0') + digits);
    }
    QZ_ASSIGN(auto opened, File::open(path));
    QZ_ASSIGN(GgufHeader header, read_gguf_header(*opened, context.limits));
    const uint64_t said = count_of(header.metadata, "split.count", 1);
    if (said > 1 && (split_place(path) == std::string::npos || count_of(header.metadata, "split.no", 0) != part ||
                     said > kMostGgufParts || (part > 0 && said != count)))
      return error(Code::kBadFile,
                   "%s: is part %llu of %llu by its keys, expected part %llu under a name as model-00001-of-00002.gguf",
                   path.c_str(), static_cast<unsigned long long>(count_of(header.metadata, "split.no", 0)) + 1,
                   static_cast<unsigned long long>(said), static_cast<unsigned long long>(part) + 1);
    if (part == 0) count = std::max<uint64_t>(1, said), out.metadata = std::move(header.metadata);
    for (GgufTensor& t : header.tensors) {
      out.tensors.push_back(std::move(t));
      out.file_index.push_back(static_cast<uint32_t>(part));
    }
    out.files.push_back(std::move(opened));
  }
  return out;
}

void decode_one(const void* block, const uint8_t* bytes, float* out) {
  decode_block(*static_cast<const BlockCode*>(block), bytes, out);
}

class Opener {
 public:
  Opener(const std::string& path, Opened opened) : path_(path), opened_(std::move(opened)) {}

  Result<std::shared_ptr<const Checkpoint>> run(bool config_only) {
    QZ_TRY(choose_family());
    GgufFacts facts;
    QZ_TRY(look(&facts));
    QZ_ASSIGN(Json config, config_from_gguf(file(), opened_.metadata, *family_, *desc_, facts));
    heads_ = positive(config, desc_->keys.heads, 1);
    kv_heads_ = positive(config, desc_->keys.kv_heads, heads_);
    for (size_t i = 0; i < opened_.tensors.size(); ++i) QZ_TRY(add(opened_.tensors[i], opened_.file_index[i]));
    config["quantization_config"] = {{"quant_method", "gguf"}, {"types", std::move(types_)}};
    if (config_only) tensors_.clear();
    return Checkpoint::assemble(path_, std::move(config), std::move(tensors_), std::move(opened_.files));
  }

 private:
  const std::string& file() const { return opened_.files.front()->path(); }

  static int64_t positive(const Json& config, std::string_view key, int64_t absent) {
    const auto it = config.find(std::string(key.substr(0, key.find('|'))));
    if (it == config.end() || !it->is_number_integer()) return absent;
    const int64_t v = it->get<int64_t>();
    return v > 0 ? v : absent;
  }

  Status choose_family() {
    const auto it = opened_.metadata.find("general.architecture");
    if (it == opened_.metadata.end() || !it->is_string())
      return error(Code::kBadFile, "%s: key 'general.architecture' is missing or not text", file().c_str());
    const std::string name = it->get<std::string>();
    family_ = find_gguf_family(name, count_of(opened_.metadata, (name + ".expert_count").c_str(), 0) > 0);
    if (!family_)
      return error(Code::kUnsupported, "%s: architecture '%.60s', %s are read", file().c_str(), name.c_str(),
                   gguf_families().c_str());
    desc_ = find_architecture(family_->hf_class, "");
    if (!desc_) return error(Code::kInternal, "no table for %s", std::string(family_->hf_class).c_str());
    return {};
  }

  Status look(GgufFacts* facts) {
    facts->tied = true;
    for (size_t i = 0; i < opened_.tensors.size(); ++i) {
      const GgufTensor& t = opened_.tensors[i];
      if (t.name == "output.weight") facts->tied = false;
      if (t.name == "token_embd.weight") {
        if (t.shape.size() == 2) facts->vocab = t.shape[0];
        if (is_float(t.type->dtype)) facts->dtype = t.type->dtype;
      }
      if (t.name != kRopeFreqs) continue;
      if (t.type->dtype != DType::kF32 || t.shape.size() != 1 || t.shape[0] > 4096)
        return error(Code::kBadFile, "%s: tensor '%s' is %s of %lld, expected F32, a number for each rotating pair",
                     file().c_str(), kRopeFreqs, t.type->name, static_cast<long long>(t.shape[0]));
      facts->rope_freqs.resize(static_cast<size_t>(t.shape[0]));
      QZ_TRY(opened_.files[opened_.file_index[i]]->read_at(t.offset, facts->rope_freqs.data(), t.bytes));
      for (const float f : facts->rope_freqs)
        if (!std::isfinite(f) || f <= 0)
          return error(Code::kBadFile, "%s: tensor '%s' holds %g, expected numbers above 0", file().c_str(), kRopeFreqs,
                       static_cast<double>(f));
    }
    if (facts->vocab == 0)
      return error(Code::kBadFile, "%s: tensor 'token_embd.weight' is missing or no matrix", file().c_str());
    return {};
  }

  // Whether a tensor is a linear layer that stays in blocks; everything else in blocks is shown as floats.
  static bool is_module(const GgufName& name, const ArchDesc& desc) {
    const std::string embed = std::string(desc.prefix) + std::string(desc.embed) + ".weight";
    const std::string_view end = ".weight";
    const bool router = !desc.router.empty() && name.hf.find("." + std::string(desc.router) + ".") != std::string::npos;
    const bool scale =
        !desc.shared_scale.empty() && name.hf.find("." + std::string(desc.shared_scale) + ".") != std::string::npos;
    return name.hf != embed && !router && !scale && name.hf.size() > end.size() &&
           name.hf.compare(name.hf.size() - end.size(), end.size(), end) == 0;
  }

  Status add(const GgufTensor& t, uint32_t file_index) {
    if (t.name == kRopeFreqs) return {};
    const std::optional<GgufName> name = name_from_gguf(*desc_, t.name);
    if (!name)
      return error(Code::kUnsupported, "%s: tensor '%.100s' has no place in a model of the family %s", file().c_str(),
                   t.name.c_str(), std::string(family_->name).c_str());
    const BlockCode* block = find_block_code(static_cast<CodeKind>(kFirstBlock + static_cast<int32_t>(t.type->id)));
    if (t.type->dtype == DType::kOther && !block)
      return error(Code::kUnsupported, "%s: tensor '%.100s' is of type %s, whose codes are not read", file().c_str(),
                   t.name.c_str(), t.type->name);
    if (name->stacked && t.shape.size() != 3)
      return error(Code::kBadFile, "%s: tensor '%.100s' has %zu dimensions, experts have 3", file().c_str(),
                   t.name.c_str(), t.shape.size());
    if (!name->stacked) return show(t, block, *name, name->hf, t.shape, t.offset, t.bytes, file_index);
    const std::vector<int64_t> shape(t.shape.begin() + 1, t.shape.end());
    const uint64_t bytes = t.bytes / static_cast<uint64_t>(t.shape[0]);
    for (int64_t e = 0; e < t.shape[0]; ++e) {
      std::string hf = name->hf;
      if (const size_t slot = hf.find("{}"); slot != std::string::npos) hf.replace(slot, 2, std::to_string(e));
      QZ_TRY(show(t, block, *name, hf, shape, t.offset + static_cast<uint64_t>(e) * bytes, bytes, file_index));
    }
    return {};
  }

  Status show(const GgufTensor& t, const BlockCode* block, const GgufName& name, const std::string& hf,
              std::vector<int64_t> shape, uint64_t offset, uint64_t bytes, uint32_t file_index) {
    TensorInfo info;
    info.name = hf;
    info.file = file_index;
    info.offset = offset, info.bytes = bytes;
    info.shape = std::move(shape);
    info.dtype = t.type->dtype;
    // llama.cpp stores the gate of the shared expert, a matrix of one row, as a vector.
    const std::string_view gate = desc_->shared_scale;
    if (!gate.empty() && info.shape.size() == 1 && hf.find("." + std::string(gate) + ".weight") != std::string::npos)
      info.shape.insert(info.shape.begin(), 1);
    auto form = std::make_shared<StoredForm>();
    const int64_t rows = info.shape[0];
    if (family_->pairs && (name.pairs_q || name.pairs_k)) {
      form->heads = name.pairs_q ? heads_ : kv_heads_;
      if (rows % (2 * form->heads) != 0)
        return error(Code::kBadFile, "%s: tensor '%.100s' has %lld rows, no pairs for each of %lld heads",
                     file().c_str(), t.name.c_str(), static_cast<long long>(rows), static_cast<long long>(form->heads));
    }
    const bool codes = block && is_module(name, *desc_) && info.shape.size() == 2;
    if (codes) {
      types_[hf.substr(0, hf.rfind('.'))] = block->name;
      info.dtype = DType::kU8;
      info.shape[1] = static_cast<int64_t>(bytes / static_cast<uint64_t>(rows));
    } else if (block) {
      form->block = block;
      form->decode = decode_one;
      form->elements = static_cast<uint32_t>(block->elements);
      form->bytes = static_cast<uint32_t>(block->bytes);
      info.dtype = DType::kF32;
      info.bytes = bytes / form->bytes * form->elements * sizeof(float);
    }
    info.dtype_name = dtype_name(info.dtype);
    if (form->heads > 0 || form->decode) info.form = std::move(form);
    tensors_.push_back(std::move(info));
    return {};
  }

  const std::string path_;
  Opened opened_;
  const GgufFamily* family_ = nullptr;
  const ArchDesc* desc_ = nullptr;
  int64_t heads_ = 1, kv_heads_ = 1;
  std::vector<TensorInfo> tensors_;
  Json types_ = Json::object();
};

}  // namespace

Result<std::string> find_gguf(const std::string& path) {
  struct stat s;
  if (::stat(path.c_str(), &s) != 0) return std::string();
  if (S_ISREG(s.st_mode) && is_gguf_name(path)) return path;
  if (!S_ISDIR(s.st_mode)) return std::string();
  const auto names = list_directory(path);
  if (!names.ok()) return std::string();
  std::string found;
  for (const std::string& name : *names) {
    if (name.find(".safetensors") != std::string::npos) return std::string();
    if (!is_gguf_name(name)) continue;
    const size_t place = split_place(name);
    if (place != std::string::npos && name.compare(place, 5, "00001") != 0) continue;
    if (!found.empty())
      return error(Code::kInvalidArgument, "%s: holds several models, %s and %s: name the file", path.c_str(),
                   found.c_str(), name.c_str());
    found = name;
  }
  return found.empty() ? found : path + "/" + found;
}

Result<std::shared_ptr<const Checkpoint>> open_gguf(const Context& context, const std::string& path,
                                                    const std::string& file, bool config_only) {
  QZ_ASSIGN(Opened opened, open_parts(context, file));
  return Opener(path, std::move(opened)).run(config_only);
}

}  // namespace qz
