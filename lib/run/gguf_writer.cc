// A directory with model.gguf, or its parts, the tokenizer's files and the report. Order of tensors: as llama.cpp's
// converter has them, the ends first, then block by block.
#include <algorithm>
#include <map>
#include <set>

#include "base/json.h"
#include "io/gguf.h"
#include "packed/block_code.h"
#include "run/gguf_metadata.h"
#include "run/gguf_tokenizer.h"
#include "run/writer.h"
#include "tensor/convert.h"

namespace qz {
namespace {

constexpr char kRopeFreqs[] = "rope_freqs.weight";
constexpr size_t kMostParts = 256;  // all are open at once
constexpr uint32_t kMixed = 1;      // general.file_type where no number fits: mostly F16

// llama.h, llama_ftype: what a file of mostly this type is called (the medium mix of the K types).
uint32_t file_type_of(const Scheme& s) {
  const BlockCode* block = find_block_code(s.code);
  const std::pair<int32_t, uint32_t> kNames[] = {{2, 2},   {3, 3},   {6, 8},   {7, 9},   {8, 7},   {10, 10},
                                                 {11, 12}, {12, 15}, {13, 17}, {14, 18}, {20, 25}, {23, 30}};
  for (const auto& [type, name] : kNames)
    if (block && block->ggml_type == type) return name;
  return kMixed;
}

// Rows of each of `heads` heads in pairs: StoredForm::heads, the way back.
std::vector<uint8_t> paired(const std::vector<uint8_t>& in, int64_t rows, int64_t heads) {
  if (heads == 0) return in;
  std::vector<uint8_t> out(in.size());
  const int64_t size = static_cast<int64_t>(in.size()) / rows, per_head = rows / heads, half = per_head / 2;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t i = r % per_head, place = r - i + 2 * (i % half) + i / half;
    std::copy_n(in.begin() + r * size, size, out.begin() + place * size);
  }
  return out;
}

class GgufWriter : public ModelWriter {
 public:
  GgufWriter(const Model& source, const PlanSummary& summary) : source_(source), summary_(summary) {
    changed_ = source.changed_vectors();
  }

  Status start(const std::string& target, const WriteOptions& options) {
    const auto& classes = source_.arch().hf_class;
    family_ = gguf_family_of(classes);
    if (!family_)
      return error(Code::kUnsupported, "gguf: no way is known to write a model of class %s (%s are written)",
                   std::string(classes).c_str(), gguf_families().c_str());
    GgufBuilder builder;
    QZ_TRY(add_metadata(source_, *family_, most_common_type(), &builder));
    QZ_TRY(add_tokenizer(source_, &builder));
    QZ_TRY(list_others(&builder));
    for (size_t i = 0; i < summary_.modules.size(); ++i) QZ_TRY(list_module(i, &builder));
    layout_ = builder.finish(options.shard_bytes);
    if (layout_.files.size() > kMostParts)
      return error(Code::kUnsupported, "gguf: %zu parts, expected at most %zu: larger ones", layout_.files.size(),
                   kMostParts);
    QZ_ASSIGN(staging_, StagingDir::create(target, source_.checkpoint()->dir(), options.overwrite, layout_.bytes()));
    for (const GgufBuilder::File& f : layout_.files) {
      QZ_ASSIGN(auto file, staging_->create_file(f.name, f.bytes));
      QZ_TRY(file->write_at(0, f.header.data(), f.header.size()));
      files_.push_back(std::move(file));
    }
    return {};
  }

  uint64_t module_bytes(size_t module) const override {
    const Place& p = places_[module];
    return p.present ? layout_.places[p.tensor].bytes / p.count : 0;
  }

  Status write_matrix(size_t module, const QMatrix& matrix) override {
    auto parts = find_format(FormatId::kGguf)->encode(matrix);
    if (!parts.ok()) return parts.status().with_prefix(source_.modules()[module].name);
    return write_rows(module, parts->front().bytes);
  }

  Status write_dense(size_t module, const Matrix& weight) override {
    const DType dtype = places_[module].dtype;
    std::vector<uint8_t> bytes(static_cast<size_t>(weight.rows() * weight.cols()) * dtype_bits(dtype) / 8);
    from_f32(weight.data(), dtype, static_cast<size_t>(weight.rows() * weight.cols()), bytes.data());
    return write_rows(module, bytes);
  }

