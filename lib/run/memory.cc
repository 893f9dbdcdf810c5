#include "run/memory.h"

#include <algorithm>
#include <map>

#include "estimate/host.h"
#include "io/shard_writer.h"
#include "run/output.h"
#include "run/sizes.h"
#include "run/writer.h"

namespace qz {
namespace {

constexpr uint64_t kFloat = sizeof(float);

uint64_t u(int64_t n) { return static_cast<uint64_t>(n); }
Count floats(int64_t rows, int64_t cols) { return Count(rows) * Count(cols) * Count(kFloat); }

// glibc takes blocks from here on from the system and gives them back; smaller ones come from a heap, which keeps its
// high-water mark (mallopt(3), M_MMAP_THRESHOLD, which grows up to this).
constexpr uint64_t kMapped = 32u << 20;
// What it keeps above what is in use: twice that size (M_TRIM_THRESHOLD).
constexpr uint64_t kHeapLeft = 64u << 20;
// Pages of the library that a run touches, packed panels of the threads: measured.
constexpr uint64_t kCode = 6u << 20, kCodeRounding = 2u << 20;

// What is there at one moment beside what is there all the time, and how it is called.
struct Moment {
  std::string name;
  std::vector<std::pair<std::string, Count>> parts = {};
  Count mapped = {}, heap = {};

  // `count` blocks of `each` bytes.
  void add(const std::string& what, Count each, int64_t count = 1) {
    const Count bytes = each * Count(count);
    (each.value() >= kMapped ? mapped : heap) += bytes;
    for (auto& part : parts)
      if (part.first == what) {
        part.second += bytes;
        return;
      }
    parts.push_back({what, bytes});
  }
};

class RunModel {
 public:
  RunModel(const Model& model, const std::vector<ModulePlan>& plans, const RunSize& size)
      : model_(model), config_(model.config()), plans_(plans), size_(size) {
    for (const ModulePlan& p : plans) {
      calibrates_ = calibrates_ || p.measures();
      transforms_ = transforms_ || p.transform.kind != TransformKind::kNone;
      two_ = two_ || (p.method == Method::kGptq && p.gptq.two_streams());
      if (p.method == Method::kGptq) metric_ = std::max(metric_, p.gptq.metric);
    }
    length_ = std::min(size.length, config_.max_seq);
    rows_ = size.sequences * length_;
    const int64_t chunk = ceil_div(kChunkTokens, length_) * length_;
    chunk_ = std::min(rows_, chunk);
    judges_ = held_tokens();
  }

  // The largest of the moments.
  Moment peak() {
    std::vector<Moment> moments;
    if (!calibrates_) {
      for (size_t i = 0; i < plans_.size(); i++)
        if (plans_[i].method != Method::kKeep) moments.push_back(rounding(i));
    } else {
      moments.push_back(embedding());
      if (metric_ > 0) moments.push_back(measuring());
      if (transforms_) moments.push_back(scaling());
      for (const auto& stage : stages()) {
        moments.push_back(collecting(stage));
        for (const size_t module : stage.modules)
          if (plans_[module].method != Method::kKeep) moments.push_back(solving(stage, module));
      }
    }
    uint64_t heap = 0;
    for (const Moment& m : moments) heap = std::max(heap, m.heap.value());
    for (Moment& m : moments) {
      m.add("code and buffers of the threads", Count(calibrates_ ? kCode : kCodeRounding));
      if (!calibrates_) continue;  // modules come and go one by one: nothing is left between them
      m.add("heap that other steps have left", Count(std::min(heap - std::min(heap, m.heap.value()), kHeapLeft)));
    }
    return *std::max_element(moments.begin(), moments.end(),
                             [](const Moment& x, const Moment& y) { return x.mapped + x.heap < y.mapped + y.heap; });
  }

 private:
  struct Stage {
    std::vector<size_t> modules;
    int64_t cols = 0;
    bool residual = false, stash = false;
  };

  int64_t held_tokens() const {
    const int64_t tokens = held_sequences(size_.sequences, length_) * length_;
    return tokens / held_every(tokens);
  }

