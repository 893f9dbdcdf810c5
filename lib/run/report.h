// What a run did, per module: kept with the model and in its directory as qz_report.json.
#pragma once
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "method/options.h"
#include "packed/scheme.h"
#include "run/clock.h"
#include "transform/options.h"

namespace qz {

struct ModuleReport {
  std::string name;
  Method method = Method::kRtn;
  Scheme scheme;
  TransformKind transform = TransformKind::kNone;
  Order order = Order::kNone;
  bool fell_back = false;
  int32_t damp_steps = 0;
  int64_t dead_columns = 0;
  double weight_error = 0, output_error = 0, rtn_output_error = 0;  // NaN: not measured (no held-out tokens)
  double damp = 0, drift = 0, residual = 0, seconds = 0;
  uint64_t tokens = 0, bytes_before = 0, bytes_after = 0;
  int64_t routed = -1;  // of an expert: calibration tokens that its router sends to it; -1: not an expert
  std::string sha256;   // hash_qmatrix of what was solved: what verify proves
};

struct ChangedVector {  // a norm or bias that a transform rescaled
  std::string name, sha256;
};
std::string hash_vector(const std::vector<float>& values);

// Of a run's process, in bytes; 0: not known.
struct PeakMemory {
  uint64_t estimated = 0;  // what estimate_run() said when the run began
  uint64_t measured = 0;   // the most that was resident; not known where the process had been larger before the run
};

struct RunReport {
  std::string format;
  int64_t calibration_sequences = 0, calibration_tokens = 0;
  std::string calibration_hash;
  std::vector<ModuleReport> modules;
  std::vector<ChangedVector> changed;
  std::vector<std::string> events;  // fallbacks and warnings, in words
  PeakMemory memory;
  RunSeconds seconds;  // until the report was written; total 0: not known
};

// NaN becomes null and back.
Json report_to_json(const RunReport& report);
// kBadFile names the field. Unknown fields are ignored: reports of later versions can be read.
Result<RunReport> report_from_json(const Json& json);

}  // namespace qz
