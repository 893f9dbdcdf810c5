// Every module is solved for the inputs that it will see and against the target of both streams: recomputed from whole
// forward passes of the original and of the finished model, stage by stage.
#include "method/gptq.h"
#include "model/gradient.h"
#include "run/pipeline.h"
#include "unit/run/models.h"

namespace qz {
namespace {

constexpr int64_t kSequences = 3, kLength = 40;  // fewer than four sequences: none is held out

// The inputs of one block's stages, and the residual stream before the stages that write to it.
struct Walk {
  Matrix attention, mix, mlp, inner;
  Matrix before_attention, before_mlp;
};

Sequences sequences() {
  Sequences s;
  for (int64_t i = 0; i <= kSequences; i++) s.start.push_back(i * kLength);
  return s;
}

Walk walk(const Model& model, int64_t layer, Matrix* r) {
  const ModelConfig& c = model.config();
  const int64_t n = kSequences * kLength;
  const RopeTable rope = make_rope_table(c, kLength);
  const Block block = std::move(*load_block(model, layer));
  Walk w{Matrix(n, c.hidden), Matrix(n, c.heads * c.head_dim), Matrix(n, c.hidden), Matrix(n, c.intermediate), *r, {}};
  EXPECT_TRUE(attention_input(model, block, r->view(), w.attention.data()).ok());
  EXPECT_TRUE(attention_mix(model, block, rope, sequences(), w.attention.view(), nullptr, w.mix.data()).ok());
  if (c.parallel) {
    EXPECT_TRUE(mlp_input(model, block, r->view(), w.mlp.data()).ok());
  }
  EXPECT_TRUE(attention_output(model, block, w.mix.view(), r->data()).ok());
  w.before_mlp = *r;
  if (!c.parallel) {
    EXPECT_TRUE(mlp_input(model, block, r->view(), w.mlp.data()).ok());
  }
  EXPECT_TRUE(mlp_mix(model, block, w.mlp.view(), w.inner.data()).ok());
  EXPECT_TRUE(mlp_output(model, block, w.mlp.view(), w.inner.view(), r->data()).ok());
  return w;
}

Matrix embedded(const Model& model, const TokenSet& tokens) {
  std::vector<int32_t> ids;
  for (const auto& s : tokens.sequences) ids.insert(ids.end(), s.begin(), s.end());
  Matrix r(static_cast<int64_t>(ids.size()), model.config().hidden);
  const Ends ends = std::move(*Ends::load(model));
  EXPECT_TRUE(ends.embed(model, sequences(), ids.data(), r.data()).ok());
  return r;
}

Matrix product(const Matrix& a, const Matrix& b) {  // a^T b
  Matrix out(a.cols(), b.cols());
  EXPECT_TRUE(gemm_tn(*make_context(1), a.view(), b.view(), 1, false, out.data(), b.cols()).ok());
  return out;
}

Matrix minus(Matrix a, const Matrix& b) {
  for (int64_t i = 0; i < a.rows() * a.cols(); i++) a.data()[i] -= b.data()[i];
  return a;
}

StageStats stats_of(const Matrix& x, const Matrix& original_x, const Matrix& r, const Matrix& original_r) {
  StageStats s;
  s.cols = x.cols();
  s.tokens = x.rows();
  s.h = product(x, x);
  s.drift = product(minus(original_x, x), x);
  if (!r.empty()) s.residual = product(minus(original_r, r), x);
  return s;
}

// Share of codes that the run chose for a module and that come out again here.
double share_equal(const Model& original, const Model& quantized, const std::string& name, const StageStats& stats,
                   const GptqOptions& options, const RowMetric& metric = {}) {
  const size_t i = static_cast<size_t>(original.find_module(name));
  const auto want = *quantized.load_matrix(i);
  const Matrix w = *original.load_weight(i);
  const auto factor = factor_hessian(*make_context(1), stats, options);
  EXPECT_TRUE(factor.ok());
  const auto held = held_out(*make_context(1), w.view(), stats, nullptr);
  EXPECT_TRUE(held.ok());
  const auto solved = gptq(*make_context(1), w.view(), *factor, stats, *held, want->scheme, options, metric, 0);
  EXPECT_TRUE(solved.ok());
  size_t equal = 0;
  for (size_t c = 0; c < want->codes.size(); c++) equal += want->codes[c] == solved->q.codes[c];
  return static_cast<double>(equal) / static_cast<double>(want->codes.size());
}

// The engine without fast products: what is compared must not round its factors, or near ties fall either way.
class Exactly : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(force_gemm_engine("ref")); }
  void TearDown() override { force_gemm_engine(""); }
};
class Stages : public Exactly, public testing::WithParamInterface<const char*> {};

