#include "run/loading.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/json.h"
#include "io/repository.h"
#include "model/layout.h"
#include "run/places.h"

namespace qz {
namespace {

LoadQuestion question_of(const Model& model, const LoadTarget& target, const Format* format) {
  LoadQuestion q;
  q.loader = target.loader;
  q.tensor_parallel = target.tensor_parallel;
  q.capability = target.capability;
  q.format = format ? std::string(format->name) : "plain";
  q.arch = std::string(model.arch().name);
  q.heads = model.config().heads;
  q.kv_heads = model.config().kv_heads;
  for (const Module& m : model.modules()) {
    LoadModule l;
    l.name = m.name;
    l.role = role_name(m.role);
    l.layer = m.layer;
    l.rows = m.rows;
    l.cols = m.cols;
    q.modules.push_back(std::move(l));
  }
  return q;
}

// --- what stands beside the weights ------------------------------------------------------------------------------
using Findings = std::vector<LoadFinding>;
constexpr const char* kIndex = "model.safetensors.index.json";

bool python_loader(const LoadTarget& t) { return t.loader == "vllm" || t.loader == "transformers"; }

// vLLM loads every *.safetensors when there is no index; with one, those that it does not name are left out.
void check_stray(const Repository& repository, const LoadTarget& target, Findings* out) {
  if (target.loader != "vllm" || repository.has(kIndex)) return;
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(repository.dir(), problem)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == ".safetensors" && name != "model.safetensors")
      out->push_back({true, "",
                      name + " lies beside model.safetensors and no index leaves it out: its tensors are loaded too",
                      "vLLM weight_utils.py: globs *.safetensors"});
  }
}

void check_tokenizer(const Repository& repository, const LoadTarget& target, Findings* out) {
  if (!python_loader(target)) return;
  const char* const kFiles[] = {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"};
  if (std::none_of(std::begin(kFiles), std::end(kFiles), [&](const char* f) { return repository.has(f); }))
    out->push_back({false, "", "no tokenizer: the model loads, text needs one from elsewhere (--tokenizer)",
                    "transformers AutoTokenizer"});
  auto text = repository.has("tokenizer_config.json") ? repository.read_small("tokenizer_config.json", 16u << 20)
                                                      : Result<std::string>(std::string());
  if (text.ok() && text->find("\"TokenizersBackend\"") != std::string::npos)
    out->push_back({false, "",
                    "tokenizer_config.json: tokenizer_class TokenizersBackend is transformers 5's; 4 and older vLLM "
                    "cannot load it",
                    "GPTQModel #2403, ms-swift #8352"});
}

// Types that loaders insist on.
void check_types(const Model& model, Findings* out) {
  const auto it = model.checkpoint()->config().find("quantization_config");
  if (it == model.checkpoint()->config().end() || !it->is_object()) return;
  const char* const kIntegers[] = {"bits", "group_size"};
  for (const char* key : kIntegers)
    if (it->contains(key) && !(*it)[key].is_number_integer())
      out->push_back(
          {true, "",
           std::string("quantization_config: ") + key + " is " + (*it)[key].type_name() + ", expected an integer",
           "transformers quantization_config.py"});
  const char* const kBooleans[] = {"desc_act", "sym", "zero_point", "load_in_4bit", "load_in_8bit"};
  for (const char* key : kBooleans)
    if (it->contains(key) && !(*it)[key].is_boolean())
      out->push_back(
          {true, "",
           std::string("quantization_config: ") + key + " is " + (*it)[key].type_name() + ", expected true or false",
           "transformers quantization_config.py"});
  if (it->contains("llm_int8_threshold") && !(*it)["llm_int8_threshold"].is_number_float())
    out->push_back({true, "", "quantization_config: llm_int8_threshold must be a float, such as 6.0",
                    "transformers BitsAndBytesConfig.post_init"});
}

void check_metadata(const Model& model, const LoadTarget& target, Findings* out) {
  if (!python_loader(target)) return;
  for (const auto& file : model.checkpoint()->files()) {
    auto header = read_safetensors_header(*file, model.context().limits);
    if (!header.ok()) continue;  // opening has read it
    const auto format = header->metadata.find("format");
    if (format == header->metadata.end())
      out->push_back({false, "", file->path() + ": __metadata__ has no \"format\": older transformers refuse it",
                      "transformers modeling_utils.py"});
    else if (format->second != "pt" && format->second != "tf" && format->second != "flax" && format->second != "mlx")
      out->push_back(
          {true, "",
           file->path() + ": __metadata__ \"format\" is \"" + format->second.substr(0, 40) + "\", expected \"pt\"",
           "transformers modeling_utils.py"});
  }
}

// Names, types and shapes of a module's parts in the files.
std::map<std::string, std::string> parts_of(const Model& model, const Module& module) {
  std::map<std::string, std::string> parts;
  for (const std::string_view part : find_format(model.format())->part_names)
    if (const TensorInfo* t = model.checkpoint()->find(module.name + "." + std::string(part)))
      parts[std::string(part)] = t->dtype_name + " " + shape_text(t->shape);
  return parts;
}

// The parts of every quantized module: one of each kind is decoded, which checks its tensors against the configuration;
// the others must have the same parts.
void check_parts(const Model& model, Findings* out) {
  struct Kind {
    size_t first;
    std::map<std::string, std::string> parts;
  };
  std::map<std::string, Kind> kinds;
  for (size_t i = 0; i < model.modules().size(); i++) {
    const Module& m = model.modules()[i];
    const auto stored = model.stored_scheme(i);
    if (!stored) continue;
    auto parts = parts_of(model, m);
    const std::string key = std::string(role_name(m.role)) + " " + std::to_string(m.rows) + " " +
                            std::to_string(m.cols) + " " + scheme_name(stored->scheme);
    const auto [kind, is_new] = kinds.emplace(key, Kind{i, parts});
    if (is_new) {
      if (const auto matrix = model.load_matrix(i); !matrix.ok())
        out->push_back({true, m.name, matrix.status().text(), "quantization_config against the tensors"});
      continue;
    }
    const std::string& first = model.modules()[kind->second.first].name;
    for (const auto& [name, what] : kind->second.parts)
      if (const auto it = parts.find(name); it == parts.end())
        out->push_back(
            {true, m.name, "has no " + name + ", which " + first + " has", "tensors of one kind against each other"});
      else if (it->second != what)
        out->push_back({true, m.name, name + " is " + it->second + ", that of " + first + " is " + what,
                        "tensors of one kind against each other"});
  }
}

}  // namespace

