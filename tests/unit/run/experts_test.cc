// Experts are solved from the tokens that reach them: counts against the router, codes against statistics made here
// from whole forward passes.
#include "model/experts.h"
#include "method/gptq.h"
#include "unit/run/models.h"

namespace qz {
namespace {

constexpr int64_t kSequences = 3, kLength = 60;  // fewer than four sequences: none is held out

Sequences sequences() {
  Sequences s;
  for (int64_t i = 0; i <= kSequences; i++) s.start.push_back(i * kLength);
  return s;
}

// What the MLP of block 0 reads.
Matrix mlp_reads(const Model& model, const TokenSet& tokens) {
  std::vector<int32_t> ids;
  for (const auto& s : tokens.sequences) ids.insert(ids.end(), s.begin(), s.end());
  const int64_t n = kSequences * kLength, hidden = model.config().hidden;
  const Ends ends = std::move(*Ends::load(model));
  const Block block = std::move(*load_block(model, 0));
  Matrix r(n, hidden), x(n, hidden), a(n, block.o.cols);
  EXPECT_TRUE(ends.embed(model, sequences(), ids.data(), r.data()).ok());
  const RopeTable rope = make_rope_table(model.config(), kLength);
  EXPECT_TRUE(attention_input(model, block, r.view(), x.data()).ok());
  EXPECT_TRUE(attention_mix(model, block, rope, sequences(), x.view(), nullptr, a.data()).ok());
  EXPECT_TRUE(attention_output(model, block, a.view(), r.data()).ok());
  EXPECT_TRUE(mlp_input(model, block, r.view(), x.data()).ok());
  return x;
}

Matrix rows_of(const Matrix& x, const std::vector<int64_t>& rows) {
  Matrix out(static_cast<int64_t>(rows.size()), x.cols());
  gather_rows(x.view(), rows.data(), out.rows(), out.data());
  return out;
}

Matrix product(const Matrix& a, const Matrix& b) {  // a^T b
  Matrix out(a.cols(), b.cols());
  EXPECT_TRUE(gemm_tn(*make_context(1), a.view(), b.view(), 1, false, out.data(), b.cols()).ok());
  return out;
}

StageStats stats_of(const Matrix& x, Matrix original) {
  StageStats s;
  s.cols = x.cols();
  s.tokens = x.rows();
  s.h = product(x, x);
  for (int64_t i = 0; i < x.rows() * x.cols(); i++) original.data()[i] -= x.data()[i];
  s.drift = product(original, x);
  return s;
}

double share_equal(const Model& original, const Model& quantized, const std::string& name, const StageStats& stats,
                   const GptqOptions& options) {
  const auto i = static_cast<size_t>(original.find_module(name));
  const auto want = *quantized.load_matrix(i);
  const Matrix w = *original.load_weight(i);
  const auto factor = factor_hessian(*make_context(1), stats, options);
  EXPECT_TRUE(factor.ok());
  const auto held = held_out(*make_context(1), w.view(), stats, nullptr);
  EXPECT_TRUE(held.ok());
  const auto solved = gptq(*make_context(1), w.view(), *factor, stats, *held, want->scheme, options, {}, 0);
  EXPECT_TRUE(solved.ok());
  size_t equal = 0;
  for (size_t c = 0; c < want->codes.size(); c++) equal += want->codes[c] == solved->q.codes[c];
  return static_cast<double>(equal) / static_cast<double>(want->codes.size());
}

struct Solved {
  ModelPtr original, quantized;
  Matrix x, x_original;
  std::vector<Share> all;
  Routes routes;
  GptqOptions options;
};

Solved solve(const std::string& name) {
  Solved s;
  s.original = golden(name, 2);
  const TokenSet tokens = random_tokens(*s.original, kSequences, kLength);
  Rule rule_all = rule("*", Method::kGptq, "w4g16");
  rule_all.gptq.drift = 1;
  rule_all.gptq.residual = 0;
  rule_all.gptq.metric = 0;
  s.options = rule_all.gptq;
  s.quantized = run(plan_of(s.original, {rule_all, rule("*self_attn*", Method::kRtn, "w2row")}), &tokens, {});
  s.x = mlp_reads(*s.quantized, tokens), s.x_original = mlp_reads(*s.original, tokens);
  const Block block = std::move(*load_block(*s.quantized, 0, Experts::kOnDemand));
  EXPECT_TRUE(route(*s.quantized, block, s.x.view(), &s.routes, nullptr).ok());
  s.all = shares(s.routes, s.original->config().moe.experts);
  return s;
}

// The engine without fast products: what is compared must not round its factors, or near ties fall either way.
class SolvedExperts : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(force_gemm_engine("ref")); }
  void TearDown() override { force_gemm_engine(""); }
};

