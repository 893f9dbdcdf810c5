// Weights, caches and training states of five public models against figures worked out by hand from the published
// layouts (GiB, rounded to what stands here), and against what other tools print.
#include "estimate/estimate.h"
#include "estimate/kv_cache.h"
#include "estimate/tools.h"
#include "estimate/training.h"
#include "estimate/weights.h"
#include "models.h"

namespace qz {
namespace {

constexpr const char* kModels[] = {"llama-2-7b", "qwen2.5-7b", "qwen2.5-1.5b", "opt-1.3b", "internvl3.5-8b"};

uint64_t whole(const ModelShape& shape, const std::string& weights) {
  const auto table = store_weights(shape, weights);
  EXPECT_TRUE(table.ok()) << weights << ": " << table.status().text();
  uint64_t sum = table->embedding + table->others;
  for (const MatrixBytes& m : table->linears) sum += m.codes + m.scales;
  return sum;
}

TEST(Reference, ParametersAndBlockLinears) {
  const int64_t kAll[] = {6738415616, 7615616512, 1543714304, 1315758080, 8528318464};
  const int64_t kBlocks[] = {6476005376, 6525288448, 1310195712, 1207959552, 6945767424};
  for (size_t i = 0; i < 5; i++) {
    const ModelShape s = public_shape(kModels[i]);
    EXPECT_EQ(s.parameters(), kAll[i]) << kModels[i];
    EXPECT_EQ(s.linear_elements(false), kBlocks[i]) << kModels[i];
  }
}

TEST(Reference, WeightsByFormat) {
  const char* const kFormats[] = {"f32", "bf16", "int8",  "gptq:w4g128", "compressed-tensors:w4g128",
                                  "awq", "nf4",  "nf4-dq"};
  const double kGib[5][8] = {{25.10, 12.55, 6.52, 3.63, 3.60, 3.62, 3.88, 3.60},
                             {28.37, 14.19, 8.11, 5.19, 5.16, 5.19, 5.45, 5.17},
                             {5.75, 2.88, 1.66, 1.07, 1.06, 1.07, 1.12, 1.06},
                             {4.90, 2.45, 1.33, 0.79, 0.78, 0.79, 0.83, 0.78},
                             {31.77, 15.89, 9.42, 6.31, 6.28, 6.31, 6.59, 6.29}};
  for (size_t i = 0; i < 5; i++)
    for (size_t f = 0; f < 8; f++)
      EXPECT_NEAR(gib(whole(public_shape(kModels[i]), kFormats[f])), kGib[i][f], 0.0051)
          << kModels[i] << " " << kFormats[f];
}

// Bits per weight of one large matrix, as the block structs of ggml and bitsandbytes' blocks give them.
TEST(Reference, BitsPerWeight) {
  const std::pair<const char*, double> kRows[] = {
      {"q4_0", 4.5},     {"q8_0", 8.5}, {"q4_k", 4.5},     {"q6_k", 6.5625},   {"nf4", 4.5},
      {"nf4-dq", 4.127}, {"hqq", 4.5},  {"w4g128", 4.125}, {"w4g128a", 4.156}, {"gptq_v2:w8g128", 8.189}};
  for (const auto& [name, bits] : kRows) {
    const auto spec = WeightSpec::parse(name, DType::kBF16);
    ASSERT_TRUE(spec.ok()) << spec.status().text();
    const auto m = spec->matrix(4096, 4096);
    ASSERT_TRUE(m.ok()) << name << m.status().text();
    EXPECT_NEAR(8.0 * static_cast<double>(m->codes + m->scales) / (4096.0 * 4096.0), bits, 0.009) << name;
  }
}

TEST(Reference, KeysAndValues) {
  const int64_t kToken[] = {524288, 57344, 28672, 196608, 147456};
  for (size_t i = 0; i < 5; i++) {
    const ModelShape s = public_shape(kModels[i]);
    EXPECT_EQ(kv_bytes(s, {}, 1, 1).value(), static_cast<uint64_t>(kToken[i])) << kModels[i];
    EXPECT_EQ(kv_bytes(s, {.bits = 8}, 1, 1).value(), static_cast<uint64_t>(kToken[i] / 2)) << kModels[i];
  }
  EXPECT_EQ(kv_bytes(public_shape("qwen2.5-7b"), {}, 1, 32768).value(), 7ull << 28);  // 1.75 GiB
  EXPECT_EQ(kv_bytes(public_shape("internvl3.5-8b"), {}, 1, 32768).value(), 9ull << 29);
  // DeepSeek-V3: 61 layers of a latent vector of 512 and 64 rotary dimensions, 70,272 bytes a token.
  ModelShape mla;
  mla.layers = 61, mla.latent = 512, mla.latent_rope = 64;
  EXPECT_EQ(kv_bytes(mla, {}, 1, 1).value(), 70272u);
  // 8 bits: half of it, or vLLM's layout of 656 bytes a token and layer.
  EXPECT_EQ(kv_bytes(mla, {.bits = 8}, 1, 1).value(), 70272u / 2);
  EXPECT_EQ(kv_token_bytes(mla, {.bits = 8, .block = 16, .latent_group = 128}).value(), 656u);
}

TEST(Reference, VllmCacheSizes) {
  const int64_t kTokens[3][2] = {{16432, 34768}, {119728, 288640}, {34176, 104096}};
  const char* const kNames[] = {"llama-2-7b", "qwen2.5-7b", "internvl3.5-8b"};
  const char* const kWeights[] = {"bf16", "w4g128"};
  for (size_t i = 0; i < 3; i++)
    for (size_t w = 0; w < 2; w++) {
      const ModelShape s = public_shape(kNames[i]);
      const int64_t tokens = vllm_kv_tokens(s, 24ull << 30, 0.92, whole(s, kWeights[w]), 1ull << 30, 1ull << 29, 16);
      EXPECT_NEAR(static_cast<double>(tokens), static_cast<double>(kTokens[i][w]), 16) << kNames[i];
      EXPECT_EQ(tokens % 16, 0);
    }
  EXPECT_EQ(vllm_kv_tokens(public_shape("llama-2-7b"), 8ull << 30, 0.92, 13ull << 30, 0, 0, 16), 0);
}

uint64_t states(const ModelShape& s, int32_t stage, Optimizer optimizer) {
  MemoryQuery q;
  q.goal = Goal::kTrainFull;
  q.zero_stage = stage, q.devices = 8, q.optimizer = optimizer;
  const auto ledger = estimate_memory(s, q);
  EXPECT_TRUE(ledger.ok());
  return ledger->of(ItemKind::kWeights, Where::kDevice) + ledger->of(ItemKind::kGradients, Where::kDevice) +
         ledger->of(ItemKind::kOptimizer, Where::kDevice);
}

TEST(Reference, TrainingStates) {
  const double kF32[] = {100.4, 113.5, 23.0, 19.6, 127.1};
  const double kStages[5][3] = {
      {34.5, 23.5, 12.6}, {39.0, 26.6, 14.2}, {7.9, 5.4, 2.9}, {6.7, 4.6, 2.5}, {43.7, 29.8, 15.9}};
  for (size_t i = 0; i < 5; i++) {
    const ModelShape s = public_shape(kModels[i]);
    EXPECT_NEAR(gib(states(s, 0, Optimizer::kAdamF32)), kF32[i], 0.051) << kModels[i];
    EXPECT_NEAR(gib(states(s, 0, Optimizer::kAdam)), kF32[i], 0.051) << kModels[i];
    for (int32_t stage = 1; stage <= 3; stage++)
      EXPECT_NEAR(gib(states(s, stage, Optimizer::kAdam)), kStages[i][stage - 1], 0.06) << kModels[i] << stage;
  }
}

TEST(Reference, DeepSpeedSays) {
  // ZeRO-2, ZeRO-3, optimizer offloaded, all offloaded, host with all offloaded; 8 GPUs of one node.
  const double kGib[5][5] = {{26.7, 14.6, 2.06, 0.49, 169.4},
                             {30.1, 18.0, 3.80, 2.03, 191.5},
                             {6.1, 4.1, 1.23, 0.87, 38.8},
                             {5.2, 3.1, 0.69, 0.38, 33.1},
                             {33.8, 20.2, 4.30, 2.32, 214.5}};
  for (size_t i = 0; i < 5; i++) {
    const ModelShape s = public_shape(kModels[i]);
    EXPECT_NEAR(gib(deepspeed_bytes(s, 2, Offload::kNone, 8).device.value()), kGib[i][0], 0.06) << kModels[i];
    EXPECT_NEAR(gib(deepspeed_bytes(s, 3, Offload::kNone, 8).device.value()), kGib[i][1], 0.06) << kModels[i];
    EXPECT_NEAR(gib(deepspeed_bytes(s, 3, Offload::kOptimizer, 8).device.value()), kGib[i][2], 0.006) << kModels[i];
    EXPECT_NEAR(gib(deepspeed_bytes(s, 3, Offload::kParameters, 8).device.value()), kGib[i][3], 0.006) << kModels[i];
    EXPECT_NEAR(gib(deepspeed_bytes(s, 3, Offload::kParameters, 8).host.value()), kGib[i][4], 0.06) << kModels[i];
  }
}

// DeepSpeed's documentation says something else than its code: 4P + 16P/N for stage 2.
TEST(Reference, DeepSpeedsDocumentationSays) {
  for (const char* const name : kModels) {
    const ModelShape s = public_shape(name);
    MemoryQuery q;
    q.goal = Goal::kTrainFull;
    q.zero_stage = 2, q.devices = 8, q.tool = "deepspeed-docs";
    const auto ledger = estimate_memory(s, q);
    ASSERT_TRUE(ledger.ok()) << ledger.status().text();
    EXPECT_EQ(ledger->total(Where::kDevice), static_cast<uint64_t>(6 * s.parameters())) << name;
    EXPECT_EQ(ledger->total(Where::kHost), static_cast<uint64_t>(48 * s.parameters())) << name;
  }
}

// Llama-2-7B in Q4_0 at 4,090 tokens, padded to 4,096: 18 bytes for 32 weights of blocks and head, the rest at 16 bits;
// 2 GiB of cache; 250 MiB on the device, 150 + 4 + 5 MiB and the output buffer on the host.
TEST(Reference, GgufParserSays) {
  MemoryQuery q;
  q.weights = "q4_0", q.tool = "gguf-parser", q.seq = 4090;
  const auto ledger = estimate_memory(public_shape("llama-2-7b"), q);
  ASSERT_TRUE(ledger.ok()) << ledger.status().text();
  EXPECT_EQ(ledger->of(ItemKind::kKvCache, Where::kDevice), 2ull << 30);
  const uint64_t blocks = 6476005376 / 32 * 18, rest = 262410240ull * 2;
  EXPECT_EQ(ledger->of(ItemKind::kWeights, Where::kDevice) + ledger->of(ItemKind::kScales, Where::kDevice),
            blocks + rest);
  EXPECT_EQ(ledger->of(ItemKind::kRuntime, Where::kDevice), 250ull << 20);
  EXPECT_EQ(ledger->total(Where::kHost), (159ull << 20) + 4 * (4096 + 32000));
}

double accelerate(const char* model, const char* weights, Goal goal, Optimizer optimizer) {
  MemoryQuery q;
  q.goal = goal, q.weights = weights, q.optimizer = optimizer, q.tool = "accelerate";
  const auto ledger = estimate_memory(public_shape(model), q);
  EXPECT_TRUE(ledger.ok()) << ledger.status().text();
  return gib(ledger->total(Where::kDevice));
}

TEST(Reference, AccelerateSays) {
  const auto weights = [](const char* m, const char* w) { return accelerate(m, w, Goal::kInfer, Optimizer::kAdam); };
  EXPECT_NEAR(weights("llama-2-7b", "f32"), 24.61, 0.006);
  EXPECT_NEAR(weights("llama-2-7b", "f16"), 12.31, 0.006);
  EXPECT_NEAR(weights("llama-2-7b", "w4g128"), 3.08, 0.006);
  EXPECT_NEAR(weights("qwen2.5-7b", "f32"), 26.34, 0.006);
  EXPECT_NEAR(weights("qwen2.5-7b", "w4g128"), 3.29, 0.006);
  EXPECT_NEAR(accelerate("llama-2-7b", "", Goal::kTrainFull, Optimizer::kAdamF32), 98.5, 0.06);
  EXPECT_NEAR(accelerate("llama-2-7b", "", Goal::kTrainFull, Optimizer::kAdam), 49.2, 0.06);
  EXPECT_NEAR(accelerate("qwen2.5-7b", "", Goal::kTrainFull, Optimizer::kAdamF32), 105.4, 0.06);
}

TEST(Reference, Lora) {
  const int64_t kTrained[] = {39976960, 40370176, 18464768, 14155776, 43646976};
  const double kQlora[] = {4.20, 5.77, 1.34, 0.99, 6.94}, kLora[] = {13.15, 14.79, 3.15, 2.66, 16.54};
  for (size_t i = 0; i < 5; i++) {
    const ModelShape s = public_shape(kModels[i]);
    EXPECT_EQ(lora_parameters(s, 16), kTrained[i]) << kModels[i];
    const auto adapters = static_cast<uint64_t>(16 * kTrained[i]);
    EXPECT_NEAR(gib(whole(s, "nf4-dq") + adapters), kQlora[i], 0.006) << kModels[i];
    EXPECT_NEAR(gib(whole(s, "bf16") + adapters), kLora[i], 0.006) << kModels[i];
  }
}

TEST(Reference, ActivationsForTheBackwardPass) {
  const double kAll[] = {9.38, 10.51, 4.87, 3.01, 10.42}, kOneMore[] = {0.79, 0.76, 0.34, 0.31, 0.85};
  for (size_t i = 0; i < 5; i++) {
    const ModelShape s = public_shape(kModels[i]);
    const Count layer = kept_activations(s) * Count(2048);
    EXPECT_NEAR(gib((layer * Count(s.layers)).value()), kAll[i], 0.006) << kModels[i];
    EXPECT_NEAR(gib((layer + Count(2) * Count(s.layers) * Count(2048) * Count(s.hidden)).value()), kOneMore[i], 0.011)
        << kModels[i];
  }
}

}  // namespace
}  // namespace qz
