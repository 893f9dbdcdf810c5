// The backward pass against central differences of the loss, taken through the forward pass of block.h that shares
// nothing with it but the products.
#include "model/gradient.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/random.h"
#include "model/block.h"
#include "model/label_gradient.h"
#include "model/latent.h"
#include "unit/model/goldens.h"

namespace qz {
namespace {

using Ids = std::vector<std::vector<int32_t>>;

// The golden's files with its ReLU replaced by another activation, or with all experts chosen ("all"): differences need
// a smooth function. Deletes itself.
std::shared_ptr<const std::string> make_smooth(const std::string& golden, const std::string& activation) {
  const std::string dir =
      testing::TempDir() + "qz-" + golden.substr(golden.rfind('/') + 1) + activation + "-" + std::to_string(getpid());
  std::filesystem::copy(golden, dir);
  std::stringstream text;
  text << std::ifstream(golden + "/config.json").rdbuf();
  std::string config = text.str();
  const auto replace = [&config](const std::string& old, const std::string& by) {
    if (const size_t at = config.find(old); at != std::string::npos) config.replace(at, old.size(), by);
  };
  if (activation == "all") {
    replace("\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 4");
    replace("\"num_experts_per_tok\": 3", "\"num_experts_per_tok\": 8");
    replace("\"n_group\": 4", "\"n_group\": 1");
    replace("\"topk_group\": 2", "\"topk_group\": 1");
  } else {
    replace("\"relu\"", "\"" + activation + "\"");
  }
  std::filesystem::remove(dir + "/config.json");
  std::ofstream(dir + "/config.json") << config;
  return {new std::string(dir), [](const std::string* d) {
            std::filesystem::remove_all(*d);
            delete d;
          }};
}

struct Case {
  std::shared_ptr<const std::string> temporary;  // directory; may be null
  ModelPtr model;
  Ids ids, labels;
  Sequences sequences;
  std::vector<int32_t> all_ids, all_labels;
};

// A long sequence of the golden's tokens (several blocks of queries where the model allows it) and a short one, with
// labels from nowhere. name: "golden" or "golden:activation".
Case open_case(const std::string& name) {
  Case c;
  std::string dir = kGoldenModels + name.substr(0, name.find(':'));
  if (const size_t colon = name.find(':'); colon != std::string::npos) {
    c.temporary = make_smooth(dir, name.substr(colon + 1));
    dir = *c.temporary;
  }
  Result<ModelPtr> model = Model::open(make_context(1), dir);
  EXPECT_TRUE(model.ok()) << model.status().text();
  c.model = *model;
  const Npy<int32_t> tokens = read_npy<int32_t>(dir + "/tokens.npy");
  const auto vocab = static_cast<double>(c.model->config().vocab);
  c.sequences.start = {0};
  for (int64_t s = 0; s < 2; ++s) {
    c.ids.emplace_back();
    const int64_t length = s == 0 ? std::min<int64_t>(c.model->config().max_seq, 96) : 17;
    for (int64_t t = 0; t < length; ++t) {
      c.ids.back().push_back(tokens.data[static_cast<size_t>(s * 5 + t) % tokens.data.size()]);
    }
    c.labels.emplace_back();
    for (size_t t = 0; t < c.ids.back().size(); ++t) {
      c.labels.back().push_back(static_cast<int32_t>(uniform(99, static_cast<uint64_t>(s), t) * vocab));
    }
    c.sequences.start.push_back(c.sequences.start.back() + static_cast<int64_t>(c.ids.back().size()));
    c.all_ids.insert(c.all_ids.end(), c.ids.back().begin(), c.ids.back().end());
    c.all_labels.insert(c.all_labels.end(), c.labels.back().begin(), c.labels.back().end());
  }
  return c;
}

Matrix copy(MatrixView m) {
  Matrix out(m.rows, m.cols);
  for (int64_t i = 0; i < m.rows; ++i) std::copy_n(m.row(i), m.cols, out.row(i));
  return out;
}

// All gradients, by module.
std::vector<Matrix> gradients(const Case& c, const Ids& labels, uint64_t seed = 0) {
  std::vector<Matrix> all(c.model->modules().size());
  const auto keep = [&](size_t module, MatrixView g) -> Status {
    EXPECT_TRUE(all[module].empty());
    all[module] = copy(g);
    return {};
  };
  const Status status = module_gradients(*c.model, c.ids, labels, seed, keep, nullptr);
  EXPECT_TRUE(status.ok()) << status.text();
  return all;
}

// The whole model in memory, so that single weights can be moved.
class Loss {
 public:
  explicit Loss(const Case& c) : case_(c), ends_(*Ends::load(*c.model)) {
    rope_ = make_rope_table(c.model->config(), c.model->config().max_seq);
    for (int64_t layer = 0; layer < c.model->config().layers; ++layer) blocks_.push_back(*load_block(*c.model, layer));
  }