TEST_F(SolvedExperts, AreSolvedFromTheTokensThatReachThem) {
  const Solved s = solve("qwen3-moe");
  const RunReport report = report_of(*s.quantized);
  int compared = 0;
  for (int64_t e = 0; e < 4; e++) {
    const std::vector<int64_t>& rows = s.all[static_cast<size_t>(e)].rows;
    const std::string prefix = "model.layers.0.mlp.experts." + std::to_string(e) + ".";
    for (const ModuleReport& m : report.modules) {
      const auto routed = static_cast<int64_t>(rows.size());
      EXPECT_TRUE(m.name.rfind(prefix, 0) != 0 || m.routed == routed) << m.name;
      EXPECT_TRUE(m.name.find("self_attn") == std::string::npos || m.routed == -1) << m.name;
    }
    if (rows.size() < 64) continue;  // gets more tokens: the next test
    ++compared;
    const Matrix x = rows_of(s.x, rows), o = rows_of(s.x_original, rows);
    const StageStats in = stats_of(x, o);
    for (const char* part : {"gate_proj", "up_proj"})
      EXPECT_GE(share_equal(*s.original, *s.quantized, prefix + part, in, s.options), 0.999) << prefix << part;
    const Feed feed = std::move(*load_expert(*s.quantized, 0, e)),
               feed_original = std::move(*load_expert(*s.original, 0, e));
    Matrix m(x.rows(), feed.down.cols), mo(x.rows(), feed.down.cols);
    EXPECT_TRUE(feed_mix(*s.quantized, feed, x.view(), m.data()).ok());
    EXPECT_TRUE(feed_mix(*s.original, feed_original, o.view(), mo.data()).ok());
    EXPECT_GE(share_equal(*s.original, *s.quantized, prefix + "down_proj", stats_of(m, mo), s.options), 0.999);
    // Other tokens would give other codes.
    StageStats others = stats_of(rows_of(s.x, s.all[static_cast<size_t>((e + 1) % 4)].rows),
                                 rows_of(s.x_original, s.all[static_cast<size_t>((e + 1) % 4)].rows));
    EXPECT_LT(share_equal(*s.original, *s.quantized, prefix + "gate_proj", others, s.options), 0.99);
  }
  EXPECT_GE(compared, 2);
}

// An expert that few tokens reach is solved with those added for which its score is highest, and the report says so.
TEST_F(SolvedExperts, GetMoreTokensWhereFewReachThem) {
  const std::string name = "mixtral";
  const ModelPtr original = golden(name, 2);
  TokenSet tokens;
  for (int i = 0; i < 3; i++)
    tokens.sequences.push_back({5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21});
  const ModelPtr quantized = run(plan_of(original, {rule("*", Method::kGptq, "w4g16")}), &tokens, {});
  ASSERT_NE(quantized, nullptr);
  const RunReport report = report_of(*quantized);
  bool told = false;
  for (const std::string& event : report.events)
    told = told || event.find("4 of 4 experts are reached by fewer than 51 calibration tokens") != std::string::npos;
  EXPECT_TRUE(told) << dump_json(Json(report.events));
  for (const ModuleReport& m : report.modules) {
    if (m.routed < 0) continue;
    EXPECT_LT(m.routed, 51);
    EXPECT_EQ(m.tokens, 51u) << m.name;  // all there are, and fewer than the 64 columns
  }
}

}  // namespace
}  // namespace qz
