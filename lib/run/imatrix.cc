#include "run/imatrix.h"

#include <cmath>
#include <cstring>
#include <map>

#include "format/gguf_names.h"
#include "io/gguf.h"
#include "io/replace_file.h"

namespace qz {
namespace {

constexpr char kSums[] = ".in_sum2", kCounts[] = ".counts";

// One tensor of the model, a row for each expert of a stack.
struct Entry {
  int64_t cols = 0, matrices = 1;
  std::vector<float> sums, counts;  // [matrices][cols], [matrices]; empty until they are known
  uint64_t values() const { return static_cast<uint64_t>(cols * matrices); }
};
using Entries = std::map<std::string, Entry, std::less<>>;

std::string name_of(const Model& model, const Module& m) { return name_to_gguf(model.arch(), m.name + ".weight"); }

// What the file may hold of this model: every layer in a block and the head.
Result<Entries> entries_of(const Model& model) {
  if (!gguf_family_of(model.arch().hf_class))
    return error(Code::kUnsupported, "imatrix: no names are known for a model of class %s (%s have some)",
                 std::string(model.arch().hf_class).c_str(), gguf_families().c_str());
  Entries out;
  for (const Module& m : model.modules()) {
    std::string name = name_of(model, m);
    if (m.can_quantize && !name.empty())
      out[std::move(name)] = {m.cols, m.expert < 0 ? 1 : model.config().moe.experts, {}, {}};
  }
  return out;
}

size_t matrix_of(const Module& m) { return m.expert < 0 ? 0 : static_cast<size_t>(m.expert); }

// ---- writing

// A plan that wants statistics of every layer and nothing of what GPTQ would do with them.
Result<Plan> probing_plan(const ModelPtr& model) {
  Plan plan(model);
  plan.keep_rules(0);
  Rule rule;
  rule.glob = "*";
  rule.method = Method::kGptq;
  rule.scheme = {CodeKind::kInt, 8, kGroupRow};
  rule.gptq.drift = rule.gptq.residual = 0;
  rule.gptq.metric = 0;
  QZ_TRY(plan.add_rule(rule));
  for (const Module& m : model->modules())
    if (m.role == Role::kHead && m.can_quantize && !model->config().tied) {
      rule.glob = m.name;
      QZ_TRY(plan.add_rule(rule));
    }
  return plan;
}

void add(const StageStats& stats, float* sums, float* count) {
  for (int64_t c = 0; c < stats.cols; ++c) {
    double sum = static_cast<double>(stats.h.row(c)[c]);
    for (int64_t t = 0; t < stats.held_x.rows(); ++t) {
      const double x = static_cast<double>(stats.held_x.row(t)[c]);
      sum += x * x;
    }
    sums[c] = static_cast<float>(sum);
  }
  *count = static_cast<float>(stats.tokens + stats.held_x.rows());
}

std::string as_file(const Entries& entries, const TokenSet& tokens) {
  GgufBuilder builder;
  builder.add("general.type", std::string_view("imatrix"));
  builder.add("imatrix.datasets", std::vector<std::string>{"libqz calibration " + tokens.hash()});
  builder.add("imatrix.chunk_count", static_cast<uint32_t>(tokens.count()));
  builder.add("imatrix.chunk_size", static_cast<uint32_t>(tokens.tokens() / std::max<int64_t>(1, tokens.count())));
  std::vector<const std::vector<float>*> values;
  for (const auto& [name, e] : entries) {
    if (e.sums.empty()) continue;
    builder.add_tensor(name + kSums, gguf_type(DType::kF32), {e.matrices, e.cols});
    builder.add_tensor(name + kCounts, gguf_type(DType::kF32), {e.matrices, 1});
    values.push_back(&e.sums);
    values.push_back(&e.counts);
  }
  const GgufBuilder::Layout layout = builder.finish();
  std::string file = layout.files[0].header;
  file.resize(layout.files[0].bytes, '\0');
  for (size_t i = 0; i < values.size(); ++i)
    std::memcpy(file.data() + layout.places[i].offset, values[i]->data(), values[i]->size() * sizeof(float));
  return file;
}

// ---- reading

Status wrong_size(const File& file, const std::string& what, uint64_t found, const Entry& e) {
  return error(Code::kBadFile, "%s: '%s' has %llu values, expected %lld x %lld", file.path().c_str(), what.c_str(),
               static_cast<unsigned long long>(found), static_cast<long long>(e.matrices),
               static_cast<long long>(e.cols));
}

// Tensors that the model has no use for are not read: nothing is allocated that the model does not bound.
Status read_gguf(const File& file, const Limits& limits, Entries* entries) {
  QZ_ASSIGN(const GgufHeader header, read_gguf_header(file, limits));
  const auto type = header.metadata.find("general.type");
  if (type == header.metadata.end() || *type != "imatrix")
    return error(Code::kBadFile, "%s: key 'general.type' is not \"imatrix\"", file.path().c_str());
  for (const GgufTensor& t : header.tensors) {
    const std::string_view name = t.name;
    const bool sums = name.ends_with(kSums);
    if (!sums && !name.ends_with(kCounts)) continue;
    const auto it = entries->find(name.substr(0, name.rfind('.')));
    if (it == entries->end()) continue;
    Entry& e = it->second;
    const uint64_t n = t.bytes / sizeof(float);
    if (t.type->dtype != DType::kF32 || n != (sums ? e.values() : static_cast<uint64_t>(e.matrices)))
      return wrong_size(file, t.name, n, e);
    std::vector<float>& to = sums ? e.sums : e.counts;
    to.resize(n);
    QZ_TRY(file.read_at(t.offset, to.data(), t.bytes));
  }
  return {};
}

// The older file: int32 count; for each entry int32 length and name, int32 calls, int32 values, as many floats, which
// are means times calls, of the matrices of a stack one after the other. Whatever follows is not needed.
class OldFile {
 public:
  explicit OldFile(const File& file) : file_(file) {}