Result<std::vector<LoadFinding>> check_plan(const Plan& plan, FormatId id, const LoadTarget& target) {
  const FormatId format = id == FormatId::kDefault ? FormatId::kCompressed : id;
  QZ_ASSIGN(const std::vector<ModulePlan> modules, resolve_plan(plan, format, true));
  const PlanSummary summary = summarize_plan(*plan.model(), modules);
  LoadQuestion q = question_of(*plan.model(), target, find_format(format));
  for (size_t i = 0; i < modules.size(); i++) {
    q.modules[i].quantized = summary.modules[i].quantized;
    q.modules[i].scheme = summary.modules[i].scheme;
    q.modules[i].g_idx = summary.modules[i].g_idx;
  }
  QZ_ASSIGN(std::vector<LoadFinding> out, check_loading(q));
  for (std::string& text : transform_notes(*plan.model(), modules))
    out.push_back({false, "", std::move(text), "run/places.cc"});
  return out;
}

Result<std::vector<LoadFinding>> check_model(const Model& model, const LoadTarget& target) {
  LoadQuestion q =
      question_of(model, target, model.format() == FormatId::kPlain ? nullptr : find_format(model.format()));
  for (size_t i = 0; i < q.modules.size(); i++)
    if (const auto stored = model.stored_scheme(i)) {
      q.modules[i].quantized = true;
      q.modules[i].scheme = stored->scheme;
      q.modules[i].g_idx = stored->g_idx;
    }
  QZ_ASSIGN(std::vector<LoadFinding> out, check_loading(q));
  if (const auto repository = Repository::open(model.checkpoint()->dir()); repository.ok()) {  // else it is one file
    check_stray(*repository, target, &out);
    check_tokenizer(*repository, target, &out);
  }
  check_types(model, &out);
  check_parts(model, &out);
  check_metadata(model, target, &out);
  return out;
}

}  // namespace qz