  // Modules of the first block that a plan touches, by the input that they read: q, k, v | o | gate, up | down.
  std::vector<Stage> stages() const {
    std::map<std::string, Stage> by_input;
    for (size_t i = 0; i < plans_.size(); i++) {
      const Module& m = model_.modules()[i];
      if (m.layer != 0 || m.expert > 0 || !m.can_quantize) continue;  // experts are solved one after the other
      const std::string role = role_name(m.role);
      const bool out = role == "o", down = role == "down", mlp = role == "gate" || role == "up" || role == "gate_up";
      Stage& s = by_input[out ? "o" : down ? "down" : mlp ? "mlp" : "attention"];
      s.modules.push_back(i);
      s.cols = m.cols;
      s.residual = out || down;
      s.stash = out || down;
    }
    std::vector<Stage> out;
    for (auto& [name, stage] : by_input) out.push_back(std::move(stage));
    return out;
  }

  uint64_t dense_bytes(const Module& m) const {
    return u(m.rows) * u(m.cols) * dtype_bits(is_float(config_.dtype) ? config_.dtype : DType::kF32) / 8;
  }
  // A canonical matrix: a byte a code, float32 scales, zero points.
  Count matrix_bytes(const Module& m, const Scheme& s) const {
    const Count groups = Count(m.rows) * Count(s.groups(m.cols));
    return Count(m.rows) * Count(m.cols) + groups * Count(kFloat) + (s.symmetric ? Count() : groups);
  }

  // What is there during the whole loop over blocks.
  void add_streams(Moment* m) const {
    m->add("residual streams of the calibration tokens", floats(rows_, config_.hidden), sides());
  }
  int64_t sides() const { return two_ ? 2 : 1; }
  void add_block(Moment* m) const {
    for (const Module& module : model_.modules())
      if (module.layer == 0 && module.expert <= 0)
        m->add("one block twice: the original and the one quantized so far",
               transforms_ ? floats(module.rows, module.cols) : Count(dense_bytes(module)), 2);
    add_metrics(m);
    int64_t wide = config_.heads * config_.head_dim;
    if (keeps_mlp_inputs(rows_, config_.intermediate, sides())) wide = std::max(wide, config_.intermediate);
    m->add("inputs of o and down, all tokens", floats(rows_, wide), sides());
  }
  void add_metrics(Moment* m) const {
    const int64_t block = chain_rows(model_);
    for (size_t i = 0; i < plans_.size(); i++) {
      const int64_t n = model_.modules()[i].rows;
      if (plans_[i].method == Method::kGptq && plans_[i].gptq.metric > 0)
        m->add("output metrics", floats(n, std::min(block, n)));
    }
  }
  void add_statistics(Moment* m, const Stage& s) const {
    constexpr const char* kWhat = "statistics of one stage";
    m->add(kWhat, floats(s.cols, s.cols), sides());
    m->add(kWhat, floats(judges_, s.cols), sides());
    if (!s.residual || !two_) return;
    m->add(kWhat, floats(config_.hidden, s.cols));
    m->add(kWhat, floats(judges_, config_.hidden));
  }

