// Every family through the whole job: quantized by each method, written in each format that takes its shapes, opened
// again, and asked for logits; those of the file must be those of the matrices in memory, and those of the dequantized
// model. Where nothing can take AWQ's scales, the report says so.
#include <cstdio>
#include <span>

#include "format/complete.h"
#include "run/options_json.h"
#include "run/save.h"
#include "run/verify.h"
#include "unit/run/models.h"

namespace qz {
namespace {

// What AWQ cannot rescale in a family: words of the report's events, of one place each.
constexpr const char* kRouter = "gate, up are not rescaled: the router, which is not quantized, reads the same norm";
constexpr const char* kExperts = "down are not rescaled: scales within experts are not searched";
constexpr const char* kActivation = "down are not rescaled: the activation before them does not scale with its input";
constexpr const char* kFollows = "are not rescaled: their input is the residual stream itself: the norm follows";
constexpr const char* kNormed = "are not rescaled: the normed stream is also what the block adds to";

struct Family {
  const char* name;
  bool gguf = false;  // llama.cpp has it, and its shapes are whole blocks somewhere
  std::vector<const char*> not_rescaled = {};
};
const Family kFamilies[] = {
    {"bert", false, {kFollows, kActivation}},
    {"bert-classifier", false, {kFollows, kActivation}},
    {"bloom", false, {kActivation}},
    {"bloom-residual-normed", false, {kNormed, kActivation}},
    {"deepseek-v2", false, {kRouter, kExperts}},
    {"deepseek-v2-lite", false, {kRouter, kExperts}},
    {"deepseek-v3", false, {kRouter, kExperts}},
    {"deepseek-v3-fp8", false, {kRouter, kExperts}},
    {"falcon-11b", false, {kActivation}},
    {"falcon-40b-style", false, {kActivation}},
    {"falcon-7b-style", false, {kActivation}},
    {"falcon-rw", false, {kActivation}},
    {"gemma"},
    {"gemma2"},
    {"gemma3"},
    {"glm4"},
    {"gpt-neox", false, {kActivation}},
    {"gpt-neox-sequential", false, {kActivation}},
    {"gpt2", false, {kActivation}},
    {"helium"},
    {"internvl-qwen3"},
    {"llama-128", true},
    {"llama-tied", true},
    {"llama3-rope-gqa", true},
    {"mistral-sliding", true},
    {"mixtral", true, {kRouter, kExperts}},
    {"opt-350m-style", false, {kFollows}},
    {"opt-pre-ln"},
    {"phi3-fused", true},
    {"phi3-longrope"},
    {"qwen2-128", true},
    {"qwen2-bias-2shards", true},
    {"qwen2-moe", true, {kRouter, kExperts}},
    {"qwen2_5-vl"},
    {"qwen3-fp8"},
    {"qwen3-moe", true, {kRouter, kExperts}},
    {"qwen3-qknorm", true},
    {"roberta", false, {kFollows, kActivation}},
    {"roberta-classifier", false, {kFollows, kActivation}},
    {"starcoder2", true, {kActivation}},
};

struct Way {
  const char* name;
  Method method;
  TransformKind transform = TransformKind::kNone;
};
const Way kIntegers[] = {{"RTN", Method::kRtn}, {"GPTQ", Method::kGptq}, {"AWQ", Method::kRtn, TransformKind::kAwq}};
const Way kRounded[] = {{"RTN", Method::kRtn}};

struct Row {
  FormatId format;
  std::span<const Way> ways;
  std::vector<const char*> schemes;  // a module gets the first that the format stores for its shape; none: it is kept
  bool one_scheme = false;           // all modules get that of them which most can have
};
const std::vector<const char*> kGrids = {"w4g32", "w4g16", "w4row", "w8row"};
const Row kRows[] = {
    {FormatId::kCompressed, kIntegers, kGrids},
    {FormatId::kGptq, kIntegers, kGrids},
    {FormatId::kGptqV2, kIntegers, kGrids},
    {FormatId::kAwq, kIntegers, {"w4g32", "w4row"}, true},
    {FormatId::kBitsandbytes, kRounded, {"nf4", "nf4g64", "nf4g32"}},
    {FormatId::kGguf, kIntegers, {"q4_0", "q8_0"}},
};

// A rule for each module that the format stores, one of `schemes` each.
std::vector<Rule> rules_for(const Model& model, const Row& row, const Way& way,
                            const std::vector<const char*>& schemes) {
  const Format& format = *find_format(row.format);
  std::vector<Rule> rules = {rule("*", Method::kKeep)};
  for (const Module& m : model.modules()) {
    if (!m.can_quantize || m.layer < 0) continue;
    for (const char* scheme : schemes) {
      Rule r = rule(m.name, way.method, scheme);
      const Scheme complete = complete_scheme(format, r.scheme, model.config().dtype, m.cols);
      if (!format.can_store(complete, m.rows, m.cols, false).ok()) continue;
      r.gptq.metric = 2;
      r.transform.kind = way.transform;
      r.transform.grid = 4;
      rules.push_back(r);
      break;
    }
  }
  return rules;
}

std::vector<Rule> rules_for(const Model& model, const Row& row, const Way& way) {
  if (!row.one_scheme) return rules_for(model, row, way, row.schemes);
  std::vector<Rule> best;
  for (const char* scheme : row.schemes) {
    std::vector<Rule> rules = rules_for(model, row, way, {scheme});
    if (rules.size() > best.size()) best = std::move(rules);
  }
  return best;
}

constexpr int64_t kWindow = 8, kTokens = 24;  // of the goldens that have one; more than it holds

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0, size = 0;
  for (size_t i = 0; i < b.size(); i++) {
    sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return a.size() == b.size() ? std::sqrt(sum / size) : INFINITY;
}

// But for the rounding to 16 bits.
void expect_same_weights(const Model& a, const Model& b) {
  for (size_t i = 0; i < a.modules().size(); i++) {
    if (!a.quantized(i)) continue;
    const Matrix x = *a.load_weight(i), y = *b.load_weight(i);
    for (int64_t j = 0; j < x.rows() * x.cols(); j++)
      ASSERT_NEAR(x.data()[j], y.data()[j], 8e-3f * std::fabs(x.data()[j]) + 1e-6f) << a.modules()[i].name;
  }
}

class Families : public testing::TestWithParam<Family> {};

TEST_P(Families, AreWrittenAndReadBack) {
  const Family& family = GetParam();
  const ModelPtr model = golden(family.name, 2);
  ASSERT_NE(model, nullptr);
  const TokenSet tokens = random_tokens(*model, 5, 40);
  const auto& modules = model->modules();
  const auto inside =
      std::count_if(modules.begin(), modules.end(), [](const Module& m) { return m.can_quantize && m.layer >= 0; });
  const std::vector<float> original = logits_of(model, kTokens);
  const TempDir dir;
  std::string line;
  for (const Row& row : kRows) {
    const std::string format(find_format(row.format)->name);
    int stored = 0;
    for (const Way& way : row.ways) {
      SCOPED_TRACE(format + " " + way.name);
      RunOptions options;
      options.format = row.format;
      const std::vector<Rule> rules = rules_for(*model, row, way);
      stored = static_cast<int>(rules.size()) - 1;  // the first keeps the rest
      if (stored == 0) break;
      const ModelPtr memory = run(plan_of(model, rules), &tokens, options);
      ASSERT_NE(memory, nullptr);
      const std::string path = dir / (format + way.name);
      WriteOptions write;
      write.format = row.format;
      const Status saved = save_model(*memory, path, write, nullptr);
      if (row.format == FormatId::kGguf && !family.gguf) {
        expect_failure(saved, Code::kUnsupported, {"gguf"});
        stored = 0;
        break;
      }
      ASSERT_TRUE(saved.ok()) << saved.text();
      const ModelPtr file = open_model(path);
      ASSERT_NE(file, nullptr);
      EXPECT_TRUE(verify_directory(*memory, path, nullptr)->ok());
      const std::vector<float> want = logits_of(memory, kTokens), have = logits_of(file, kTokens);
      if (row.format == FormatId::kGguf) {  // of the rotary base the factors are stored, and windows are not
        EXPECT_LT(distance(logits_of(file, kWindow), logits_of(memory, kWindow)), 1e-6);
      } else if (stored < inside && model->coded(0)) {  // what is kept of FP8 weights is written in 16 bits
        EXPECT_LT(distance(have, want), 5e-3);
      } else {
        EXPECT_TRUE(have == want);
      }
      EXPECT_GT(distance(want, original), 0.02) << "quantizing changed nothing";
      // The same weights without codes, in the checkpoint's type, whose rounding is all that differs.
      WriteOptions plain;
      plain.format = FormatId::kPlain;
      const Status flat = save_model(*memory, path + "-plain", plain, nullptr);
      ASSERT_TRUE(flat.ok()) << flat.text();
      const ModelPtr dense = open_model(path + "-plain");
      ASSERT_NE(dense, nullptr);
      expect_same_weights(*memory, *dense);
      // With experts the rounding may send a token elsewhere.
      if (model->config().moe.experts == 0) {
        EXPECT_LT(distance(logits_of(dense, kTokens), want), 0.02);
      }
      if (way.transform == TransformKind::kNone) continue;
      const RunReport report = report_of(*memory);
      for (const char* words : family.not_rescaled)
        EXPECT_TRUE(std::any_of(report.events.begin(), report.events.end(),
                                [&](const std::string& e) { return e.find(words) != std::string::npos; }))
            << words << " is not in " << dump_json(Json(report.events));
      for (const std::string& event : report.events)
        EXPECT_TRUE(event.find("not rescaled") == std::string::npos || stored < inside ||
                    std::any_of(
                        family.not_rescaled.begin(), family.not_rescaled.end(),
                        [&](const char* words) { return event.find(words) != std::string::npos; }))
            << event;
    }
    line += " | " + (stored == 0        ? std::string("no")
                     : stored == inside ? std::string("all")
                                        : std::to_string(stored) + " of " + std::to_string(inside));
  }
  std::printf("| %s%s |\n", family.name, line.c_str());
}

INSTANTIATE_TEST_SUITE_P(Models, Families, testing::ValuesIn(kFamilies), [](const auto& which) {
  std::string name = which.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace qz
