// Routing against the definition, and a mixture's backward pass against central differences.
#include "model/experts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "model/experts_gradient.h"
#include "unit/model/model_dir.h"

namespace qz {
namespace {

Matrix normal(int64_t rows, int64_t cols, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw;
  Matrix m(rows, cols);
  for (int64_t i = 0; i < rows * cols; ++i) m.data()[i] = draw(random);
  return m;
}

struct Opened {
  ModelPtr model;
  Block block;
};
Opened open(const std::string& golden, Experts experts = Experts::kInMemory) {
  Result<ModelPtr> model = Model::open(make_context(1), kGoldenModels + golden);
  EXPECT_TRUE(model.ok()) << model.status().text();
  Result<Block> block = load_block(**model, 0, experts);
  EXPECT_TRUE(block.ok()) << block.status().text();
  return {*model, std::move(*block)};
}

Matrix mixture(const Opened& o, const Matrix& x) {
  const RoleSink sink = [](Role, MatrixView) { return Status(); };
  MixtureBackward pass(*o.model, o.block, sink, nullptr);
  Matrix y(x.rows(), x.cols());
  EXPECT_TRUE(pass.forward(x.view()).ok());
  EXPECT_TRUE(pass.output(y.data()).ok());
  return y;
}

class Mixture : public testing::TestWithParam<const char*> {};

// d (g . y) / dx along random directions, for tokens whose choice of experts a small step does not change.
TEST_P(Mixture, BackwardEqualsDifferences) {
  const Opened o = open(GetParam());
  const int64_t hidden = o.model->config().hidden;
  Matrix x = normal(24, hidden, 1);
  const Matrix g = normal(24, hidden, 2), direction = normal(24, hidden, 3);
  const RoleSink sink = [](Role, MatrixView) { return Status(); };
  MixtureBackward pass(*o.model, o.block, sink, nullptr);
  ASSERT_TRUE(pass.forward(x.view()).ok());
  Matrix dx(24, hidden);
  ASSERT_TRUE(pass.backward(g.view(), dx.data()).ok());

  constexpr float kStep = 4e-3f;
  const auto moved = [&](float step) {
    Matrix to = x;
    for (int64_t i = 0; i < 24 * hidden; ++i) to.data()[i] += step * direction.data()[i];
    return to;
  };
  const auto chosen = [&](const Matrix& at) {
    Routes routes;
    EXPECT_TRUE(route(*o.model, o.block, at.view(), &routes, nullptr).ok());
    return routes.expert;
  };
  const auto before = chosen(moved(-kStep)), after = chosen(moved(kStep));
  const Matrix y_before = mixture(o, moved(-kStep)), y_after = mixture(o, moved(kStep));
  const auto per_token = static_cast<size_t>(o.model->config().moe.per_token);
  int compared = 0;
  for (int64_t i = 0; i < 24; ++i) {
    const auto row = static_cast<size_t>(i) * per_token;
    if (!std::equal(before.begin() + static_cast<int64_t>(row), before.begin() + static_cast<int64_t>(row + per_token),
                    after.begin() + static_cast<int64_t>(row)))
      continue;
    double found = 0, expected = 0, size = 0;
    for (int64_t j = 0; j < hidden; ++j) {
      found += static_cast<double>(g.row(i)[j]) * (static_cast<double>(y_after.row(i)[j]) - y_before.row(i)[j]);
      expected += static_cast<double>(dx.row(i)[j]) * direction.row(i)[j];
      size += static_cast<double>(dx.row(i)[j]) * dx.row(i)[j];
    }
    EXPECT_NEAR(found / (2 * kStep), expected, 2e-3 * std::sqrt(size * static_cast<double>(hidden))) << "token " << i;
    ++compared;
  }
  EXPECT_GT(compared, 15);
}

// Experts that are read when they are needed give the same bits.
TEST_P(Mixture, OnDemandIsTheSame) {
  const Opened here = open(GetParam()), there = open(GetParam(), Experts::kOnDemand);
  EXPECT_TRUE(there.block.experts.empty());
  const Matrix x = normal(30, here.model->config().hidden, 4);
  const Matrix a = mixture(here, x), b = mixture(there, x);
  for (int64_t i = 0; i < a.rows() * a.cols(); ++i) ASSERT_EQ(a.data()[i], b.data()[i]);
}

INSTANTIATE_TEST_SUITE_P(Models, Mixture, testing::Values("mixtral", "qwen2-moe", "qwen3-moe"), [](const auto& which) {
  std::string name = which.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// The same experts in one tensor: [experts][gate, then up][hidden] and [experts][hidden][width].
TEST(Experts, StackedAreTheSame) {
  ModelDir dir("qwen3-moe");
  const Result<ModelPtr> plain = Model::open(make_context(1), kGoldenModels + "qwen3-moe");
  ASSERT_TRUE(plain.ok());
  for (const std::string layer : {"model.layers.0.mlp.experts.", "model.layers.1.mlp.experts."}) {
    ModelDir::Tensor up{layer + "gate_up_proj", "F16", {4, 64, 64}, ""},
        down{layer + "down_proj", "F16", {4, 64, 32}, ""};
    for (const std::string e : {"0", "1", "2", "3"}) {
      up.bytes += dir.at(layer + e + ".gate_proj.weight").bytes + dir.at(layer + e + ".up_proj.weight").bytes;
      down.bytes += dir.at(layer + e + ".down_proj.weight").bytes;
      for (const char* part : {".gate_proj.weight", ".up_proj.weight", ".down_proj.weight"})
        dir.remove(layer + e + part);
    }
    dir.tensors.push_back(up);
    dir.tensors.push_back(down);
  }
  const Result<ModelPtr> stacked = dir.open();
  ASSERT_TRUE(stacked.ok()) << stacked.status().text();
  for (size_t i = 0; i < (*plain)->modules().size(); ++i) {
    ASSERT_EQ((*plain)->modules()[i].name, (*stacked)->modules()[i].name);
    const auto a = (*plain)->load_weight(i), b = (*stacked)->load_weight(i);
    ASSERT_TRUE(a.ok() && b.ok());
    for (int64_t j = 0; j < a->rows() * a->cols(); ++j) ASSERT_EQ(a->data()[j], b->data()[j]);
  }
  dir.tensors.back().shape = {4, 32, 64};
  expect_failure(dir.open(), Code::kBadFile, {"model.layers.1.mlp.experts.down_proj", "[4, 64, 32]", "[4, 32, 64]"});
}

}  // namespace
}  // namespace qz
