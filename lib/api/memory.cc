#include "run/memory.h"
#include "api/handles.h"
#include "base/json.h"
#include "estimate/estimate.h"
#include "estimate/training.h"
#include "run/shape.h"

namespace qz {
namespace {

constexpr int64_t kDefaultLength = 2048, kDefaultSequences = 128;
constexpr int32_t kDefaultRank = 16;

struct Question {  // qz_memory_query, understood
  MemoryQuery query;
  const Plan* plan = nullptr;
  FormatId format = FormatId::kDefault;
  bool in_memory = false;
  bool device = false;
};

Status named(int32_t value, int32_t last, const char* name) {
  return value >= 0 && value <= last ? Status() : error(Code::kInvalidArgument, "%s %d is not known", name, value);
}

Result<int32_t> bits_of(qz_dtype dtype, int32_t absent, const char* name) {
  if (dtype == QZ_DTYPE_NONE) return absent;
  if (dtype < 0 || dtype > QZ_DTYPE_BOOL || dtype == QZ_DTYPE_BOOL)
    return error(Code::kInvalidArgument, "%s %d is not a type of numbers", name, dtype);
  return static_cast<int32_t>(dtype_bits(static_cast<DType>(dtype)));
}

// max_seq: the model's positions.
Result<Question> question_from(const qz_memory_query* from, int64_t max_seq) {
  qz_memory_query q;
  QZ_TRY(copy_options(from, "qz_memory_query", &q));
  QZ_TRY(named(q.goal, QZ_GOAL_TRAIN_QLORA, "goal"));
  QZ_TRY(named(q.optimizer, QZ_OPTIMIZER_SGD, "optimizer"));
  QZ_TRY(named(q.offload, QZ_OFFLOAD_PARAMETERS, "offload"));
  Question out;
  MemoryQuery& m = out.query;
  m.goal = static_cast<Goal>(q.goal);
  m.batch = q.batch ? q.batch : q.goal == QZ_GOAL_QUANTIZE ? kDefaultSequences : 1;
  m.seq = q.seq_len ? q.seq_len : std::min(kDefaultLength, max_seq);
  m.prefill = q.prefill ? q.prefill : kDefaultLength;
  QZ_ASSIGN(m.compute_bits, bits_of(q.compute, 16, "compute"));
  QZ_ASSIGN(m.kv_bits, bits_of(q.kv_cache, m.compute_bits, "kv_cache"));
  m.optimizer = static_cast<Optimizer>(q.optimizer);
  m.offload = static_cast<Offload>(q.offload);
  m.checkpointing = q.keep_activations ? Checkpointing::kNone : Checkpointing::kFull;
  m.lora_rank = q.lora_rank ? q.lora_rank : kDefaultRank;
  m.zero_stage = q.zero_stage;
  m.devices = q.devices ? q.devices : 1;
  if (q.weights) m.weights = q.weights;
  if (q.tool) m.tool = q.tool;
  out.plan = q.plan ? &q.plan->plan : nullptr;
  out.format = static_cast<FormatId>(q.format);
  out.in_memory = q.in_memory != 0;
  QZ_ASSIGN(out.device, names_device(q.device));
  return out;
}

Result<Ledger> answer(const ModelPtr& model, const Question& question) {
  if (question.query.goal == Goal::kQuantize) {
    RunSize size;
    size.sequences = question.query.batch;
    size.length = question.query.seq;
    size.format = question.format;
    size.in_memory = question.in_memory;
    size.device = question.device;
    if (question.plan) return estimate_run(*question.plan, size);
    return estimate_run(Plan(model), size);
  }
  ModelShape shape = shape_of(*model);
  if (question.plan) QZ_TRY(store_plan(*question.plan, question.format, &shape));
  return estimate_memory(shape, question.query);
}

}  // namespace
}  // namespace qz

using qz::Code;
using qz::error;
using qz::ItemKind;
using qz::Status;
using qz::Where;

