// Sessions: room, bad input, independence of batch and threads.
#include "model/session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "unit/model/model_dir.h"

namespace qz {
namespace {

ModelPtr open_golden(const std::string& name, int32_t threads = 1) {
  Result<ModelPtr> model = Model::open(make_context(threads), kGoldenModels + name);
  if (!model.ok()) ADD_FAILURE() << model.status().text();
  return *model;
}

std::vector<int32_t> some_ids(size_t n, int32_t vocab) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>(i * 37 + 11) % vocab);
  return ids;
}

void expect_status(const Status& status, const std::vector<std::string>& words) {
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  for (const std::string& word : words) EXPECT_NE(status.text().find(word), std::string::npos) << status.text();
}

TEST(Session, RefusesOverflow) {
  auto session = Session::create(open_golden("llama-tied"), 10);
  ASSERT_TRUE(session.ok());
  std::vector<float> logits(256);
  const std::vector<int32_t> ids = some_ids(11, 256);
  expect_status((*session)->step(ids.data(), 11, false, logits.data()), {"11 tokens", "0 of 10"});
  expect_status((*session)->step(ids.data(), 0, false, logits.data()), {"0 tokens"});
  ASSERT_TRUE((*session)->step(ids.data(), 9, false, logits.data()).ok());
  EXPECT_EQ((*session)->position(), 9);
  expect_status((*session)->step(ids.data(), 2, false, logits.data()), {"2 tokens", "9 of 10"});
  ASSERT_TRUE((*session)->step(ids.data(), 1, false, nullptr).ok());
  (*session)->reset();
  EXPECT_TRUE((*session)->step(ids.data(), 10, false, logits.data()).ok());
}

TEST(Session, RefusesBadTokens) {
  auto session = Session::create(open_golden("llama-tied"), 10, 2);
  ASSERT_TRUE(session.ok());
  std::vector<float> logits(2 * 256);
  const int32_t fine[] = {0, 255};
  ASSERT_TRUE((*session)->step(fine, 1, false, logits.data()).ok());
  const int32_t large[] = {1, 2, 3, 256}, negative[] = {-1, 2, 3, 4};
  expect_status((*session)->step(large, 2, false, logits.data()), {"sequence 1, position 2", "id 256", "of 256"});
  expect_status((*session)->step(negative, 2, false, logits.data()), {"sequence 0, position 1", "id -1"});
  EXPECT_EQ((*session)->position(), 1);
}

TEST(Session, RefusesMoreThanTheLearnedPositions) {
  EXPECT_TRUE(Session::create(open_golden("opt-pre-ln"), 64).ok());
  expect_failure(Session::create(open_golden("opt-pre-ln"), 65), Code::kInvalidArgument,
                 {"65", "64 learned positions"});
  expect_failure(Session::create(open_golden("llama-tied"), -1), Code::kInvalidArgument, {"-1"});
  expect_failure(Session::create(open_golden("llama-tied"), 0, 0), Code::kInvalidArgument, {"batch"});
}

TEST(Session, LastRowsAreTheLastOfAll) {
  const ModelPtr model = open_golden("qwen3-qknorm");
  auto a = Session::create(model, 0, 3), b = Session::create(model, 0, 3);
  const std::vector<int32_t> ids = some_ids(3 * 7, 256);
  std::vector<float> all(3 * 7 * 256), last(3 * 256);
  ASSERT_TRUE((*a)->step(ids.data(), 7, true, all.data()).ok());
  ASSERT_TRUE((*b)->step(ids.data(), 7, false, last.data()).ok());
  for (size_t s = 0; s < 3; ++s) {
    for (size_t v = 0; v < 256; ++v) ASSERT_NEAR(last[s * 256 + v], all[(s * 7 + 6) * 256 + v], 1e-5);
  }
}

// Bits do not depend on the number of threads.
TEST(Session, ThreadsDoNotMatter) {
  std::vector<std::vector<float>> runs;
  for (int32_t threads : {1, 2, 3, 8}) {
    auto session = Session::create(open_golden("llama3-rope-gqa", threads), 0, 2);
    const std::vector<int32_t> ids = some_ids(2 * 100, 288);
    std::vector<float> logits(2 * 100 * 288 + 2 * 288);
    ASSERT_TRUE((*session)->step(ids.data(), 100, true, logits.data()).ok());
    ASSERT_TRUE((*session)->step(ids.data(), 1, false, logits.data() + 2 * 100 * 288).ok());
    runs.push_back(logits);
  }
  for (const auto& run : runs) EXPECT_EQ(run, runs.front());
}