TEST_P(Stages, AreThoseOfWholeForwardPasses) {
  const ModelPtr original = golden(GetParam(), 2);
  const TokenSet tokens = random_tokens(*original, kSequences, kLength);
  const std::string name = GetParam();
  Rule all = rule("*", Method::kGptq, name == "phi3-fused" ? "w4row" : "w4g16");  // 72 columns are no groups of 16
  all.gptq.drift = 1;
  all.gptq.residual = 0.7;
  all.gptq.metric = 0;
  // A coarse first block: what comes after it sees other inputs than in the original.
  const ModelPtr quantized = run(plan_of(original, {all, rule("*.0.*", Method::kRtn, "w2row")}), &tokens, {});
  ASSERT_NE(quantized, nullptr);

  Matrix r = embedded(*original, tokens), r_original = r;
  walk(*quantized, 0, &r);
  walk(*original, 0, &r_original);
  const Walk q = walk(*quantized, 1, &r), o = walk(*original, 1, &r_original);
  // What goes through another norm before it is added cannot make up for an error in the stream.
  const bool direct = original->arch().attn_post_norm.empty();
  for (const Module& m : original->modules()) {
    if (m.layer != 1) continue;
    StageStats stats;
    if (m.role <= Role::kQkv)
      stats = stats_of(q.attention, o.attention, {}, {});
    else if (m.role == Role::kO)
      stats = stats_of(q.mix, o.mix, direct ? q.before_attention : Matrix(), o.before_attention);
    else if (m.role == Role::kDown)
      stats = stats_of(q.inner, o.inner, direct ? q.before_mlp : Matrix(), o.before_mlp);
    else
      stats = stats_of(q.mlp, o.mlp, {}, {});
    EXPECT_GE(share_equal(*original, *quantized, m.name, stats, all.gptq), 0.999) << m.name;
    // The streams are far enough apart for this to mean something.
    StageStats one = stats;
    one.drift = one.residual = Matrix();
    EXPECT_LT(share_equal(*original, *quantized, m.name, one, all.gptq), 0.99) << m.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Stages,
                         testing::Values("llama-128", "opt-pre-ln", "opt-350m-style", "mistral-sliding", "bloom",
                                         "falcon-7b-style", "falcon-40b-style", "gpt2", "phi3-fused", "gemma2"),
                         [](const auto& which) {
                           std::string name = which.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_F(Exactly, TheHeadSeesTheFinishedBlocks) {
  const ModelPtr original = golden("llama-128", 2);
  const TokenSet tokens = random_tokens(*original, kSequences, kLength);
  Rule head = rule("lm_head", Method::kGptq, "w4g16");
  head.gptq.drift = 1;
  head.gptq.residual = 0;
  const ModelPtr quantized = run(plan_of(original, {rule("*", Method::kRtn, "w2g32"), head}), &tokens, {});
  ASSERT_NE(quantized, nullptr);
  Matrix r = embedded(*original, tokens), r_original = r, x(r.rows(), 128), x_original = x;
  for (int64_t layer = 0; layer < 2; layer++) {
    walk(*quantized, layer, &r);
    walk(*original, layer, &r_original);
  }
  const Ends ends = std::move(*Ends::load(*original));
  ASSERT_TRUE(ends.head_input(*original, r.view(), x.data()).ok());
  ASSERT_TRUE(ends.head_input(*original, r_original.view(), x_original.data()).ok());
  EXPECT_GE(share_equal(*original, *quantized, "lm_head", stats_of(x, x_original, {}, {}), head.gptq), 0.999);
}

TEST_F(Exactly, TheOutputMetricIsTheOriginalsGradients) {
  const ModelPtr original = golden("llama-128", 2);
  const TokenSet tokens = random_tokens(*original, kSequences, kLength);
  Rule all = rule("*", Method::kGptq, "w3g32");
  all.gptq.drift = all.gptq.residual = 0;
  all.gptq.metric = kSequences;
  RunOptions options;
  options.seed = 5;
  const ModelPtr quantized = run(plan_of(original, {all}), &tokens, options);
  ASSERT_NE(quantized, nullptr);
  const auto metrics = output_metrics(*original, tokens.sequences, 1024, 5, nullptr);
  ASSERT_TRUE(metrics.ok());
  Matrix r = embedded(*original, tokens);
  const Walk q = walk(*quantized, 0, &r);
  const std::string name = "model.layers.0.mlp.up_proj";
  const size_t i = static_cast<size_t>(original->find_module(name));
  const auto metric = make_row_metric(*make_context(1), (*metrics)[i].g.view(), all.gptq.metric_ridge);
  ASSERT_TRUE(metric.ok());
  const StageStats stats = stats_of(q.mlp, q.mlp, {}, {});
  EXPECT_GE(share_equal(*original, *quantized, name, stats, all.gptq, *metric), 0.999);
  EXPECT_LT(share_equal(*original, *quantized, name, stats, all.gptq), 0.95);
  // Another seed draws other labels.
  options.seed = 6;
  EXPECT_NE(matrix_hashes(*run(plan_of(original, {all}), &tokens, options)), matrix_hashes(*quantized));
}

// Modules that read one input may be solved with different levers: each gets its own factor.
TEST_F(Exactly, ModulesOfOneStageMayDiffer) {
  const ModelPtr model = golden("llama-128", 2);
  const TokenSet tokens = random_tokens(*model, 4, 24);
  auto hash_of_k = [&](const std::vector<Rule>& rules) {
    return matrix_hashes(*run(plan_of(model, rules), &tokens, {}))["model.layers.0.self_attn.k_proj"];
  };
  Rule all = rule("*", Method::kGptq), damped = all, natural = all;
  damped.gptq.damp = 0.5;
  natural.gptq.order = Order::kNone;
  const std::string plain = hash_of_k({all});
  for (Rule other : {damped, natural}) {
    const std::string everywhere = hash_of_k({other});
    EXPECT_NE(everywhere, plain);
    other.glob = "*k_proj";
    EXPECT_EQ(hash_of_k({all, other}), everywhere);
  }
}

}  // namespace
}  // namespace qz
