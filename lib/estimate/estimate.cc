#include "estimate/estimate.h"

#include <algorithm>

#include "estimate/inference.h"
#include "estimate/tools.h"
#include "estimate/training.h"

namespace qz {
namespace {

constexpr int64_t kMaxTokens = int64_t{1} << 40;
constexpr const char* kQloraBase = "nf4-dq";

Status check_query(const MemoryQuery& q) {
  const auto within = [](int64_t value, int64_t least, int64_t most, const char* name) {
    return value >= least && value <= most
               ? Status()
               : error(Code::kInvalidArgument, "%s is %lld, expected %lld to %lld", name, static_cast<long long>(value),
                       static_cast<long long>(least), static_cast<long long>(most));
  };
  QZ_TRY(within(q.batch, 1, kMaxTokens, "batch"));
  QZ_TRY(within(q.seq, 1, kMaxTokens, "seq_len"));
  QZ_TRY(within(q.prefill, 1, kMaxTokens, "prefill"));
  QZ_TRY(within(q.devices, 1, 1 << 20, "devices"));
  QZ_TRY(within(q.zero_stage, 0, 3, "zero_stage"));
  return within(q.lora_rank, 1, 1 << 16, "lora_rank");
}

Result<uint64_t> device_bytes_of(const ModelShape& shape, const MemoryQuery& query) {
  QZ_ASSIGN(const Ledger ledger, estimate_memory(shape, query));
  return ledger.total(Where::kDevice);
}

// Bytes grow with the value: bisection between what fits and what does not.
Result<Fit> largest(const ModelShape& shape, MemoryQuery query, int64_t MemoryQuery::* field, uint64_t room) {
  Fit fit;
  query.*field = 1;
  QZ_ASSIGN(fit.needed, device_bytes_of(shape, query));
  if (fit.needed > room) return fit;
  int64_t low = 1, high = kMaxTokens;
  while (high - low > 1) {
    query.*field = low + (high - low) / 2;
    const auto bytes = device_bytes_of(shape, query);
    if (bytes.ok() && *bytes <= room) {  // what 64 bits cannot count does not fit either
      low = query.*field;
      fit.needed = *bytes;
    } else {
      high = query.*field;
    }
  }
  fit.value = low;
  return fit;
}

Result<Fit> most_bits(const ModelShape& shape, MemoryQuery query, uint64_t room) {
  const size_t colon = query.weights.find(':');
  const std::string format = colon == std::string::npos ? "" : query.weights.substr(0, colon + 1);
  const std::string plain = shape.dtype == DType::kF16 ? "f16" : shape.dtype == DType::kF32 ? "f32" : "bf16";
  Fit fit;
  for (const std::string& weights : {plain, format + "w8", format + "w4g128", format + "w3g128", format + "w2g64"}) {
    const auto spec = WeightSpec::parse(weights, shape.dtype);
    if (!spec.ok()) return spec.status();
    query.weights = weights;
    QZ_ASSIGN(const WeightTable table, store_weights(shape, weights));
    if (!table.kept.empty()) continue;  // the format has no such width
    QZ_ASSIGN(fit.needed, device_bytes_of(shape, query));
    if (fit.needed > room) continue;
    fit.value = static_cast<int64_t>(spec->bits());
    fit.weights = weights;
    return fit;
  }
  return fit;
}

}  // namespace

Result<Ledger> estimate_memory(const ModelShape& shape, const MemoryQuery& query) {
  QZ_TRY(check_query(query));
  if (query.goal == Goal::kQuantize) return error(Code::kInternal, "a quantization run is estimated from its plan");
  std::string stored = query.weights;
  if (stored.empty() && query.goal == Goal::kTrainQlora) stored = kQloraBase;
  QZ_ASSIGN(const WeightTable weights, store_weights(shape, stored));
  Ledger out;
  if (const ToolModel* tool = find_tool(query.tool)) {
    QZ_TRY(tool->estimate(shape, weights, query, &out));
  } else if (query.goal == Goal::kInfer) {
    estimate_inference(shape, weights, query, &out);
  } else {
    estimate_training(shape, weights, query, &out);
  }
  QZ_TRY(out.finish());
  return out;
}

Result<Fit> fit_memory(const ModelShape& shape, const MemoryQuery& query, uint64_t device_bytes, Ask ask) {
  if (ask == Ask::kBits) return most_bits(shape, query, device_bytes);
  if (ask == Ask::kBatch) return largest(shape, query, &MemoryQuery::batch, device_bytes);
  return largest(shape, query, &MemoryQuery::seq, device_bytes);
}

}  // namespace qz