  Status read(Entries* entries) {
    QZ_ASSIGN(const int64_t count, number("a count", 1 << 20));
    for (int64_t i = 0; i < count; ++i) {
      QZ_ASSIGN(const int64_t length, number("the length of a name", 4096));
      std::string name(static_cast<size_t>(length), '\0');
      QZ_TRY(take(name.data(), name.size()));
      QZ_ASSIGN(const int64_t calls, number("a number of calls", INT32_MAX));
      QZ_ASSIGN(const int64_t n, number("a number of values", INT32_MAX));
      const auto it = entries->find(name);
      if (it == entries->end()) {
        QZ_TRY(take(nullptr, static_cast<uint64_t>(n) * sizeof(float)));
        continue;
      }
      Entry& e = it->second;
      if (static_cast<uint64_t>(n) != e.values()) return wrong_size(file_, name, static_cast<uint64_t>(n), e);
      e.sums.resize(static_cast<size_t>(n));
      QZ_TRY(take(e.sums.data(), e.sums.size() * sizeof(float)));
      e.counts.assign(static_cast<size_t>(e.matrices), static_cast<float>(calls));
    }
    return {};
  }

 private:
  // to: null = to be passed over.
  Status take(void* to, uint64_t bytes) {
    if (bytes > file_.size() - at_)
      return error(Code::kBadFile, "%s: ends at byte %llu, inside an entry", file_.path().c_str(),
                   static_cast<unsigned long long>(file_.size()));
    if (to) QZ_TRY(file_.read_at(at_, to, bytes));
    at_ += bytes;
    return {};
  }

  Result<int64_t> number(const char* what, int64_t most) {
    const uint64_t at = at_;
    int32_t v = 0;
    QZ_TRY(take(&v, sizeof v));
    if (v < 0 || v > most)
      return error(Code::kBadFile, "%s: no imatrix: %s at byte %llu is %d, expected 0 to %lld", file_.path().c_str(),
                   what, static_cast<unsigned long long>(at), v, static_cast<long long>(most));
    return int64_t{v};
  }

  const File& file_;
  uint64_t at_ = 0;
};

Result<std::vector<float>> means(const Entry& e, size_t matrix, const std::string& name, const std::string& path) {
  std::vector<float> out;
  if (e.sums.empty() || e.counts.empty() || !(e.counts[matrix] > 0)) return out;  // not held, or no token came here
  for (int64_t c = 0; c < e.cols; ++c) {
    const float mean = e.sums[matrix * static_cast<size_t>(e.cols) + static_cast<size_t>(c)] / e.counts[matrix];
    if (!std::isfinite(mean) || mean < 0)
      return error(Code::kBadFile, "%s: '%s': the mean square of input %lld is %g", path.c_str(), name.c_str(),
                   static_cast<long long>(c), static_cast<double>(mean));
    out.push_back(mean);
  }
  return out;
}

}  // namespace

Status write_imatrix(const ModelPtr& model, const TokenSet& tokens, const std::string& path, Progress* progress) {
  QZ_ASSIGN(Entries entries, entries_of(*model));
  QZ_ASSIGN(const Plan plan, probing_plan(model));
  RunOptions options;
  options.progress = progress;
  QZ_TRY(probe_plan(plan, tokens, options, [&](size_t module, MatrixView, StageSolver* stage, MatrixView) -> Status {
    const Module& m = model->modules()[module];
    const auto it = entries.find(name_of(*model, m));
    if (it == entries.end() || !stage) return {};
    Entry& e = it->second;
    e.counts.resize(static_cast<size_t>(e.matrices));
    e.sums.resize(e.values());
    const size_t at = matrix_of(m);
    add(stage->stats(), e.sums.data() + at * static_cast<size_t>(m.cols), &e.counts[at]);
    return {};
  }));
  return replace_file(path, as_file(entries, tokens));
}

Result<std::vector<std::vector<float>>> read_imatrix(const Model& model, const std::string& path) {
  QZ_ASSIGN(Entries entries, entries_of(model));
  QZ_ASSIGN(const auto file, File::open(path));
  char magic[4] = {};
  if (file->size() >= sizeof magic) QZ_TRY(file->read_at(0, magic, sizeof magic));
  const bool gguf = std::memcmp(magic, "GGUF", sizeof magic) == 0;
  QZ_TRY(gguf ? read_gguf(*file, model.context().limits, &entries) : OldFile(*file).read(&entries));
  std::vector<std::vector<float>> out(model.modules().size());
  bool found = false;
  for (size_t i = 0; i < out.size(); ++i) {
    const Module& m = model.modules()[i];
    const std::string name = name_of(model, m);
    const auto it = entries.find(name);
    if (it == entries.end()) continue;
    QZ_ASSIGN(out[i], means(it->second, matrix_of(m), name, path));
    found = found || !out[i].empty();
  }
  if (!found) return error(Code::kBadFile, "%s: holds none of the model's layers", path.c_str());
  return out;
}

Status set_imatrix(Plan* plan, const std::string& path) {
  QZ_ASSIGN(auto importance, read_imatrix(*plan->model(), path));
  plan->importance = std::make_shared<const std::vector<std::vector<float>>>(std::move(importance));
  return {};
}

}  // namespace qz