  Linear& linear(const Module& m) { return blocks_[static_cast<size_t>(m.layer)].at(m.role); }

  // Sum of log p(label). inputs: where not null, becomes what `module` reads.
  double operator()(const Module* module = nullptr, Matrix* input = nullptr) {
    const Model& model = *case_.model;
    const ModelConfig& config = model.config();
    const int64_t rows = case_.sequences.rows();
    Matrix r(rows, config.hidden);
    check(ends_.embed(model, case_.sequences, case_.all_ids.data(), r.data()));
    for (const Block& block : blocks_) {
      Matrix x(rows, config.hidden), a(rows, block.o.cols), y(rows, config.hidden), m(rows, block.mlp.down.cols);
      check(attention_input(model, block, r.view(), x.data()));
      check(attention_mix(model, block, rope_, case_.sequences, x.view(), nullptr, a.data()));
      const bool parallel = config.parallel;
      if (parallel) check(mlp_input(model, block, r.view(), y.data()));
      check(attention_output(model, block, a.view(), r.data()));
      if (!parallel) check(mlp_input(model, block, r.view(), y.data()));
      if (m.cols() > 0) check(mlp_mix(model, block, y.view(), m.data()));
      check(mlp_output(model, block, y.view(), m.view(), r.data()));
      if (input == nullptr || module->layer != block.layer) continue;
      if (module->role == Role::kQB || module->role == Role::kKvB) {
        *input = Matrix(rows, module->cols);
        check(latent_input(model, block, module->role, x.view(), input->data(), nullptr));
        continue;
      }
      const bool is_attention = module->role <= Role::kKvA;
      *input = module->role == Role::kDown ? m : module->role == Role::kO ? a : is_attention ? x : y;
    }
    Matrix logits(rows, config.vocab);
    check(ends_.logits(model, r.view(), logits.data()));
    double sum = 0;
    for (int64_t i = 0; i < rows; ++i) {
      const float* row = logits.row(i);
      double total = 0;
      for (int64_t v = 0; v < config.vocab; ++v) total += std::exp(static_cast<double>(row[v]));
      sum += static_cast<double>(row[case_.all_labels[static_cast<size_t>(i)]]) - std::log(total);
    }
    return sum;
  }

 private:
  static void check(const Status& status) { ASSERT_TRUE(status.ok()) << status.text(); }

