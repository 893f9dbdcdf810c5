#include "run/memory.h"

#include <algorithm>

#include "base/checked.h"
#include "base/pages.h"
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
  QZ_ASSIGN(const std::vector<ModulePlan> plans, resolve_plan(plan, id, size.calibrated));
  const PlanSummary summary = summarize_plan(model, plans);
  Ledger out;
  constexpr const char* kSource = "lib/run/moments.cc, step by step";
  release_unused();  // the run takes its arrays from freed pages first
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
  if (size.device) out.note("what the device's driver and libraries take of this process is not counted");
  QZ_TRY(out.finish());
  return out;
}

PeakWatch::PeakWatch(const Plan& plan, const TokenSet* calibration, FormatId format, bool in_memory, bool device) {
  const int64_t tokens = calibration != nullptr ? calibration->tokens() : 0;
  RunSize size;
  size.sequences = tokens > 0 ? calibration->count() : 1;
  size.length = std::max<int64_t>(1, ceil_div(tokens, size.sequences));
  size.calibrated = tokens > 0;
  size.format = format;
  size.in_memory = in_memory;
  size.device = device;
  // Without an estimate, say of a plan that cannot run, there is nothing to compare: the run itself says what is wrong.
  if (const auto ledger = estimate_run(plan, size); ledger.ok()) estimated_ = ledger->total(Where::kHost);
  before_ = read_memory_usage().resident_peak;
}

const RunReport& PeakWatch::complete(RunReport* report) const {
  const uint64_t now = read_memory_usage().resident_peak;
  report->memory = {estimated_, now > before_ ? now : 0};
  return *report;
}

}  // namespace qz