  Moment embedding() const {
    Moment m{"embedding"};
    add_streams(&m);
    const Count table = (Count(config_.vocab) * Count(config_.embed_dim) * Count(dtype_bits(config_.dtype))).per(8);
    m.add("embedding and head", table, config_.tied ? 1 : 2);
    return m;
  }
  // The stream before every block, and one block's activations with their gradients: about 9 widths of the stream and 6
  // of the MLP, for as many tokens as pipeline.cc takes.
  Moment measuring() const {
    Moment m{"measuring the output metric"};
    add_streams(&m);
    const MetricSize size = metric_size(config_, size_.sequences, metric_);
    const int64_t rows = size.sequences * std::min(size.length, length_);
    m.add("activations while the metric is measured", floats(rows, config_.hidden), config_.layers + 9);
    m.add("activations while the metric is measured", floats(rows, config_.intermediate), 6);
    return m;
  }
  // The block, one chunk of tokens through it, the sample's inputs and outputs, and the layers of one place twice more:
  // as floats and as codes.
  Moment scaling() const {
    Moment m{"searching scales"};
    add_streams(&m);
    add_block(&m);
    const int64_t wide = std::max(config_.intermediate, config_.heads * config_.head_dim);
    m.add("inputs of some sequences", floats(chunk_, config_.hidden), 2);
    m.add("inputs of some sequences", floats(chunk_, wide), 2);
    const int64_t sample = std::min(kSampleTokens, rows_);
    m.add("sample of the inputs", floats(sample, config_.hidden), 5);
    m.add("sample of the inputs", floats(sample, wide), 5);
    Count place;
    for (const Stage& s : stages()) {
      Count sum;
      for (const size_t i : s.modules) sum += floats(model_.modules()[i].rows, s.cols);
      if (sum.value() > place.value()) place = sum;
    }
    m.add("layers of one place, float32", place, 3);
    return m;
  }
  Moment collecting(const Stage& s) const {
    Moment m{"calibrating"};
    add_streams(&m);
    add_block(&m);
    add_statistics(&m, s);
    m.add("inputs of some sequences", floats(chunk_, s.cols), sides());
    m.add("inputs of some sequences", floats(chunk_, config_.hidden));
    m.add("inputs of some sequences", floats(chunk_, config_.intermediate));  // on their way through the MLP
    return m;
  }
  Moment solving(const Stage& s, size_t i) const {
    const Module& module = model_.modules()[i];
    Moment m{"solving " + module.name};
    add_streams(&m);
    add_block(&m);
    add_statistics(&m, s);
    m.add("Hessian and its factor", floats(s.cols, s.cols), 2);
    m.add("weight, target, corrections, float32", floats(module.rows, module.cols), two_ && s.residual ? 5 : 4);
    m.add("codes", matrix_bytes(module, plans_[i].scheme), 2);
    return m;
  }
  Moment rounding(size_t i) const {
    const Module& module = model_.modules()[i];
    Moment m{"rounding " + module.name};
    m.add("weight and its dequantized copy, float32", floats(module.rows, module.cols), 2);
    m.add("codes", matrix_bytes(module, plans_[i].scheme), 2);
    return m;
  }

  const Model& model_;
  const ModelConfig& config_;
  const std::vector<ModulePlan>& plans_;
  const RunSize& size_;
  bool calibrates_ = false, two_ = false, transforms_ = false;
  int32_t metric_ = 0;
  int64_t length_ = 0, rows_ = 0, chunk_ = 0, judges_ = 0;
};

}  // namespace

Result<Ledger> estimate_run(const Plan& plan, const RunSize& size) {
  const FormatId id = size.format == FormatId::kDefault ? FormatId::kCompressed : size.format;
  const Model& model = *plan.model();
  if (size.sequences < 1 || size.length < 1 || size.sequences > (int64_t{1} << 40) / size.length)
    return error(Code::kInvalidArgument, "%lld calibration sequences of %lld tokens",
                 static_cast<long long>(size.sequences), static_cast<long long>(size.length));
  QZ_ASSIGN(const std::vector<ModulePlan> plans, resolve_plan(plan, id, true));
  const PlanSummary summary = summarize_plan(model, plans);
  Ledger out;
  constexpr const char* kSource = "lib/run/pipeline.cc, step by step";
  out.add("this process now", Where::kHost, ItemKind::kRuntime, read_memory_usage().resident, "resident memory",
          "/proc/self/status");
  const Moment peak = RunModel(model, plans, size).peak();
  for (const auto& [name, bytes] : peak.parts)
    out.add(name, Where::kHost, ItemKind::kWorkspace, bytes, peak.name, kSource);
  OutputTensors output = output_tensors(model, summary, find_format(id));
  if (size.in_memory) {
    Count kept;
    for (size_t i = 0; i < plans.size(); i++)
      if (plans[i].method != Method::kKeep) kept += Count(model.modules()[i].rows) * Count(model.modules()[i].cols);
    out.add("the result", Where::kHost, ItemKind::kWeights, kept, "a byte a code", kSource);
  } else {
    for (const PlannedFile& file : ShardWriter::plan_files(std::move(output.tensors), size.shard_bytes))
      out.add(file.name, Where::kDisk, ItemKind::kWeights, file.bytes, "header and tensors",
              "exact: layouts of the format");
  }
  out.note("the peak comes while " + peak.name);
  QZ_TRY(out.finish());
  return out;
}

}  // namespace qz