  Status finish(const std::function<Json()>& report, Progress* progress) override {
    for (size_t i = 0; i < places_.size(); ++i) {
      if (summary_.modules[i].quantized || !places_[i].present) continue;
      if (progress) QZ_TRY(progress->poll());
      QZ_ASSIGN(const Matrix weight, source_.load_weight(i));
      QZ_TRY(write_dense(i, weight));
    }
    for (const Other& o : others_) {
      if (progress) QZ_TRY(progress->poll());
      QZ_TRY(copy(o));
    }
    if (!factors_.empty()) QZ_TRY(put(factor_tensor_, 0, factors_.data(), factors_.size() * sizeof(float)));
    QZ_TRY(fill_gaps());
    std::vector<ShardHash> hashes;
    for (size_t i = 0; i < files_.size(); ++i) {
      QZ_TRY(files_[i]->close());
      files_[i].reset();
      QZ_ASSIGN(ShardHash hash, hash_file(staging_->path() + "/" + layout_.files[i].name, layout_.files[i].name));
      hashes.push_back(std::move(hash));
    }
    QZ_TRY(source_.checkpoint()->check_unchanged());
    return publish(source_, hashes, report(), staging_.get(), progress);
  }

 private:
  struct Place {  // of a module: matrix `index` of `count` in a tensor
    bool present = false;
    size_t tensor = 0;
    uint64_t index = 0, count = 1;
    int64_t heads = 0;
    DType dtype = DType::kF32;  // of a plain one
  };
  struct Other {  // a tensor that no module owns
    const TensorInfo* info;
    size_t tensor;
    int64_t heads;
    DType dtype;
  };

  uint32_t most_common_type() const {
    std::map<uint32_t, int64_t> weights;
    for (size_t i = 0; i < summary_.modules.size(); ++i)
      if (summary_.modules[i].quantized)
        weights[file_type_of(summary_.modules[i].scheme)] += source_.modules()[i].rows * source_.modules()[i].cols;
    uint32_t best = source_.config().dtype == DType::kBF16 ? 32 : source_.config().dtype == DType::kF32 ? 0 : kMixed;
    int64_t most = 0;
    for (const auto& [type, n] : weights)
      if (n > most) most = n, best = type;
    return best;
  }

  int64_t heads_of(Role role) const {
    if (!family_->pairs) return 0;
    return role == Role::kQ ? source_.config().heads : role == Role::kK ? source_.config().kv_heads : 0;
  }

  Result<std::string> name_of(const std::string& hf) const {
    std::string name = name_to_gguf(source_.arch(), hf);
    if (name.empty())
      return error(Code::kUnsupported, "gguf: tensor '%s' has no name in the family %s", hf.c_str(),
                   std::string(family_->name).c_str());
    return name;
  }

  // Everything but the weights of modules.
  Status list_others(GgufBuilder* builder) {
    factors_ = rope_factors(source_.config());
    if (!factors_.empty())
      factor_tensor_ = builder->add_tensor(kRopeFreqs, gguf_type(DType::kF32), {static_cast<int64_t>(factors_.size())});
    std::map<std::string, const Module*> by_name;
    std::set<std::string> stacks;
    for (const Module& m : source_.modules()) by_name[m.name] = &m, stacks.insert(m.stack);
    const Format* format = find_format(source_.format());
    for (const TensorInfo& t : source_.checkpoint()->tensors()) {
      const size_t dot = t.name.rfind('.');
      const auto module = by_name.find(t.name.substr(0, dot));
      const std::string end = dot == std::string::npos ? "" : t.name.substr(dot + 1);
      if (stacks.count(t.name) || end == "inv_freq") continue;   // old files keep the rotary base
      if (module != by_name.end() && end == "weight") continue;  // its own, or a tied head's that nobody reads
      if (module != by_name.end() && end != "bias" && format &&
          std::find(format->part_names.begin(), format->part_names.end(), end) != format->part_names.end())
        continue;
      if (!is_float(t.dtype))
        return error(Code::kUnsupported, "gguf: tensor '%s' is %s, expected F32, F16 or BF16", t.name.c_str(),
                     t.dtype_name.c_str());
      // llama.cpp wants vectors in float32.
      const DType dtype = t.shape.size() > 1 ? t.dtype : DType::kF32;
      QZ_ASSIGN(std::string name, name_of(t.name));
      const int64_t heads = module != by_name.end() ? heads_of(module->second->role) : 0;
      others_.push_back({&t, builder->add_tensor(std::move(name), gguf_type(dtype), t.shape), heads, dtype});
    }
    return {};
  }

