// Every tensor against the configuration, at open, so that nothing fails after hours of work. Headers only.
#include <algorithm>

#include "model/layout.h"
#include "model/model.h"

namespace qz {
namespace {

constexpr size_t kListed = 5;  // missing tensors named in one message

class TensorCheck {
 public:
  explicit TensorCheck(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  // A float tensor of this shape.
  void need(const std::string& name, const std::vector<int64_t>& shape) {
    if (const TensorInfo* tensor = checkpoint_.find(name)) {
      check(*tensor, shape);
    } else {
      missing_.push_back(name);
    }
  }
  void allow(const std::string& name, const std::vector<int64_t>& shape) {
    if (const TensorInfo* tensor = checkpoint_.find(name)) check(*tensor, shape);
  }
  void need_name(const std::string& name) {
    if (checkpoint_.find(name) == nullptr) missing_.push_back(name);
  }
  Status finish() const {
    if (!missing_.empty()) {
      std::string names;
      for (size_t i = 0; i < std::min(kListed, missing_.size()); ++i) names += (i == 0 ? "" : ", ") + missing_[i];
      if (missing_.size() > kListed) names += " and " + std::to_string(missing_.size() - kListed) + " more";
      return error(Code::kBadFile, "%s: %zu missing tensor%s: %s", checkpoint_.dir().c_str(), missing_.size(),
                   missing_.size() == 1 ? "" : "s", names.c_str());
    }
    return wrong_;
  }

 private:
  void check(const TensorInfo& tensor, const std::vector<int64_t>& shape) {
    if (!wrong_.ok()) return;
    if (tensor.shape != shape) {
      wrong_ = error(Code::kBadFile, "%s: tensor '%s' must have shape %s by config.json, found %s",
                     checkpoint_.dir().c_str(), tensor.name.c_str(), shape_text(shape).c_str(),
                     shape_text(tensor.shape).c_str());
    } else if (!is_float(tensor.dtype)) {
      wrong_ = error(Code::kUnsupported, "%s: tensor '%s' is %s, expected F32, F16 or BF16", checkpoint_.dir().c_str(),
                     tensor.name.c_str(), tensor.dtype_name.c_str());
    }
  }

  const Checkpoint& checkpoint_;
  std::vector<std::string> missing_;
  Status wrong_;
};

// A packed tensor where the configuration announces a plain weight: "", or its full name.
std::string packed_instead(const Checkpoint& checkpoint, const std::string& module) {
  for (const Format& format : formats()) {
    if (format.part_names.empty()) continue;
    const std::string name = module + "." + std::string(format.part_names.front());
    if (format.part_names.front() != "weight" && checkpoint.find(name) != nullptr) return name;
  }
  return "";
}

}  // namespace

Status Model::check_tensors(bool strict) {
  const Checkpoint& files = *checkpoint_;
  const std::string& dir = files.dir();
  // Conflicts in which the tensors are right and the configuration is not: a warning, or an error when asked for.
  const auto conflict = [&](const std::string& words) {
    if (strict) return error(Code::kBadFile, "%s: %s", dir.c_str(), words.c_str());
    context_->log(LogLevel::kWarn, "%s: %s", dir.c_str(), words.c_str());
    return Status();
  };

  const TensorInfo* embed = files.find(std::string(arch_->embed) + ".weight");
  if (embed != nullptr && embed->shape.size() == 2 && embed->shape[0] != config_.vocab) {
    QZ_TRY(conflict("vocab_size is " + std::to_string(config_.vocab) + " but '" + embed->name + "' has " +
                    std::to_string(embed->shape[0]) + " rows"));
    if (embed->shape[0] < 1 || static_cast<uint64_t>(embed->shape[0]) > context_->limits.vocab) {
      return error(Code::kBadFile, "%s: tensor '%s' has %lld rows, from 1 to %llu are accepted (limits.vocab)",
                   dir.c_str(), embed->name.c_str(), static_cast<long long>(embed->shape[0]),
                   static_cast<unsigned long long>(context_->limits.vocab));
    }
    config_.vocab = embed->shape[0];
    if (!config_.pooled) config_.outputs = modules_.back().rows = config_.vocab;
  }

  TensorCheck check(files);
  for (const std::string_view name : {arch_->head_dense, arch_->pooler}) {
    const auto is = [&](const Module& m) { return m.name == name; };
    const auto module = std::find_if(modules_.begin(), modules_.end(), is);
    if (name.empty()) continue;
    if (module == modules_.end()) {
      check.need_name(std::string(name) + ".weight");
    } else if (module->rows != config_.hidden || module->cols != config_.hidden) {
      return error(Code::kBadFile, "%s: '%s' must have shape [%lld, %lld] by config.json, found %s", dir.c_str(),
                   module->name.c_str(), static_cast<long long>(config_.hidden), static_cast<long long>(config_.hidden),
                   shape_text({module->rows, module->cols}).c_str());
    }
  }
  for (const NeededTensor& tensor : list_others(config_, *arch_)) check.need(tensor.name, tensor.shape);
  for (size_t i = 0; i < modules_.size(); ++i) {
    const Module& m = modules_[i];
    const std::string weight = m.name + ".weight";
    if (m.role == Role::kHead && config_.tied) {
      if (files.find(weight) != nullptr) {
        QZ_TRY(conflict("tie_word_embeddings is true, '" + weight + "' is ignored"));
      }
      continue;
    }
    check.allow(m.name + ".bias", {m.rows});
    std::string marker;
    if (stored_[i].has_value()) {
      marker = stored_[i]->marker.empty() ? file_format_->part_names[0] : stored_[i]->marker;
      marker.insert(0, m.name + ".");
    }
    if (const TensorInfo* plain = files.find(weight);
        stored_[i].has_value() && plain != nullptr &&
        (marker == weight ? is_float(plain->dtype) && plain->shape == std::vector{m.rows, m.cols}
                          : files.find(marker) == nullptr)) {
      QZ_TRY(conflict("quantization_config covers '" + m.name + "' but the file has a plain weight"));
      stored_[i] = std::nullopt;
    }
    if (stored_[i].has_value()) {  // sizes are decode's business; it knows the layouts of all writers
      check.need_name(marker);
      continue;
    }
    if (coded(i)) {
      check.need_name(weight);  // its type and shape are decode's business
      continue;
    }
    if (files.find(weight) == nullptr) {
      if (const std::string packed = packed_instead(files, m.name); !packed.empty()) {
        return error(Code::kBadFile, "%s: '%s' is packed but quantization_config of config.json does not cover it",
                     dir.c_str(), packed.c_str());
      }
    }
    if (m.stack.empty()) {
      check.need(weight, m.stored_shape());
    } else {
      const int64_t rows = m.role == Role::kDown ? m.rows : 2 * m.rows;
      check.need(m.stack, {config_.moe.experts, rows, m.cols});
    }
  }
  return check.finish();
}

}  // namespace qz
