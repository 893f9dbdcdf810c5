// What estimates must obey whatever the model: sums, growth, limits, inverse questions.
#include "estimate/estimate.h"

#include "base/json.h"
#include "estimate/kv_cache.h"
#include "estimate/tools.h"
#include "estimate/towers.h"
#include "estimate/training.h"
#include "models.h"

namespace qz {
namespace {

uint64_t device(const ModelShape& s, const MemoryQuery& q) {
  const auto ledger = estimate_memory(s, q);
  EXPECT_TRUE(ledger.ok()) << ledger.status().text();
  return ledger->total(Where::kDevice);
}

TEST(Estimate, EveryItemHasAFormulaAndASource) {
  const ModelShape s = public_shape("qwen3-8b");
  MemoryQuery q;
  for (const Goal goal : {Goal::kInfer, Goal::kTrainFull, Goal::kTrainLora, Goal::kTrainQlora}) {
    q.goal = goal;
    const auto ledger = estimate_memory(s, q);
    ASSERT_TRUE(ledger.ok());
    uint64_t sum = 0;
    for (const Item& item : ledger->items()) {
      EXPECT_FALSE(item.formula.empty() || item.source.empty()) << item.what;
      EXPECT_LE(item.low, item.bytes);
      EXPECT_LE(item.bytes, item.high);
      sum += item.where == Where::kDevice ? item.bytes : 0;
    }
    EXPECT_EQ(sum, ledger->total(Where::kDevice));
    const Json json = ledger->to_json();
    EXPECT_EQ(json["totals"]["device"]["bytes"].get<uint64_t>(), sum);
  }
}

TEST(Estimate, SumsThatDoNotFitAreErrors) {
  const ModelShape s = public_shape("llama-2-7b");
  MemoryQuery q;
  q.batch = q.seq = int64_t{1} << 40;
  const auto ledger = estimate_memory(s, q);
  ASSERT_FALSE(ledger.ok());
  EXPECT_EQ(ledger.status().code(), Code::kUnsupported);
  EXPECT_NE(ledger.status().text().find("64 bits"), std::string::npos);
  EXPECT_FALSE((Count(UINT64_MAX) + Count(1)).valid());
  EXPECT_FALSE((Count(uint64_t{1} << 40) * Count(uint64_t{1} << 40)).valid());
  EXPECT_FALSE(Count(int64_t{-1}).valid());
  EXPECT_FALSE(Count(1).per(0).valid());
  EXPECT_EQ(Count(9).per(4).value(), 3u);
}

TEST(Estimate, QueriesOutOfRangeAreNamed) {
  const ModelShape s = public_shape("llama-2-7b");
  const auto fails = [&](MemoryQuery q, const char* word) {
    const auto ledger = estimate_memory(s, q);
    ASSERT_FALSE(ledger.ok());
    EXPECT_NE(ledger.status().text().find(word), std::string::npos) << ledger.status().text();
  };
  MemoryQuery q;
  q.batch = 0;
  fails(q, "batch is 0");
  q = {};
  q.zero_stage = 4;
  fails(q, "zero_stage");
  q = {};
  q.weights = "w5g3";
  fails(q, "nf4-dq");
  q = {};
  q.weights = "gguf?:w4";
  fails(q, "weights 'gguf?:w4'");
  q = {};
  q.tool = "deepspeed";
  fails(q, "stages 2 and 3");
}

TEST(Estimate, TheLargestContextIsTheLargest) {
  const ModelShape s = public_shape("qwen3-8b");
  MemoryQuery q;
  q.weights = "w4g128";
  const uint64_t room = 16ull << 30;
  const auto fit = fit_memory(s, q, room, Ask::kContext);
  ASSERT_TRUE(fit.ok());
  ASSERT_GT(fit->value, 32768);  // 16 GiB hold 4-bit weights and more than 32k tokens
  q.seq = fit->value;
  EXPECT_LE(device(s, q), room);
  EXPECT_EQ(device(s, q), fit->needed);
  q.seq++;
  EXPECT_GT(device(s, q), room);
  q = {};
  q.weights = "w4g128";
  const auto batch = fit_memory(s, q, room, Ask::kBatch);
  ASSERT_TRUE(batch.ok());
  q.batch = batch->value;
  EXPECT_LE(device(s, q), room);
  q.batch++;
  EXPECT_GT(device(s, q), room);
  const auto none = fit_memory(s, {}, 1ull << 30, Ask::kContext);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none->value, 0);
  EXPECT_GT(none->needed, 15ull << 30);
}

TEST(Estimate, TheMostBitsThatFit) {
  const ModelShape s = public_shape("qwen3-8b");
  const std::pair<uint64_t, int64_t> kRows[] = {{24, 16}, {12, 8}, {8, 4}, {1, 0}};
  for (const auto& [room, bits] : kRows) {
    const auto fit = fit_memory(s, {}, room << 30, Ask::kBits);
    ASSERT_TRUE(fit.ok());
    EXPECT_EQ(fit->value, bits) << room;
    EXPECT_EQ(fit->weights.empty(), bits == 0);
  }
}

TEST(Estimate, WindowsAndPagesAreRespected) {
  ModelShape s = public_shape("llama-2-7b");
  s.window.assign(32, 0);
  for (size_t i = 0; i < 16; i++) s.window[i] = 1024;
  const uint64_t token = kv_token_bytes(s, {}).value();
  EXPECT_EQ(kv_bytes(s, {}, 2, 4096).value(), 2 * token * (16 * 1024 + 16 * 4096));
  EXPECT_EQ(kv_bytes(s, {}, 1, 100).value(), token * 32 * 100);
  // vLLM: ceil((window - 1 + step) / 16) + 1 pages of 16.
  EXPECT_EQ(kv_bytes(s, {.block = 16, .step = 512}, 1, 4096).value(), token * (16 * (96 + 1) * 16 + 16 * 4096));
  EXPECT_EQ(kv_bytes(s, {.block = 16}, 1, 17).value(), token * 32 * 32);
  EXPECT_EQ(kv_token_bytes(s, {.tensor_parallel = 4}).value(), token / 4);
  EXPECT_EQ(kv_token_bytes(s, {.tensor_parallel = 64}).value(), token / 32);  // a head at least
  EXPECT_EQ(kv_token_bytes(s, {.bits = 8, .scale_bytes = 4}).value(), token / 2 + 2 * 32 * 4);
}

TEST(Estimate, ShapesThatAFormatCannotHoldStayPlain) {
  ModelShape s = public_shape("qwen2.5-1.5b");
  s.linears[0].cols += 8;
  const auto table = store_weights(s, "gptq:w4g128");
  ASSERT_TRUE(table.ok());
  ASSERT_EQ(table->kept.size(), 1u);
  EXPECT_NE(table->kept[0].find("128"), std::string::npos) << table->kept[0];
  EXPECT_EQ(table->linears[0].codes, 2u * static_cast<uint64_t>(s.linears[0].rows * s.linears[0].cols));
}

TEST(Estimate, OffloadMovesBytesToTheHost) {
  const ModelShape s = public_shape("qwen3-8b");
  MemoryQuery q;
  q.goal = Goal::kTrainFull;
  q.zero_stage = 3, q.devices = 4;
  const uint64_t without = device(s, q);
  q.offload = Offload::kParameters;
  const auto moved = estimate_memory(s, q);
  ASSERT_TRUE(moved.ok());
  EXPECT_EQ(moved->total(Where::kDevice) + moved->total(Where::kHost), without);
  EXPECT_EQ(moved->of(ItemKind::kWeights, Where::kDevice), 0u);
}

TEST(Estimate, DeepSpeedConfigurationDoesWhatWasAsked) {
  MemoryQuery q;
  EXPECT_FALSE(deepspeed_config(q).ok());
  q.zero_stage = 3, q.offload = Offload::kParameters, q.batch = 2, q.devices = 8;
  const auto json = deepspeed_config(q);
  ASSERT_TRUE(json.ok());
  EXPECT_EQ((*json)["zero_optimization"]["stage"], 3);
  EXPECT_EQ((*json)["zero_optimization"]["offload_param"]["device"], "cpu");
  EXPECT_EQ((*json)["train_batch_size"], 16);
  EXPECT_EQ((*json)["bf16"]["enabled"], true);
  q.zero_stage = 2;
  EXPECT_FALSE(deepspeed_config(q).ok());
}

TEST(Towers, UnknownOnesAreNotGuessed) {
  EXPECT_EQ(tower_parameters(Json::object(), 64), 0);
  EXPECT_EQ(tower_parameters({{"vision_config", {{"model_type", "siglip"}}}}, 64), -1);
  EXPECT_EQ(tower_parameters({{"vision_config", {{"model_type", "internvl_vision"}}}}, 64), -1);
}

}  // namespace
}  // namespace qz