  Status list_module(size_t i, GgufBuilder* builder) {
    const Module& m = source_.modules()[i];
    const PlannedModule& planned = summary_.modules[i];
    places_.emplace_back();
    Place& p = places_.back();
    if (m.role == Role::kHead && source_.config().tied) return {};
    p.present = true;
    p.heads = heads_of(m.role);
    const TensorInfo* plain = source_.checkpoint()->find(m.stack.empty() ? m.name + ".weight" : m.stack);
    p.dtype = plain && is_float(plain->dtype) ? plain->dtype : source_.config().dtype;
    if (m.role == Role::kRouter || m.role == Role::kSharedScale || !is_float(p.dtype)) p.dtype = DType::kF32;
    const BlockCode* block = planned.quantized ? find_block_code(planned.scheme.code) : nullptr;
    if (planned.quantized && !block)
      return error(Code::kUnsupported, "gguf: '%s' has scheme %s, expected a block code", m.name.c_str(),
                   scheme_name(planned.scheme).c_str());
    const GgufType& type = block ? *find_gguf_type(static_cast<uint32_t>(block->ggml_type)) : gguf_type(p.dtype);
    QZ_ASSIGN(std::string name, name_of(m.name + ".weight"));
    std::vector<int64_t> shape = {m.rows, m.cols};
    if (m.role == Role::kSharedScale) shape = {m.cols};  // llama.cpp reads it as a vector
    if (m.expert >= 0) {
      p.count = static_cast<uint64_t>(source_.config().moe.experts);
      p.index = static_cast<uint64_t>(m.expert);
      shape.insert(shape.begin(), source_.config().moe.experts);
      if (const auto it = stacks_.find(name); it != stacks_.end()) {
        if (it->second.second != &type)
          return error(Code::kUnsupported, "gguf: the experts of '%s' differ in scheme: %s and %s", name.c_str(),
                       it->second.second->name, type.name);
        p.tensor = it->second.first;
        return {};
      }
    }
    p.tensor = builder->add_tensor(name, type, std::move(shape));
    if (m.expert >= 0) stacks_[name] = {p.tensor, &type};
    return {};
  }

  Status write_rows(size_t module, const std::vector<uint8_t>& bytes) {
    const Place& p = places_[module];
    const std::string& name = source_.modules()[module].name;
    if (!p.present || bytes.size() != module_bytes(module))
      return error(Code::kInternal, "%s: %zu bytes given for %llu", name.c_str(), bytes.size(),
                   static_cast<unsigned long long>(module_bytes(module)));
    const std::vector<uint8_t> ordered = paired(bytes, source_.modules()[module].rows, p.heads);
    return put(p.tensor, p.index * bytes.size(), ordered.data(), ordered.size());
  }

  Status copy(const Other& o) {
    const TensorInfo& t = *o.info;
    std::vector<uint8_t> bytes(static_cast<size_t>(t.bytes));
    if (const auto it = changed_.find(t.name); it != changed_.end()) {
      bytes.resize(it->second.size() * dtype_bits(o.dtype) / 8);
      from_f32(it->second.data(), o.dtype, it->second.size(), bytes.data());
      const std::vector<uint8_t> ordered = paired(bytes, t.shape.empty() ? 1 : t.shape[0], o.heads);
      return put(o.tensor, 0, ordered.data(), ordered.size());
    }
    QZ_TRY(source_.checkpoint()->read(t, bytes.data()));
    if (t.dtype != o.dtype) {
      std::vector<float> values(static_cast<size_t>(t.elements()));
      to_f32(bytes.data(), t.dtype, values.size(), values.data());
      bytes.resize(values.size() * dtype_bits(o.dtype) / 8);
      from_f32(values.data(), o.dtype, values.size(), bytes.data());
    }
    const std::vector<uint8_t> ordered = paired(bytes, t.shape.empty() ? 1 : t.shape[0], o.heads);
    return put(o.tensor, 0, ordered.data(), ordered.size());
  }

  Status put(size_t tensor, uint64_t at, const void* bytes, size_t size) {
    const GgufBuilder::Place& p = layout_.places[tensor];
    return files_[p.file]->write_at(p.offset + at, bytes, size);
  }

  // Between tensors, and behind the last: zeros, which reserved space may not be.
  Status fill_gaps() {
    const std::vector<uint8_t> zeros(64, 0);
    for (size_t i = 0; i < layout_.places.size(); ++i) {
      const GgufBuilder::Place& p = layout_.places[i];
      const bool last = i + 1 == layout_.places.size() || layout_.places[i + 1].file != p.file;
      const uint64_t end = p.offset + p.bytes, next = last ? layout_.files[p.file].bytes : layout_.places[i + 1].offset;
      if (next > end) QZ_TRY(files_[p.file]->write_at(end, zeros.data(), next - end));
    }
    return {};
  }

  const Model& source_;
  const PlanSummary summary_;
  const GgufFamily* family_ = nullptr;
  std::vector<Place> places_;
  std::vector<Other> others_;
  std::map<std::string, std::pair<size_t, const GgufType*>> stacks_;
  std::vector<float> factors_;
  size_t factor_tensor_ = 0;
  GgufBuilder::Layout layout_;
  std::unique_ptr<StagingDir> staging_;
  std::vector<std::unique_ptr<OutputFile>> files_;
};

}  // namespace

Result<std::unique_ptr<ModelWriter>> create_gguf_writer(const Model& source, const PlanSummary& summary,
                                                        const std::string& target, const WriteOptions& options) {
  auto writer = std::make_unique<GgufWriter>(source, summary);
  QZ_TRY(writer->start(target, options));
  return std::unique_ptr<ModelWriter>(std::move(writer));
}

}  // namespace qz
