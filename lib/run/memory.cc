#include "run/memory.h"

#include <algorithm>

#include "estimate/host.h"
#include "io/shard_writer.h"
#include "run/output.h"

namespace qz {

Result<Ledger> estimate_run(const Plan& plan, const RunSize& size) {
  const FormatId id = size.format == FormatId::kDefault ? FormatId::kCompressed : size.format;
  const Model& model = *plan.model();
  if (size.sequences < 1 || size.length < 1 || size.sequences > (int64_t{1} << 40) / size.length)
    return error(Code::kInvalidArgument, "%lld calibration sequences of %lld tokens",
                 static_cast<long long>(size.sequences), static_cast<long long>(size.length));
  QZ_ASSIGN(const std::vector<ModulePlan> plans, resolve_plan(plan, id, true));
  const PlanSummary summary = summarize_plan(model, plans);
  Ledger out;
  constexpr const char* kSource = "lib/run/moments.cc, step by step";
  out.add("this process now", Where::kHost, ItemKind::kRuntime, read_memory_usage().resident, "resident memory",
          "/proc/self/status");
  OutputTensors output = output_tensors(model, summary, find_format(id));
  std::sort(output.copies.begin(), output.copies.end());
  uint64_t largest_copy = 0;
  for (const TensorSpec& tensor : output.tensors)
    if (std::binary_search(output.copies.begin(), output.copies.end(), tensor.name))
      largest_copy = std::max(largest_copy, tensor.bytes);
  const std::vector<Moment> moments = run_moments(model, plans, size, size.in_memory ? 0 : largest_copy);
  const Moment& peak = *std::max_element(moments.begin(), moments.end(),
                                         [](const Moment& x, const Moment& y) { return x.total() < y.total(); });
  for (const auto& [name, bytes] : peak.parts)
    out.add(name, Where::kHost, ItemKind::kWorkspace, bytes, peak.name, kSource);
  if (!size.in_memory) {
    for (const PlannedFile& file : ShardWriter::plan_files(std::move(output.tensors), size.shard_bytes))
      out.add(file.name, Where::kDisk, ItemKind::kWeights, file.bytes, "header and tensors",
              "exact: layouts of the format");
  }
  out.note("the peak comes while " + peak.name);
  QZ_TRY(out.finish());
  return out;
}

}  // namespace qz