  const Case& case_;
  Ends ends_;
  RopeTable rope_;
  std::vector<Block> blocks_;
};

// d loss / d step where move(step) changes the model; fourth-order central differences.
template <class Move>
double slope(Loss* loss, double step, const Move& move) {
  const auto at = [&](double s) {
    move(static_cast<float>(s));
    return (*loss)();
  };
  const double near = at(step) - at(-step), far = at(2 * step) - at(-2 * step);
  move(0.0f);
  return (8 * near - far) / (12 * step);
}

class Gradient : public testing::TestWithParam<const char*> {};

// Routers and experts have no output metric.
bool shown(const Module& module) {
  return module.expert < 0 && module.role != Role::kRouter && module.role != Role::kSharedScale;
}

// A step across a kink of ReLU spoils the difference, whatever the gradient: smaller steps, more noise, a wide margin.
bool kinks(const Case& c) { return c.model->config().activation == Activation::kRelu; }
double tolerance(const Case& c) { return kinks(c) ? 5e-2 : 1e-3; }
// OPT-350m's norms after the additions leave gradients that are small beside the noise.
double step_size(const Case& c) { return kinks(c) ? 2e-3 : c.model->config().norm_first ? 8e-3 : 1.6e-2; }
constexpr double kNoise = 3e-4;  // of a loss near 500 from float32 logits, over such a step

// A bias b added to a module's output: d loss / d b = sum over tokens of g.
TEST_P(Gradient, SumsToThatOfABias) {
  const Case c = open_case(GetParam());
  const std::vector<Matrix> all = gradients(c, c.labels);
  Loss loss(c);
  double worst = 0;
  for (size_t i = 0; i + 1 < all.size(); ++i) {
    const Module& module = c.model->modules()[i];
    if (!shown(module)) {
      EXPECT_TRUE(all[i].empty()) << module.name;
      continue;
    }
    ASSERT_EQ(all[i].rows(), c.sequences.rows()) << module.name;
    ASSERT_EQ(all[i].cols(), module.rows) << module.name;
    std::vector<double> sum(static_cast<size_t>(module.rows));
    double norm = 0, scale = 0;  // of the sum; of the tokens, which nearly cancel at k without rotation
    for (int64_t r = 0; r < module.rows; ++r) {
      for (int64_t t = 0; t < all[i].rows(); ++t) {
        const auto g = static_cast<double>(all[i].row(t)[r]);
        sum[static_cast<size_t>(r)] += g;
        scale += g * g;
      }
      norm += sum[static_cast<size_t>(r)] * sum[static_cast<size_t>(r)];
    }
    norm = std::sqrt(norm), scale = std::sqrt(scale);
    Linear& linear = loss.linear(module);
    std::vector<float> bias = linear.bias;
    bias.resize(static_cast<size_t>(module.rows));
    const double along = slope(&loss, step_size(c), [&](float step) {
      linear.bias = bias;
      for (size_t r = 0; r < sum.size(); ++r) linear.bias[r] += step * static_cast<float>(sum[r] / norm);
    });
    EXPECT_NEAR(along, norm, tolerance(c) * scale + kNoise) << module.name << " along the gradient";
    worst = std::max(worst, std::abs(along - norm) / scale);
    for (size_t r = 1; r < sum.size(); r += sum.size() / 3) {
      const double one = slope(&loss, step_size(c), [&](float step) {
        linear.bias = bias;
        linear.bias[r] += step;
      });
      EXPECT_NEAR(one, sum[r], tolerance(c) * scale + kNoise) << module.name << " row " << r;
      worst = std::max(worst, std::abs(one - sum[r]) / scale);
    }
  }
  RecordProperty("largest_relative_error", std::to_string(worst));
}

// A weight W: d loss / d W = sum over tokens of g x^T. Directions g_s x_s^T weigh the tokens apart.
TEST_P(Gradient, TokensEqualThoseOfAWeight) {
  const Case c = open_case(GetParam());
  const std::vector<Matrix> all = gradients(c, c.labels);
  Loss loss(c);
  double worst = 0;
  for (size_t i = 0; i + 1 < all.size(); ++i) {
    const Module& module = c.model->modules()[i];
    if (!shown(module)) continue;
    Matrix x;
    loss(&module, &x);
    const Matrix& g = all[i];
    const auto dot = [](const Matrix& m, int64_t a, int64_t b) {
      double sum = 0;
      for (int64_t j = 0; j < m.cols(); ++j) sum += static_cast<double>(m.row(a)[j]) * static_cast<double>(m.row(b)[j]);
      return sum;
    };
    Linear& linear = loss.linear(module);
    const Matrix weight = linear.to_f32();
    const int64_t second = c.sequences.start[1];  // its first token has no gradient at q and k
    for (const int64_t s : {int64_t{2}, second / 2, second - 1, second + 1, second + 16}) {
      const double size = std::sqrt(dot(g, s, s) * dot(x, s, s));
      double expected = 0, scale = 0;
      for (int64_t t = 0; t < g.rows(); ++t) {
        expected += dot(g, s, t) * dot(x, s, t) / size;
        scale += std::abs(dot(g, s, t) * dot(x, s, t)) / size;
      }
      const double found = slope(&loss, step_size(c), [&](float step) {
        Matrix moved = weight;
        for (int64_t r = 0; r < moved.rows(); ++r) {
          const float factor = step * g.row(s)[r] / static_cast<float>(size);
          for (int64_t j = 0; j < moved.cols(); ++j) moved.row(r)[j] += factor * x.row(s)[j];
        }
        linear.set_f32(std::move(moved));
      });
      EXPECT_NEAR(found, expected, tolerance(c) * scale + kNoise) << module.name << " token " << s;
      worst = std::max(worst, std::abs(found - expected) / scale);
    }
  }
  RecordProperty("largest_relative_error", std::to_string(worst));
}

TEST_P(Gradient, MetricIsTheMeanOfItsSquares) {
  const Case c = open_case(GetParam());
  const std::vector<Matrix> all = gradients(c, {}, 5);
  for (const int64_t block : {20, 1000}) {
    const Result<std::vector<OutputMetric>> metrics = output_metrics(*c.model, c.ids, block, 5, nullptr);
    ASSERT_TRUE(metrics.ok()) << metrics.status().text();
    ASSERT_EQ((*metrics).size(), all.size());
    EXPECT_TRUE((*metrics).back().g.empty()) << "the head has none";
    for (size_t i = 0; i + 1 < all.size(); ++i) {
      const OutputMetric& metric = (*metrics)[i];
      if (!shown(c.model->modules()[i])) {
        EXPECT_TRUE(metric.g.empty());
        continue;
      }
      const int64_t rows = c.model->modules()[i].rows, width = std::min(block, rows);
      ASSERT_EQ(metric.rows, rows);
      ASSERT_EQ(metric.block, width);
      ASSERT_EQ(metric.g.rows(), rows);
      ASSERT_EQ(metric.g.cols(), width);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t j = 0; j < width; ++j) {
          const int64_t other = r / width * width + j;
          double mean = 0, size = 0;
          for (int64_t t = 0; other < rows && t < all[i].rows(); ++t) {
            const double product = static_cast<double>(all[i].row(t)[r]) * static_cast<double>(all[i].row(t)[other]);
            mean += product / static_cast<double>(all[i].rows());
            size += std::abs(product) / static_cast<double>(all[i].rows());
          }
          ASSERT_NEAR(static_cast<double>(metric.g.row(r)[j]), mean, 1e-5 * size) << i << ": " << r << ", " << other;
        }
      }
    }
  }
}

