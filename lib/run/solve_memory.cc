#include "run/solve_memory.h"

#include <algorithm>

#include "packed/block_code.h"
#include "run/solve.h"

namespace qz {
namespace {

// A grid while it is chosen and solved on: scale, inverse and zero point of every group, in float32 (method/range.h).
Count grid_bytes(const Module& m, const Scheme& s) { return floats(s.scale_count(m.rows, m.cols), 3); }

constexpr const char* kWork = "weight, target, corrections, float32";
constexpr const char* kCodes = "codes";
constexpr const char* kJudged = "outputs for the held-out tokens";

}  // namespace

Count matrix_bytes(const Module& m, const Scheme& s) {
  if (const BlockCode* block = find_block_code(s.code))
    return Count(m.rows) * Count(m.cols).per(block->elements) * Count(block->bytes);
  const Count scales(s.scale_count(m.rows, m.cols));
  Count bytes = Count(m.rows) * Count(m.cols) + scales * Count(sizeof(float));
  if (s.float_zero) {
    bytes += scales * Count(sizeof(float));
  } else if (!s.symmetric) {
    bytes += scales;
  }
  if (s.nested > 0) bytes += scales;
  return bytes;
}

Count dense_bytes(const ModelConfig& config, const Module& m) {
  const DType dtype = is_float(config.dtype) ? config.dtype : DType::kF32;
  return (Count(m.rows) * Count(m.cols) * Count(dtype_bits(dtype))).per(8);
}

std::vector<Moment> solving_moments(const Moment& base, const ModelConfig& config, const Module& m,
                                    const ModulePlan& plan, const SolveSize& size, bool stage) {
  const Count weight = floats(m.rows, m.cols), matrix = matrix_bytes(m, plan.scheme);
  const Count outputs = floats(size.judges, m.rows);
  std::vector<Moment> out;
  const auto step = [&](const char* what) -> Moment& {
    Moment& moment = out.emplace_back(base);
    moment.name = std::string(what) + " " + m.name;
    moment.add(kWork, weight);
    return moment;
  };
  if (!stage) {
    Moment& loading = step("loading");  // the file's bytes become floats, by way of the other direction where it is so
    loading.add("bytes of the file", dense_bytes(config, m), m.transposed ? 2 : 1);
    loading.add("the last result on its way to the disk", size.last);
    step("rounding").add(kCodes, matrix);
    if (!plan.scheme.is_grid()) return out;
    Moment& choosing = step("choosing the grid of");
    choosing.add(kCodes, matrix + Count(m.rows) * Count(m.cols) + grid_bytes(m, plan.scheme));
    return out;
  }

  const bool solves = plan.method == Method::kGptq;
  if (solves) {
    const bool drift = size.two && plan.gptq.drift != 0;
    const bool residual = size.two && size.residual && plan.gptq.residual != 0;
    const bool chosen =
        size.judges > 0 && ((drift && plan.gptq.drift == kChosen) || (residual && plan.gptq.residual == kChosen));
    const auto solver = [&](const char* what) -> Moment& {
      Moment& moment = step(what);
      moment.add(kWork, weight);  // the target
      moment.add(kCodes, matrix);
      moment.add(kJudged, outputs);
      if (size.chain > 0) moment.add("output metrics", floats(m.rows, size.chain), 2);
      return moment;
    };
    Moment& target = solver("correcting the target of");
    target.add(kWork, weight, (drift ? 1 : 0) + (residual ? 1 : 0) + (chosen || (drift && !residual) ? 1 : 0));
    if (drift || residual) target.add(kWork, floats(std::min(kSolvedTogether, m.rows), m.cols));  // right-hand sides
    if (chosen) target.add(kJudged, outputs, (drift ? 1 : 0) + (residual ? 1 : 0));  // what full corrections would add
    if (plan.scheme.is_grid()) {
      const auto grid = [&](const char* what) -> Moment& {
        Moment& moment = solver(what);
        moment.add(kCodes, grid_bytes(m, plan.scheme) + Count(m.rows) * Count(m.cols));
        return moment;
      };
      Moment& columns = grid("solving");
      columns.add(kWork, weight + floats(m.rows, plan.gptq.block));
      if (plan.gptq.sweeps > 0) {
        Moment& first = grid("refining");
        first.add(kWork, weight, 2);  // gradient, and the errors that it is first made of
        Moment& sweeps = grid("sweeping over");
        const int64_t span = std::min(plan.scheme.group_size(m.cols), m.cols);  // whose scales are refitted together
        sweeps.add(kWork, weight + floats(m.rows, span < m.cols ? 3 * span : 2 * span));
      }
    } else {
      solver("solving").add(kCodes, matrix);
    }
  }
  Moment& judging = step("judging");
  // The result, what it changes; rounding's result, where that is another.
  judging.add(kWork, weight, plan.method != Method::kRtn || clips_ranges(plan, m.role) ? 3 : 2);
  judging.add(kCodes, matrix, 2);
  judging.add(kJudged, outputs, 2);
  return out;
}

}  // namespace qz
