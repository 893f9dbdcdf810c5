#include "run/output.h"

#include <set>

#include "model/biases.h"
#include "model/layout.h"

namespace qz {
namespace {

uint64_t bytes_of(const std::vector<int64_t>& shape, DType dtype) {
  uint64_t n = dtype_bits(dtype) / 8;
  for (const int64_t d : shape) n *= static_cast<uint64_t>(d);
  return n;
}

TensorSpec spec_of(std::string name, DType dtype, std::vector<int64_t> shape) {
  const uint64_t bytes = bytes_of(shape, dtype);
  return {std::move(name), dtype_name(dtype), std::move(shape), bytes};
}

// Every name that a quantized module may have in the source: they are replaced, not copied.
std::set<std::string> owned_names(const Model& model, size_t module) {
  const std::string& name = model.modules()[module].name;
  const std::string& stack = model.modules()[module].stack;
  std::set<std::string> names = {stack.empty() ? name + ".weight" : stack};
  if (model.coded(module))
    for (const std::string_view part : model.code_names()) names.insert(name + "." + std::string(part));
  if (const Format* source = find_format(model.format()))
    for (const std::string_view part : source->part_names) names.insert(name + "." + std::string(part));
  return names;
}

std::vector<TensorSpec> source_tensors(const Model& source, DType dtype) {
  std::vector<TensorSpec> out;
  for (const TensorInfo& t : source.checkpoint()->tensors()) out.push_back({t.name, t.dtype_name, t.shape, t.bytes});
  if (!out.empty()) return out;
  for (const Module& m : source.modules()) {
    const bool tied = m.role == Role::kHead && source.config().tied;
    if (!tied) out.push_back(spec_of(m.name + ".weight", dtype, m.stored_shape()));
    if (expects_bias(text_part(source.checkpoint()->config()), source.arch(), m))
      out.push_back(spec_of(m.name + ".bias", dtype, {m.rows}));
  }
  for (NeededTensor& t : list_others(source.config(), source.arch()))
    out.push_back(spec_of(std::move(t.name), dtype, std::move(t.shape)));
  return out;
}

}  // namespace

OutputTensors output_tensors(const Model& source, const PlanSummary& summary, const Format* format) {
  const DType plain = is_float(source.config().dtype) ? source.config().dtype : DType::kF32;
  OutputTensors out;
  std::set<std::string> replaced, stacks;  // stacks: tensors of many modules, one of which at least leaves
  for (size_t i = 0; i < summary.modules.size(); i++)
    if (summary.modules[i].quantized || source.quantized(i)) stacks.insert(source.modules()[i].stack);
  stacks.erase("");
  for (size_t i = 0; i < summary.modules.size(); i++) {
    const PlannedModule& m = summary.modules[i];
    const Module& module = source.modules()[i];
    const bool was_quantized = source.quantized(i);  // whoever saves such a module writes it
    const bool rewritten = !m.quantized && !was_quantized && (stacks.count(module.stack) > 0 || source.coded(i));
    const bool becomes_plain = !m.quantized && (was_quantized || rewritten);
    if (rewritten) out.rewritten.push_back(i);
    if (!m.quantized && !becomes_plain) continue;
    replaced.merge(owned_names(source, i));
    if (becomes_plain) {
      out.tensors.push_back(spec_of(m.name + ".weight", plain, module.stored_shape()));
      continue;
    }
    for (PartSpec& part : format->layout(m.scheme, module.rows, module.cols, m.g_idx))
      out.tensors.push_back(spec_of(m.name + "." + std::string(part.name), part.dtype, std::move(part.shape)));
  }
  for (TensorSpec& t : source_tensors(source, plain)) {
    if (replaced.count(t.name)) continue;
    out.copies.push_back(t.name);
    out.tensors.push_back(std::move(t));
  }
  return out;
}

}  // namespace qz
