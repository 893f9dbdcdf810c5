// One broken thing at a time, and the rule that must name it; next to each, the same thing whole.
#include "estimate/loaders.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace qz {
namespace {

LoadQuestion vllm() {
  LoadQuestion q;
  q.loader = "vllm", q.format = "compressed-tensors", q.arch = "llama", q.heads = 32, q.kv_heads = 8;
  const std::pair<const char*, std::pair<int64_t, int64_t>> kRoles[] = {
      {"q", {4096, 4096}},     {"k", {1024, 4096}},   {"v", {1024, 4096}},    {"o", {4096, 4096}},
      {"gate", {14336, 4096}}, {"up", {14336, 4096}}, {"down", {4096, 14336}}};
  for (const auto& [role, shape] : kRoles) {
    LoadModule m;
    m.name = std::string("layers.0.") + role, m.role = role, m.layer = 0;
    m.rows = shape.first, m.cols = shape.second, m.quantized = true;
    m.scheme.scale = DType::kBF16;
    q.modules.push_back(m);
  }
  return q;
}

// The findings as "severity module: text", one line each.
std::string told(const LoadQuestion& q) {
  const auto findings = check_loading(q);
  if (!findings.ok()) return findings.status().text();
  std::string out;
  for (const LoadFinding& f : *findings) {
    out += (f.error ? "error " : "warning ") + f.module + ": " + f.text + "\n";
    EXPECT_FALSE(f.source.empty()) << f.text;
  }
  return out;
}

template <class Change>
std::string changed(Change change) {
  LoadQuestion q = vllm();
  change(&q);
  return told(q);
}

void all(LoadQuestion* q, void (*change)(Scheme*)) {
  for (LoadModule& m : q->modules) change(&m.scheme);
}

TEST(Loaders, WholeModelsPass) {
  EXPECT_EQ(told(vllm()), "");
  for (const int64_t tp : {2, 4, 8}) EXPECT_EQ(changed([&](LoadQuestion* q) { q->tensor_parallel = tp; }), "") << tp;
  EXPECT_EQ(changed([](LoadQuestion* q) { q->capability = 80, q->format = "gptq"; }), "");
}

TEST(Loaders, VllmRefuses) {
  using Q = LoadQuestion*;
  const auto says = [](const std::string& text, const char* severity, const char* words) {
    EXPECT_EQ(text.find(severity), 0u) << text;
    EXPECT_NE(text.find(words), std::string::npos) << text;
  };
  says(changed([](Q q) { q->tensor_parallel = 3; }), "error", "32 attention heads");
  says(changed([](Q q) { q->tensor_parallel = 16, q->kv_heads = 12; }), "error", "12 key/value heads");
  says(changed([](Q q) { q->format = "gptq", all(q, [](Scheme* s) { s->symmetric = false; }); }), "error",
       "symmetric only");
  says(changed([](Q q) { q->format = "gptq_v2", all(q, [](Scheme* s) { s->bits = 3; }); }), "error", "w3g128");
  says(changed([](Q q) { all(q, [](Scheme* s) { s->bits = 2; }); }), "error", "2 bit packed");
  says(changed([](Q q) { all(q, [](Scheme* s) { s->group = 256; }); }), "error", "groups of 256");
  says(changed([](Q q) { q->modules[0].scheme.group = 64; }), "error layers.0.k", "w4g128, but layers.0.q is w4g64");
  says(changed([](Q q) { q->modules[5].quantized = false; }), "error layers.0.up", "plain, but layers.0.gate");
  says(changed([](Q q) { q->modules[1].g_idx = true, q->format = "gptq"; }), "error layers.0.k", "stored order");
  says(changed([](Q q) { q->modules[6].g_idx = true; }), "error layers.0.down", "actorder");
  says(changed([](Q q) { q->capability = 70; }), "error", "7.5");
  says(changed([](Q q) { q->format = "gptq_p"; }), "error", "GPTQModel only");
  says(changed([](Q q) { q->format = "gguf"; }), "error", "0.24");
  says(changed([](Q q) { q->modules[3].rows = 4000; }), "warning layers.0.o", "multiple of 64");
  // 14336 / 8 = 1792 columns hold groups of 128; / 7 = 2048; groups of 512 do not divide 1792.
  says(changed([](Q q) { q->tensor_parallel = 8, q->modules[6].scheme.group = 512; }), "error", "groups of 512");
  says(changed([](Q q) { q->tensor_parallel = 2, q->format = "gptq", q->modules[6].g_idx = true; }),
       "warning layers.0.down", "desc_act");
}

TEST(Loaders, OthersRefuse) {
  using Q = LoadQuestion*;
  const auto as = [](const char* loader, const char* format) {
    return changed([&](Q q) { q->loader = loader, q->format = format; });
  };
  EXPECT_NE(as("llama.cpp", "awq").find("error"), std::string::npos);
  EXPECT_NE(as("llama.cpp", "gptq").find("warning"), std::string::npos);
  EXPECT_EQ(as("llama.cpp", "compressed-tensors"), "");
  EXPECT_NE(as("bitsandbytes", "gptq").find("own format"), std::string::npos);
  EXPECT_EQ(as("bitsandbytes", "bitsandbytes"), "");
  EXPECT_EQ(as("transformers", "compressed-tensors"), "");
  EXPECT_NE(as("transformers", "gptq").find("optimum"), std::string::npos);
  EXPECT_NE(changed([](Q q) { q->loader = "llama.cpp", q->arch = "opt"; }).find("OPT"), std::string::npos);
  EXPECT_NE(as("fax", "gptq").find("not one of"), std::string::npos);
}

TEST(Loaders, ModulesThatShareAFindingAreToldOnce) {
  LoadQuestion q = vllm();
  all(&q, [](Scheme* s) { s->bits = 3; });
  const auto findings = check_loading(q);
  ASSERT_TRUE(findings.ok());
  ASSERT_EQ(findings->size(), 1u);
  EXPECT_EQ((*findings)[0].module, "layers.0.q and 6 more");
  const Json json = findings_to_json(*findings);
  EXPECT_EQ(json["ok"], false);
  EXPECT_EQ(json["findings"][0]["severity"], "error");
}

}  // namespace
}  // namespace qz