extern "C" {

qz_status qz_memory_estimate(const qz_model* model, const qz_memory_query* query, qz_memory* out) {
  return qz::guard("qz_memory_estimate", [&]() -> Status {
    QZ_TRY(qz::require(model, "model"));
    QZ_ASSIGN(const qz::Question question, qz::question_from(query, model->model->config().max_seq));
    QZ_ASSIGN(const qz::Ledger ledger, qz::answer(model->model, question));
    const Where where = question.query.goal == qz::Goal::kQuantize ? Where::kHost : Where::kDevice;
    qz_memory m = {};
    m.struct_size = sizeof m;
    m.weights = ledger.of(ItemKind::kWeights, where);
    m.scales = ledger.of(ItemKind::kScales, where);
    m.kv_cache = ledger.of(ItemKind::kKvCache, where);
    m.activations = ledger.of(ItemKind::kActivations, where);
    m.logits = ledger.of(ItemKind::kLogits, where);
    m.gradients = ledger.of(ItemKind::kGradients, where);
    m.optimizer = ledger.of(ItemKind::kOptimizer, where);
    m.workspace = ledger.of(ItemKind::kWorkspace, where);
    m.runtime = ledger.of(ItemKind::kRuntime, where);
    m.device_total = ledger.total(Where::kDevice);
    m.host_total = ledger.total(Where::kHost);
    m.disk_total = ledger.total(Where::kDisk);
    return qz::copy_out(m, "qz_memory", out);
  });
}

qz_status qz_memory_to_json(const qz_model* model, const qz_memory_query* query, char* buf, size_t cap, size_t* need) {
  return qz::guard("qz_memory_to_json", [&]() -> Status {
    QZ_TRY(qz::require(model, "model"));
    QZ_ASSIGN(const qz::Question question, qz::question_from(query, model->model->config().max_seq));
    QZ_ASSIGN(const qz::Ledger ledger, qz::answer(model->model, question));
    return qz::copy_text(qz::dump_json(ledger.to_json()), buf, cap, need);
  });
}

qz_status qz_memory_fit(const qz_model* model, const qz_memory_query* query, const qz_device_info* device,
                        qz_fit_ask ask, qz_fit* out) {
  return qz::guard("qz_memory_fit", [&]() -> Status {
    QZ_TRY(qz::require(model, "model"));
    QZ_TRY(qz::require(device, "device"));
    qz_device_info room;
    QZ_TRY(qz::copy_options(device, "qz_device_info", &room));
    QZ_TRY(qz::named(ask, QZ_FIT_BITS, "ask"));
    QZ_ASSIGN(qz::Question question, qz::question_from(query, model->model->config().max_seq));
    if (question.query.goal == qz::Goal::kQuantize)
      return error(Code::kUnsupported, "a quantization run is on the host: qz_memory_estimate says what it takes");
    qz::ModelShape shape = qz::shape_of(*model->model);
    if (question.plan) QZ_TRY(qz::store_plan(*question.plan, question.format, &shape));
    QZ_ASSIGN(const qz::Fit fit, qz::fit_memory(shape, question.query, room.memory_free, static_cast<qz::Ask>(ask)));
    qz_fit f = {};
    f.struct_size = sizeof f;
    f.value = fit.value;
    f.needed = fit.needed;
    std::memcpy(f.weights, fit.weights.data(), std::min(fit.weights.size(), sizeof f.weights - 1));
    return qz::copy_out(f, "qz_fit", out);
  });
}

qz_status qz_memory_deepspeed(const qz_memory_query* query, char* buf, size_t cap, size_t* need) {
  return qz::guard("qz_memory_deepspeed", [&]() -> Status {
    QZ_TRY(qz::require(query, "query"));
    QZ_ASSIGN(const qz::Question question, qz::question_from(query, qz::kDefaultLength));
    QZ_ASSIGN(const qz::Json config, qz::deepspeed_config(question.query));
    return qz::copy_text(qz::dump_json(config), buf, cap, need);
  });
}

}  // extern "C"