// Sequences in one forward pass do not see each other, and a window hides what lies before it.
TEST(Session, SequencesAreSeparate) {
  const ModelPtr model = open_golden("mistral-sliding");
  auto both = Session::create(model, 0, 2), one = Session::create(model, 0, 1);
  std::vector<int32_t> ids = some_ids(2 * 40, 256);
  std::vector<float> pair(2 * 40 * 256), single(40 * 256);
  ASSERT_TRUE((*both)->step(ids.data(), 40, true, pair.data()).ok());
  ASSERT_TRUE((*one)->step(ids.data() + 40, 40, true, single.data()).ok());
  for (size_t i = 0; i < single.size(); ++i) ASSERT_NEAR(single[i], pair[40 * 256 + i], 2e-5);
  // Two layers of window 8: position 39 reaches back to 39 - 2 * 7 = 25.
  std::vector<int32_t> changed(ids.begin() + 40, ids.end());
  for (size_t i = 0; i < 25; ++i) changed[i] = (changed[i] + 1) % 256;
  std::vector<float> other(40 * 256);
  (*one)->reset();
  ASSERT_TRUE((*one)->step(changed.data(), 40, true, other.data()).ok());
  for (size_t v = 0; v < 256; ++v) ASSERT_EQ(other[39 * 256 + v], single[39 * 256 + v]);
  EXPECT_NE(other[38 * 256 - 13 * 256], single[38 * 256 - 13 * 256]);
}

// Dynamic scaling: within the original length nothing changes; beyond it a prefill uses the table of its whole length.
TEST(Session, DynamicRope) {
  ModelDir dir("llama-tied");
  const Result<ModelPtr> plain = dir.open();
  dir.config["rope_parameters"] = {{"rope_type", "dynamic"}, {"rope_theta", 10000.0}, {"factor", 2.0}};
  const Result<ModelPtr> dynamic = dir.open();
  ASSERT_TRUE(dynamic.ok()) << dynamic.status().text();
  const std::vector<int32_t> ids = some_ids(100, 256);
  std::vector<float> a(64 * 256), b(64 * 256);
  auto s = Session::create(*plain, 128), d = Session::create(*dynamic, 128);
  ASSERT_TRUE((*s)->step(ids.data(), 64, true, a.data()).ok());
  ASSERT_TRUE((*d)->step(ids.data(), 64, true, b.data()).ok());
  EXPECT_EQ(a, b);

  (*d)->reset();
  std::vector<float> logits(100 * 256), expected(100 * 256);
  ASSERT_TRUE((*d)->step(ids.data(), 100, true, logits.data()).ok());
  const RopeTable rope = make_rope_table((*dynamic)->config(), 100);
  const Result<Ends> ends = Ends::load(**dynamic);
  std::vector<float> r(100 * 64);
  const Sequences sequences{{0, 100}, {}};
  ASSERT_TRUE(ends->embed(**dynamic, sequences, ids.data(), r.data()).ok());
  for (int64_t layer = 0; layer < 2; ++layer) {
    const Result<Block> block = load_block(**dynamic, layer);
    ASSERT_TRUE(block_forward(**dynamic, *block, rope, sequences, nullptr, r.data()).ok());
  }
  ASSERT_TRUE(ends->logits(**dynamic, {r.data(), 100, 64, 64}, expected.data()).ok());
  for (size_t i = 0; i < logits.size(); ++i) ASSERT_NEAR(logits[i], expected[i], 2e-5);
  (*d)->reset();  // and back within the original length
  ASSERT_TRUE((*d)->step(ids.data(), 64, true, b.data()).ok());
  EXPECT_EQ(a, b);
}

// Every linear layer in 4 bits, zero points and a last group that is not whole included.
ModelPtr quantized_golden(const std::string& name) {
  const ModelPtr base = open_golden(name, 2);
  std::map<size_t, std::shared_ptr<const QMatrix>> matrices;
  for (size_t i = 0; i < base->modules().size(); ++i) {
    const Module& m = base->modules()[i];
    if (!m.can_quantize) continue;
    const Result<Matrix> w = base->load_weight(i);
    auto q = std::make_shared<QMatrix>();
    q->rows = m.rows, q->cols = m.cols;
    q->scheme = {CodeKind::kInt, 4, 48, false, DType::kF16};
    for (int64_t r = 0; r < m.rows; ++r) {
      for (int64_t c = 0; c < m.cols; ++c) {
        if (c % 48 == 0) q->scales.push_back(0.03125f), q->zeros.push_back(static_cast<uint8_t>(6 + (r + c) % 4));
        const float code = std::nearbyint(w->row(r)[c] / 0.03125f) + q->zeros.back();
        q->codes.push_back(static_cast<uint8_t>(std::clamp(code, 0.0f, 15.0f)));
      }
    }
    matrices[i] = std::move(q);
  }
  return Model::with_matrices(base, std::move(matrices), FormatId::kCompressed, nullptr);
}

