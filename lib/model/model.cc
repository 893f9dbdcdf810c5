// Opening: config.json -> family -> numbers -> module list -> what quantization_config says. Tensors are checked in
// check.cc.
#include "model/model.h"

#include <algorithm>
#include <iterator>

#include "base/json.h"
#include "format/source.h"
#include "io/repository.h"
#include "model/biases.h"
#include "model/gguf.h"
#include "model/layout.h"
#include "model/others.h"

namespace qz {

const char* role_name(Role role) {
  switch (role) {
    case Role::kQ:
      return "q";
    case Role::kK:
      return "k";
    case Role::kV:
      return "v";
    case Role::kQkv:
      return "qkv";
    case Role::kQA:
      return "q_a";
    case Role::kQB:
      return "q_b";
    case Role::kKvA:
      return "kv_a";
    case Role::kKvB:
      return "kv_b";
    case Role::kO:
      return "o";
    case Role::kGate:
      return "gate";
    case Role::kUp:
      return "up";
    case Role::kGateUp:
      return "gate_up";
    case Role::kDown:
      return "down";
    case Role::kRouter:
      return "router";
    case Role::kSharedScale:
      return "shared_scale";
    case Role::kOther:
      return "other";
    case Role::kHead:
      return "head";
  }
  return "?";
}

namespace {

constexpr const char* kReport = "qz_report.json";
constexpr const char* kOldConfig = "quantize_config.json";

// The table for config.json's class, or - in configurations without one - for its model_type.
Result<std::shared_ptr<const ArchDesc>> choose_architecture(const Json& config, const std::string& file,
                                                            const std::string& arch_json) {
  if (!arch_json.empty()) return arch_from_json(arch_json);
  std::string hf_class, model_type;
  if (auto it = config.find("model_type"); it != config.end() && it->is_string()) model_type = it->get<std::string>();
  if (auto it = config.find("architectures"); it != config.end() && it->is_array()) {
    for (const Json& name : *it) {
      if (!name.is_string()) return error(Code::kBadFile, "%s: architectures must be a list of names", file.c_str());
      if (hf_class.empty() || find_architecture(name.get<std::string>(), "") != nullptr) hf_class = name;
    }
  }
  if (hf_class.empty() && model_type.empty()) {
    return error(Code::kBadFile, "%s: missing keys architectures, model_type", file.c_str());
  }
  if (const ArchDesc* desc = find_architecture(hf_class, model_type, config)) {
    return std::shared_ptr<const ArchDesc>(desc, [](const ArchDesc*) {});
  }
  std::string known;
  for (const ArchDesc* desc : architectures()) known += (known.empty() ? "" : ", ") + std::string(desc->name);
  return error(Code::kUnsupported,
               "%s: architecture '%.100s' is not known (%s are); describe it in arch_json, starting from one of them: "
               "{\"base\": \"llama\", \"name\": ...}",
               file.c_str(), (hf_class.empty() ? model_type : hf_class).c_str(), known.c_str());
}

// The configuration that describes the forward pass: config.json, or the part of it that belongs to the language model,
// whose family then takes the place of *arch.
struct LanguagePart {
  Json config;
  std::string where;  // in front of errors
};

Result<std::shared_ptr<const ArchDesc>> language_family(const ArchDesc& whole, const LanguagePart& part) {
  if (whole.text_family.empty()) return choose_architecture(part.config, part.where, "");
  for (const ArchDesc* desc : architectures()) {
    if (desc->name == whole.text_family) return std::shared_ptr<const ArchDesc>(desc, [](const ArchDesc*) {});
  }
  return error(Code::kInvalidArgument, "arch_json: 'text_family' must be the name of a family, found \"%s\"",
               std::string(whole.text_family).c_str());
}

Result<LanguagePart> find_language_part(const Checkpoint& checkpoint, const std::string& file,
                                        std::shared_ptr<const ArchDesc>* arch) {
  const std::string key((*arch)->text_config);
  const Json& config = checkpoint.config();
  LanguagePart part{config, file};
  if (key.empty()) return part;
  if (const auto it = config.find(key); it != config.end()) {
    part = {*it, file + ": " + key};
  } else if ((*arch)->text_family.empty()) {
    return error(Code::kBadFile, "%s: missing key %s", file.c_str(), key.c_str());
  }
  if (!part.config.is_object()) return error(Code::kBadFile, "%s: must be an object", part.where.c_str());
  QZ_ASSIGN(std::shared_ptr<const ArchDesc> inner, language_family(**arch, part));
  if (!inner->text_config.empty()) {
    return error(Code::kUnsupported, "%s: a language part that has one itself", part.where.c_str());
  }
  for (const char* inherited : {"tie_word_embeddings", "dtype", "torch_dtype"}) {
    if (config.contains(inherited) && !part.config.contains(inherited)) part.config[inherited] = config[inherited];
  }
  TextNames names = TextNames::kPrefixed;
  for (const TextNames some : {TextNames::kPlain, TextNames::kInBody, TextNames::kPrefixed}) {
    const auto desc = language_part(*arch, inner, some);
    if (checkpoint.find(std::string(desc->embed) + ".weight") != nullptr) names = some;
  }
  *arch = language_part(*arch, std::move(inner), names);
  return part;
}

// Our own report, if the directory has one. It is for reading only, so damage is a log line.
std::shared_ptr<const Json> load_report(const Context& context, const std::string& dir) {
  const auto read = [&]() -> Result<Json> {
    QZ_ASSIGN(const Repository repository, Repository::open(dir));
    if (!repository.has(kReport)) return Json();
    QZ_ASSIGN(const std::string text, repository.read_small(kReport, context.limits.index_bytes));
    return parse_json(text, repository.path(kReport));
  };
  Result<Json> json = read();
  if (!json.ok()) context.log(LogLevel::kWarn, "%s; the report is ignored", json.status().text().c_str());
  if (!json.ok() || json->is_null()) return nullptr;
  return std::make_shared<const Json>(std::move(*json));
}

// quantization_config of config.json, or quantize_config.json, which is all that old GPTQ tools wrote; null when there
// is neither. *file: where it was found.
Result<Json> read_quantization(const Context& context, const Checkpoint& checkpoint, std::string* file) {
  *file = checkpoint.config_path();
  const auto it = checkpoint.config().find("quantization_config");
  if (it != checkpoint.config().end() && !it->is_null()) {
    if (!it->is_object()) return error(Code::kBadFile, "%s: quantization_config must be an object", file->c_str());
    return *it;
  }
  QZ_ASSIGN(const Repository repository, Repository::open(checkpoint.dir()));
  if (!repository.has(kOldConfig)) return Json();
  *file = repository.path(kOldConfig);
  QZ_ASSIGN(const std::string text, repository.read_small(kOldConfig, context.limits.config_bytes));
  QZ_ASSIGN(Json json, parse_json(text, *file));
  if (!json.is_object()) return error(Code::kBadFile, "%s: must be an object", file->c_str());
  return json;
}

}  // namespace

Result<std::shared_ptr<const Model>> Model::open(ContextPtr context, const std::string& dir,
                                                 const ModelOptions& options) {
  auto model = std::make_shared<Model>();
  model->context_ = std::move(context);
  const Context& ctx = *model->context_;
  QZ_ASSIGN(const std::string gguf, find_gguf(dir));
  if (gguf.empty()) {
    QZ_ASSIGN(model->checkpoint_, Checkpoint::open(ctx, dir, options.config_only));
  } else {
    QZ_ASSIGN(model->checkpoint_, open_gguf(ctx, dir, gguf, options.config_only));
  }
  const Json& config = model->checkpoint_->config();
  const std::string& file = model->checkpoint_->config_path();
  if (!config.is_object()) return error(Code::kBadFile, "%s: must be an object", file.c_str());
  QZ_ASSIGN(model->arch_, choose_architecture(config, file, options.arch_json));
  QZ_ASSIGN(const LanguagePart part, find_language_part(*model->checkpoint_, file, &model->arch_));
  QZ_ASSIGN(model->config_, parse_model_config(ctx, part.config, *model->arch_, part.where));
  model->choose_prefix();
  if (config.contains("auto_map")) ctx.log(LogLevel::kWarn, "%s: auto_map names code; it is never run", file.c_str());

  model->modules_ = list_modules(model->config_, *model->arch_);
  if (!model->arch_->text_config.empty() || !model->config_.causal) {
    QZ_ASSIGN(std::vector<Module> others, list_other_linears(*model->checkpoint_, model->modules_, ctx.limits));
    std::move(model->modules_.begin(), model->modules_.end(), std::back_inserter(others));
    model->modules_ = std::move(others);
  }
  model->find_stacked_experts();
  QZ_TRY(model->open_quantized());
  if (!options.config_only) QZ_TRY(model->check_tensors(options.strict));
  if (model->config_.dtype == DType::kNone) {  // the configuration does not say: the embedding does
    const TensorInfo* embed = model->checkpoint_->find(std::string(model->arch_->embed) + ".weight");
    model->config_.dtype = embed != nullptr ? embed->dtype : DType::kF32;
  }
  model->index_modules();
  if (gguf != dir) model->report_ = load_report(ctx, dir);  // a file alone has none
  return std::shared_ptr<const Model>(std::move(model));
}

// Models are saved with their head, whose body then has a prefix, or as the body alone.
void Model::choose_prefix() {
  const std::string prefix(arch_->prefix), embed = std::string(arch_->embed) + ".weight";
  if (prefix.empty()) return;
  const bool bare = checkpoint_->find(prefix + embed) == nullptr && checkpoint_->find(embed) != nullptr;
  arch_ = with_prefix(arch_, bare ? "" : prefix);
}

// Experts that the file keeps in one tensor. Each remains a module of its own: what is written is written one by one.
void Model::find_stacked_experts() {
  for (Module& m : modules_) {
    if (m.expert < 0 || checkpoint_->find(m.name + ".weight") != nullptr) continue;
    const bool down = m.role == Role::kDown;
    const std::string name = in_layer(*arch_, m.layer, down ? arch_->stacked_down : arch_->stacked_gate_up);
    if (checkpoint_->find(name) == nullptr) continue;
    m.stack = name;
    m.first_row = m.role == Role::kUp ? m.rows : 0;
  }
}

Status Model::open_quantized() {
  stored_.assign(modules_.size(), std::nullopt);
  coded_.assign(modules_.size(), std::nullopt);
  std::string file;
  QZ_ASSIGN(const Json config, read_quantization(*context_, *checkpoint_, &file));
  if (config.is_null()) return {};
  source_format_ = find_source_format(config);
  for (size_t i = 0; i < modules_.size() && source_format_ != nullptr; ++i) {
    const Module& m = modules_[i];
    if (checkpoint_->find(m.name + "." + std::string(source_format_->part_names.front())) == nullptr) continue;
    Result<std::optional<StoredScheme>> found = source_format_->stored_scheme(config, m.name, m.rows, m.cols);
    if (!found.ok()) return found.status().with_prefix(file);
    coded_[i] = *found;
  }
  if (source_format_ != nullptr) return {};
  Result<const Format*> format = detect_format(config);
  if (!format.ok()) return format.status().with_prefix(file);
  file_format_ = *format;
  for (size_t i = 0; i < modules_.size(); ++i) {
    const Module& m = modules_[i];
    if (!m.can_quantize) continue;
    Result<std::optional<StoredScheme>> stored = file_format_->stored_scheme(config, m.name, m.rows, m.cols);
    if (!stored.ok()) return stored.status().with_prefix(file);
    stored_[i] = *stored;
    if (stored_[i].has_value()) format_ = file_format_->id;
  }
  return {};
}

void Model::index_modules() {
  by_name_.clear();
  for (size_t i = 0; i < modules_.size(); ++i) by_name_.emplace(modules_[i].name, i);
}

std::shared_ptr<const Model> Model::with_matrices(std::shared_ptr<const Model> base,
                                                  std::map<size_t, std::shared_ptr<const QMatrix>> matrices,
                                                  FormatId format, std::shared_ptr<const Json> report,
                                                  Vectors changed) {
  auto model = std::make_shared<Model>(*base);
  for (auto& [module, matrix] : matrices) model->matrices_[module] = std::move(matrix);
  model->format_ = format;
  model->report_ = std::move(report);
  model->changed_ = std::move(changed);
  model->index_modules();  // the keys of the copied index point into the base
  return model;
}

std::shared_ptr<const Model> Model::with_context(const Model& base, ContextPtr context) {
  auto model = std::make_shared<Model>(base);
  model->context_ = std::move(context);
  model->index_modules();
  return model;
}

int64_t Model::find_module(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? -1 : static_cast<int64_t>(it->second);
}

std::pair<size_t, size_t> Model::block_modules(int64_t layer) const {
  const auto before = [](const Module& m, int64_t l) {
    return m.role == Role::kOther || (m.layer >= 0 && m.layer < l);
  };
  const auto first = std::lower_bound(modules_.begin(), modules_.end(), layer, before);
  const auto end = std::lower_bound(first, modules_.end(), layer + 1, before);
  return {static_cast<size_t>(first - modules_.begin()), static_cast<size_t>(end - modules_.begin())};
}

int64_t Model::parameters() const {
  int64_t sum = 0;
  if (checkpoint_->tensors().empty()) {  // configuration only
    for (const Module& m : modules_)
      sum += (m.role == Role::kHead && config_.tied ? 0 : m.rows * m.cols) +
             (expects_bias(text_part(checkpoint_->config()), *arch_, m) ? m.rows : 0);
    for (const NeededTensor& t : list_others(config_, *arch_)) {
      int64_t n = 1;
      for (int64_t d : t.shape) n *= d;
      sum += n;
    }
    return sum;
  }
  for (const TensorInfo& tensor : checkpoint_->tensors()) {
    const size_t dot = tensor.name.rfind('.');
    const int64_t module = dot == std::string::npos ? -1 : find_module(std::string_view(tensor.name).substr(0, dot));
    const bool packed =
        module >= 0 && (stored_[static_cast<size_t>(module)].has_value() || coded(static_cast<size_t>(module)));
    if (!packed || std::string_view(tensor.name).substr(dot + 1) == "bias") sum += tensor.elements();
  }
  for (size_t i = 0; i < modules_.size(); ++i) {
    if (stored_[i].has_value() || coded(i)) sum += modules_[i].rows * modules_[i].cols;
  }
  return sum;
}

std::optional<StoredScheme> Model::stored_scheme(size_t module) const {
  if (auto it = matrices_.find(module); it != matrices_.end()) {
    return StoredScheme{it->second->scheme, !it->second->g_idx.empty(), true};
  }
  return stored_[module];
}

}  // namespace qz