TEST_P(Gradient, SameBitsForAnyNumberOfThreads) {
  const Case one = open_case(GetParam());
  Case three = one;
  three.model = *Model::open(make_context(3), one.model->checkpoint()->dir());
  const Result<std::vector<OutputMetric>> a = output_metrics(*one.model, one.ids, 32, 1, nullptr);
  const Result<std::vector<OutputMetric>> b = output_metrics(*three.model, three.ids, 32, 1, nullptr);
  ASSERT_TRUE(a.ok() && b.ok());
  for (size_t i = 0; i + 1 < (*a).size(); ++i) {
    const Matrix &left = (*a)[i].g, &right = (*b)[i].g;
    ASSERT_EQ(left.rows() * left.cols(), right.rows() * right.cols());
    EXPECT_EQ(std::memcmp(left.data(), right.data(), sizeof(float) * static_cast<size_t>(left.rows() * left.cols())), 0)
        << one.model->modules()[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Gradient,
                         testing::Values("llama-tied", "llama3-rope-gqa", "qwen3-qknorm", "mistral-sliding",
                                         "opt-pre-ln", "opt-pre-ln:gelu", "opt-350m-style", "opt-350m-style:gelu_new",
                                         "qwen2-bias-2shards", "bloom", "falcon-7b-style", "falcon-40b-style", "gpt2",
                                         "phi3-fused", "gemma2", "mixtral:all", "qwen2-moe:all", "qwen3-moe:all",
                                         "gemma3", "gpt-neox-sequential", "glm4", "falcon-rw", "bloom-residual-normed",
                                         "deepseek-v2:all", "deepseek-v2-lite:all", "deepseek-v3:all"),
                         [](const auto& model) {
                           std::string name = model.param;
                           std::replace_if(
                               name.begin(), name.end(), [](char ch) { return ch == '-' || ch == ':'; }, '_');
                           return name;
                         });

// The gradient of log p has mean zero under p itself, and only there: over n drawings, |mean|^2 is about mean |.|^2 /
// n.
TEST(Labels, FollowTheModel) {
  const Case c = open_case("llama-tied");
  constexpr int kDrawings = 100;
  std::vector<double> mean;
  double square = 0;
  for (uint64_t seed = 0; seed < kDrawings; ++seed) {
    const Matrix g = gradients(c, {}, seed)[6];  // down of the first block
    mean.resize(static_cast<size_t>(g.rows() * g.cols()));
    for (size_t j = 0; j < mean.size(); ++j) {
      const auto v = static_cast<double>(g.data()[j]);
      mean[j] += v / kDrawings;
      square += v * v / kDrawings;
    }
  }
  double of_mean = 0;
  for (const double v : mean) of_mean += v * v;
  EXPECT_GT(of_mean * kDrawings / square, 0.5);
  EXPECT_LT(of_mean * kDrawings / square, 2.0);
}

TEST(Labels, AreDrawnByCumulatedProbability) {
  const float p[] = {0.125f, 0.0f, 0.5f, 0.375f};
  EXPECT_EQ(draw_label(p, 4, 0.0), 0);
  EXPECT_EQ(draw_label(p, 4, 0.124), 0);
  EXPECT_EQ(draw_label(p, 4, 0.125), 2);  // never the impossible one
  EXPECT_EQ(draw_label(p, 4, 0.624), 2);
  EXPECT_EQ(draw_label(p, 4, 0.626), 3);
  EXPECT_EQ(draw_label(p, 4, std::nextafter(1.0, 0.0)), 3);
  const float bad[] = {0.5f, NAN};
  EXPECT_EQ(draw_label(bad, 2, 0.1), -1);
}

TEST(Labels, DifferByPositionAndSequence) {
  // SplitMix64 from state 0, the published first outputs.
  EXPECT_EQ(splitmix64(0), 0xE220A8397B1DCDAFu);
  EXPECT_EQ(splitmix64(0x9E3779B97F4A7C15u), 0x6E789E6AA1B965F4u);
  EXPECT_NE(uniform(0, 0, 1), uniform(0, 1, 0));
  double sum = 0, square = 0;
  for (uint64_t i = 0; i < 10000; ++i) {
    const double u = uniform(3, 1, i);
    ASSERT_TRUE(u >= 0 && u < 1);
    sum += u, square += u * u;
  }
  EXPECT_NEAR(sum / 1e4, 1.0 / 2, 0.012);  // four standard errors
  EXPECT_NEAR(square / 1e4, 1.0 / 3, 0.012);
}

TEST(GradientErrors, NameWhatIsWrong) {
  const Case c = open_case("llama-tied");
  const auto text = [&](const Ids& ids, const Ids& labels) {
    const auto ignore = [](size_t, MatrixView) { return Status(); };
    return module_gradients(*c.model, ids, labels, 0, ignore, nullptr).text();
  };
  EXPECT_NE(text({}, {}).find("no token sequences"), std::string::npos);
  EXPECT_NE(text({{1}, {}}, {}).find("sequence 1 has 0 tokens"), std::string::npos);
  const std::vector<int32_t> endless(static_cast<size_t>(c.model->config().max_seq) + 1);
  EXPECT_NE(text({endless}, {}).find("sequence 0"), std::string::npos);
  EXPECT_NE(text({{1, 2}}, {{1}}).find("1 labels"), std::string::npos);
  EXPECT_NE(text({{1, 2}}, {{1, 100000}}).find("position 1: label 100000"), std::string::npos);
  EXPECT_NE(text({{1, -2}}, {}).find("-2"), std::string::npos);
  EXPECT_EQ(output_metrics(*c.model, c.ids, 0, 0, nullptr).status().code(), Code::kInvalidArgument);
  const auto stop = [](size_t, MatrixView) { return error(Code::kCancelled, "enough"); };
  EXPECT_EQ(module_gradients(*c.model, c.ids, {}, 0, stop, nullptr).code(), Code::kCancelled);
}

}  // namespace
}  // namespace qz
