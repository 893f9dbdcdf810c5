#include "estimate/loaders.h"

#include <algorithm>
#include <map>

#include "base/json.h"

namespace qz {
namespace {

constexpr std::string_view kVllm = "vllm", kTransformers = "transformers", kLlamaCpp = "llama.cpp",
                           kBnb = "bitsandbytes";

std::string text_of(int64_t n) { return std::to_string(n); }

// --- which loader reads which format -----------------------------------------------------------------------------
enum class Reads { kYes, kCaution, kNo };
struct LoaderSupport {
  std::string_view loader, format;
  Reads reads;
  std::string_view text, source;
};
constexpr LoaderSupport kSupport[] = {
    {kVllm, "gptq_p", Reads::kNo, "bit planes are read by GPTQModel only", "GPTQModel docs/gptq_planar.md"},
    {kVllm, "bitsandbytes", Reads::kCaution, "bitsandbytes is proposed for removal from vLLM", "vLLM RFC #39583"},
    {kVllm, "gguf", Reads::kNo, "GGUF left vLLM with 0.24; its plug-in is separate", "vLLM PR #39612"},
    {kVllm, "hqq", Reads::kNo, "vLLM does not read HQQ checkpoints", "vLLM quantization table"},
    {kVllm, "eetq", Reads::kNo, "EETQ's layout depends on the GPU generation; vLLM does not read it",
     "vLLM quantization table"},
    {kTransformers, "gptq", Reads::kCaution, "needs optimum >= 1.24 and gptqmodel >= 1.4.3; text models only",
     "transformers quantizer_gptq.py"},
    {kTransformers, "gptq_v2", Reads::kCaution, "needs optimum >= 1.24 and gptqmodel >= 1.4.3; text models only",
     "transformers quantizer_gptq.py"},
    {kTransformers, "gptq_p", Reads::kCaution, "needs a gptqmodel that knows bit planes",
     "GPTQModel docs/gptq_planar.md"},
    {kTransformers, "awq", Reads::kCaution, "needs gptqmodel: AutoAWQ is no longer used",
     "transformers 5 quantizer_awq.py"},
    {kTransformers, "gguf", Reads::kCaution, "GGUF is dequantized when it is loaded: no memory is saved",
     "transformers gguf support"},
    {kLlamaCpp, "awq", Reads::kNo, "llama.cpp's converter does not read AWQ", "llama.cpp #10965"},
    {kLlamaCpp, "bitsandbytes", Reads::kNo, "llama.cpp's converter does not read bitsandbytes", "llama.cpp #10965"},
    {kLlamaCpp, "gptq_p", Reads::kNo, "bit planes are read by GPTQModel only", "GPTQModel docs/gptq_planar.md"},
    {kLlamaCpp, "hqq", Reads::kNo, "llama.cpp's converter does not read HQQ", "llama.cpp convert_hf_to_gguf.py"},
    {kLlamaCpp, "gptq", Reads::kCaution, "the converter dequantizes GPTQ to 16 bit first",
     "llama.cpp convert_hf_to_gguf.py"},
    {kLlamaCpp, "gptq_v2", Reads::kCaution, "the converter dequantizes GPTQ to 16 bit first",
     "llama.cpp convert_hf_to_gguf.py"},
};

// --- rules about the whole model ---------------------------------------------------------------------------------
struct ModelRule {
  std::string_view loader, source;
  bool error;
  std::string (*broken)(const LoadQuestion& q);  // "": it holds
};
const ModelRule kModelRules[] = {
    {kBnb, "bitsandbytes reads what it wrote", true,
     [](const LoadQuestion& q) -> std::string {
       return q.format == "bitsandbytes" || q.format == "plain"
                  ? ""
                  : "the directory is in " + q.format + ", bitsandbytes reads its own format only";
     }},
    {kVllm, "vLLM config/model.py", true,
     [](const LoadQuestion& q) -> std::string {
       return q.heads % q.tensor_parallel == 0
                  ? ""
                  : text_of(q.heads) + " attention heads are not divisible by tensor-parallel size " +
                        text_of(q.tensor_parallel);
     }},
    {kVllm, "vLLM layers/linear.py, QKVParallelLinear", true,
     [](const LoadQuestion& q) -> std::string {
       return q.kv_heads % q.tensor_parallel == 0 || q.tensor_parallel % q.kv_heads == 0
                  ? ""
                  : text_of(q.kv_heads) + " key/value heads neither divide nor are divided by tensor-parallel size " +
                        text_of(q.tensor_parallel);
     }},
    {kLlamaCpp, "llama.cpp src/llama-arch.cpp", true,
     [](const LoadQuestion& q) -> std::string { return q.arch == "opt" ? "llama.cpp has no OPT architecture" : ""; }},
    {kVllm, "vLLM marlin_utils.py", true,
     [](const LoadQuestion& q) -> std::string {
       const bool any =
           std::any_of(q.modules.begin(), q.modules.end(), [](const LoadModule& m) { return m.quantized; });
       return any && q.capability != 0 && q.capability < 75
                  ? "the kernels for 4 and 8 bit need compute capability 7.5, this GPU has " +
                        text_of(q.capability / 10) + "." + text_of(q.capability % 10)
                  : "";
     }},
};

// --- rules about one quantized module ----------------------------------------------------------------------------
bool splits_cols(const LoadModule& m) { return m.role == "o" || m.role == "down"; }  // row-parallel in vLLM's words
int64_t shard_rows(const LoadQuestion& q, const LoadModule& m) {
  return splits_cols(m) ? m.rows : m.rows / q.tensor_parallel;
}
int64_t shard_cols(const LoadQuestion& q, const LoadModule& m) {
  return splits_cols(m) ? m.cols / q.tensor_parallel : m.cols;
}
bool gptq(const LoadQuestion& q) { return q.format == "gptq" || q.format == "gptq_v2"; }
bool packed_int(const LoadQuestion& q, const LoadModule& m) {
  return m.scheme.is_grid() && m.scheme.activations == Activations::kNone &&
         (gptq(q) || q.format == "awq" || q.format == "compressed-tensors");
}
std::string of_parallel(const LoadQuestion& q) {
  return q.tensor_parallel > 1 ? " after tensor parallelism of " + text_of(q.tensor_parallel) : "";
}

struct Rule {
  std::string_view loader, source;
  bool error;
  std::string (*broken)(const LoadQuestion& q, const LoadModule& m);
};
const Rule kRules[] = {
    {kVllm, "vLLM layers/linear.py", true,
     [](const LoadQuestion& q, const LoadModule& m) -> std::string {
       const int64_t side = splits_cols(m) ? m.cols : m.rows;
       return m.layer < 0 || side % q.tensor_parallel == 0
                  ? ""
                  : std::string("side ") + text_of(side) + " is not divisible by tensor-parallel size " +
                        text_of(q.tensor_parallel);
     }},
    {kVllm, "vLLM PR #38288, request #45051", true,
     [](const LoadQuestion& q, const LoadModule& m) -> std::string {
       return gptq(q) && !(m.scheme.symmetric && (m.scheme.bits == 4 || m.scheme.bits == 8))
                  ? std::string("GPTQ of ") + scheme_name(m.scheme) + ": vLLM reads 4 and 8 bit symmetric only"
                  : "";
     }},
    {kVllm, "vLLM compressed_tensors_wNa16.py", true,
     [](const LoadQuestion& q, const LoadModule& m) -> std::string {
       return q.format == "compressed-tensors" && packed_int(q, m) && m.scheme.bits != 4 && m.scheme.bits != 8
                  ? text_of(m.scheme.bits) + " bit packed weights: vLLM has kernels for 4 and 8"
                  : "";
     }},
    {kVllm, "vLLM marlin_utils.py", true,
     [](const LoadQuestion& q, const LoadModule& m) -> std::string {
       const int32_t g = m.scheme.group;
       const bool known = g == kGroupRow || g == 32 || g == 64 || g == 128;
       return packed_int(q, m) && !known
                  ? std::string("groups of ") + text_of(g) + ": the kernels take -1, 32, 64 and 128"
                  : "";
     }},
    {kVllm, "vLLM marlin_utils.py", false,
     [](const LoadQuestion& q, const LoadModule& m) -> std::string {
       const int64_t n = shard_rows(q, m), k = shard_cols(q, m);
       return packed_int(q, m) && (n % 64 != 0 || k % 128 != 0)
                  ? std::string("[") + text_of(n) + ", " + text_of(k) + "]" + of_parallel(q) +
                        ": Marlin needs rows of a multiple of 64 and columns of 128; a slower kernel is used, or none"
                  : "";
     }},
    {kVllm, "vLLM layers/linear.py, RowParallelLinear", true,
     [](const LoadQuestion& q, const LoadModule& m) -> std::string {
       const int64_t k = shard_cols(q, m);
       return q.tensor_parallel > 1 && m.scheme.group > 0 && k % m.scheme.group != 0
                  ? std::string("groups of ") + text_of(m.scheme.group) + " do not divide " + text_of(k) + " columns" +
                        of_parallel(q)
                  : "";
     }},
    {kVllm, "vLLM gptq_marlin.py: the order of columns spans all ranks", false,
     [](const LoadQuestion& q, const LoadModule& m) -> std::string {
       return q.tensor_parallel > 1 && m.g_idx && splits_cols(m)
                  ? "a stored order of columns (desc_act) with tensor parallelism repeats the scales on every rank"
                  : "";
     }},
    {kVllm, "compressed-tensors 0.19, quantization/quant_args.py", true,
     [](const LoadQuestion& q, const LoadModule& m) -> std::string {
       return q.format == "compressed-tensors" && m.g_idx
                  ? "actorder \"group\" is refused since 0.19, and weight_g_idx is ignored"
                  : "";
     }},
    {kTransformers, "compressed-tensors 0.19, quantization/quant_args.py", true,
     [](const LoadQuestion& q, const LoadModule& m) -> std::string {
       return q.format == "compressed-tensors" && m.g_idx
                  ? "actorder \"group\" is refused since 0.19, and weight_g_idx is ignored"
                  : "";
     }},
    {kVllm, "vLLM awq_marlin.py", true,
     [](const LoadQuestion& q, const LoadModule& m) -> std::string {
       return q.format == "awq" && m.scheme.bits != 4 && m.scheme.bits != 8
                  ? std::string("AWQ of ") + text_of(m.scheme.bits) + " bit: vLLM reads 4 and 8"
                  : "";
     }},
    {kLlamaCpp, "llama.cpp convert_hf_to_gguf.py", true,
     [](const LoadQuestion& q, const LoadModule& m) -> std::string {
       const int32_t b = m.scheme.bits;
       return gptq(q) && b != 2 && b != 3 && b != 4 && b != 8
                  ? std::string("GPTQ of ") + text_of(b) + " bit: the converter reads 2, 3, 4 and 8"
                  : "";
     }},
};

// --- modules that a loader fuses into one must be stored alike ---------------------------------------------------
constexpr std::string_view kFused[][3] = {{"q", "k", "v"}, {"gate", "up", ""}};

void check_fused(const LoadQuestion& q, std::vector<LoadFinding>* out) {
  std::map<std::pair<int64_t, size_t>, std::vector<const LoadModule*>> groups;
  for (const LoadModule& m : q.modules)
    for (size_t f = 0; f < std::size(kFused); f++)
      if (m.layer >= 0 && !m.role.empty() &&
          std::find(std::begin(kFused[f]), std::end(kFused[f]), m.role) != std::end(kFused[f]))
        groups[{m.layer, f}].push_back(&m);
  for (const auto& [key, members] : groups)
    for (const LoadModule* m : members) {
      const LoadModule& first = *members.front();
      if (m->quantized == first.quantized && (!m->quantized || (m->scheme == first.scheme && m->g_idx == first.g_idx)))
        continue;
      out->push_back({true, m->name,
                      (m->quantized ? scheme_name(m->scheme) : "plain") + ", but " + first.name + " is " +
                          (first.quantized ? scheme_name(first.scheme) : "plain") +
                          (m->g_idx != first.g_idx ? ", or only one has a stored order" : "") +
                          ": vLLM loads them as one matrix",
                      "vLLM #1682, #25047, #18718; llm-compressor #959, #2255"});
    }
}

}  // namespace

const std::vector<std::string_view>& known_loaders() {
  static const std::vector<std::string_view> all = {kVllm, kTransformers, kLlamaCpp, kBnb};
  return all;
}

Result<std::vector<LoadFinding>> check_loading(const LoadQuestion& q) {
  if (std::find(known_loaders().begin(), known_loaders().end(), q.loader) == known_loaders().end()) {
    std::string known;
    for (const std::string_view l : known_loaders()) known += (known.empty() ? "" : ", ") + std::string(l);
    return error(Code::kInvalidArgument, "loader '%.40s' is not one of %s", q.loader.c_str(), known.c_str());
  }
  if (q.tensor_parallel < 1 || q.tensor_parallel > 4096)
    return error(Code::kInvalidArgument, "tensor_parallel is %lld, expected 1 to 4096",
                 static_cast<long long>(q.tensor_parallel));
  std::vector<LoadFinding> out;
  for (const LoaderSupport& s : kSupport)
    if (s.loader == q.loader && s.format == q.format && s.reads != Reads::kYes)
      out.push_back({s.reads == Reads::kNo, "", std::string(s.text), std::string(s.source)});
  for (const ModelRule& rule : kModelRules)
    if (rule.loader == q.loader)
      if (std::string text = rule.broken(q); !text.empty())
        out.push_back({rule.error, "", std::move(text), std::string(rule.source)});
  for (const Rule& rule : kRules) {
    if (rule.loader != q.loader) continue;
    std::map<std::string, std::pair<std::string, int>> told;  // words -> first module, how many
    for (const LoadModule& m : q.modules)
      if (m.quantized)
        if (std::string text = rule.broken(q, m); !text.empty()) {
          auto& entry = told[text];
          if (entry.second++ == 0) entry.first = m.name;
        }
    for (const auto& [text, modules] : told)
      out.push_back({rule.error,
                     modules.first + (modules.second > 1 ? " and " + text_of(modules.second - 1) + " more" : ""), text,
                     std::string(rule.source)});
  }
  if (q.loader == kVllm) check_fused(q, &out);
  return out;
}

Json findings_to_json(const std::vector<LoadFinding>& findings) {
  Json list = Json::array();
  bool ok = true;
  for (const LoadFinding& f : findings) {
    ok = ok && !f.error;
    list.push_back(
        {{"severity", f.error ? "error" : "warning"}, {"module", f.module}, {"text", f.text}, {"source", f.source}});
  }
  return {{"ok", ok}, {"findings", std::move(list)}};
}

}  // namespace qz