// What a session multiplies is the codes; logits are those of the dequantized weights, fed at once or token by token.
TEST(Session, CodesGiveTheLogitsOfTheirWeights) {
  for (const char* name : {"llama3-rope-gqa", "qwen3-qknorm", "opt-pre-ln"}) {
    SCOPED_TRACE(name);
    const ModelPtr model = quantized_golden(name);
    const ModelConfig& config = model->config();
    constexpr int64_t kTokens = 48, kAtOnce = 40;
    const std::vector<int32_t> ids = some_ids(kTokens, static_cast<int32_t>(config.vocab));
    const RopeTable rope = make_rope_table(config, kTokens);
    std::vector<float> r(static_cast<size_t>(kTokens * config.hidden));
    const Sequences sequences{{0, kTokens}, {}};
    const Result<Ends> ends = Ends::load(*model);
    ASSERT_TRUE(ends->embed(*model, sequences, ids.data(), r.data()).ok());
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      Result<Block> block = load_block(*model, layer);
      ASSERT_NE(block->o.matrix(), nullptr);
      ASSERT_TRUE(block_forward(*model, *block, rope, sequences, nullptr, r.data()).ok());
      const Matrix w = block->o.to_f32();
      ASSERT_TRUE(tile_linears(model->context(), &*block).ok());
      ASSERT_EQ(block->o.matrix(), nullptr) << "not tiled";
      const Matrix again = block->o.to_f32();
      for (int64_t i = 0; i < w.rows() * w.cols(); ++i) ASSERT_EQ(again.data()[i], w.data()[i]);
    }
    std::vector<float> want(static_cast<size_t>(kTokens * config.vocab)), found(want.size());
    ASSERT_TRUE(ends->logits(*model, {r.data(), kTokens, config.hidden, config.hidden}, want.data()).ok());
    auto session = Session::create(model, 0);
    ASSERT_TRUE(session.ok());
    ASSERT_TRUE((*session)->step(ids.data(), kAtOnce, true, found.data()).ok());
    for (int64_t t = kAtOnce; t < kTokens; ++t) {
      ASSERT_TRUE((*session)->step(ids.data() + t, 1, true, found.data() + t * config.vocab).ok());
    }
    float most = 0;
    for (const float v : want) most = std::max(most, std::fabs(v));
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(found[i], want[i], 2e-5f * most) << "logit " << i;
  }
}

// Rounded inputs move the logits a little, more with fewer bits, and only while they are asked for.
TEST(Session, ProductsCanBeFaster) {
  const ModelPtr model = quantized_golden("llama3-rope-gqa");
  const int64_t vocab = model->config().vocab;
  const std::vector<int32_t> ids = some_ids(40, static_cast<int32_t>(vocab));
  auto session = Session::create(model, 0);
  ASSERT_TRUE(session.ok());
  const auto logits = [&](Products products) {
    std::vector<float> out(static_cast<size_t>(40 * vocab));
    (*session)->set_products(products);
    (*session)->reset();
    EXPECT_TRUE((*session)->step(ids.data(), 40, true, out.data()).ok());
    return out;
  };
  const std::vector<float> exact = logits(Products::kExact);
  const auto distance = [&](const std::vector<float>& other) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      difference += (other[i] - exact[i]) * (other[i] - exact[i]);
      size += exact[i] * exact[i];
    }
    return std::sqrt(difference / size);
  };
  const double fast = distance(logits(Products::kFast)), bytes = distance(logits(Products::kBytes));
  EXPECT_LT(fast, 0.02);
  EXPECT_GT(bytes, 0.001);
  EXPECT_LT(bytes, 0.06);
  EXPECT_GT(bytes, fast);
  EXPECT_EQ(logits(Products::kExact), exact);
}

TEST(Session, Cancelled) {
  auto session = Session::create(open_golden("llama-tied"), 0);
  Progress stop([](const ProgressInfo&) { return false; });
  EXPECT_EQ(stop.force().code(), Code::kCancelled);
  const int32_t id = 1;
  std::vector<float> logits(256);
  EXPECT_EQ((*session)->step(&id, 1, false, logits.data(), &stop).code(), Code::kCancelled);
  EXPECT_EQ((*session)->position(), 0);
  EXPECT_TRUE((*session)->step(&id, 1, false, logits.data()).ok());
}

}  // namespace
}  // namespace qz
