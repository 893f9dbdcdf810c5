// Opening whole directories: what is found, what is refused and in which words.
#include <gtest/gtest.h>

#include <cmath>

#include "unit/model/model_dir.h"

namespace qz {
namespace {

TEST(Open, ListsModulesInOrder) {
  const Result<ModelPtr> opened = Model::open(make_context(1), kGoldenModels + "llama3-rope-gqa");
  ASSERT_TRUE(opened.ok()) << opened.status().text();
  const Model& model = **opened;
  ASSERT_EQ(model.modules().size(), 2u * 7 + 1);
  const char* roles[] = {"q", "k", "v", "o", "gate", "up", "down"};
  for (size_t i = 0; i < 14; ++i) {
    EXPECT_STREQ(role_name(model.modules()[i].role), roles[i % 7]);
    EXPECT_EQ(model.modules()[i].layer, static_cast<int64_t>(i / 7));
    EXPECT_FALSE(model.quantized(i));
  }
  EXPECT_EQ(model.modules()[8].name, "model.layers.1.self_attn.k_proj");
  EXPECT_EQ(model.modules()[8].rows, 32);
  EXPECT_EQ(model.modules()[8].cols, 64);
  EXPECT_EQ(model.find_module("model.layers.1.self_attn.k_proj"), 8);
  EXPECT_EQ(model.find_module("model.layers.1.self_attn"), -1);
  EXPECT_STREQ(role_name(model.modules()[14].role), "head");
  EXPECT_TRUE(model.modules()[14].can_quantize);
  EXPECT_EQ(model.format(), FormatId::kPlain);
  EXPECT_EQ(model.config().dtype, DType::kBF16);
  EXPECT_EQ(model.report(), nullptr);
  // 288*64 twice, 2 blocks of 64*64*2 + 32*64*2 + 3*128*64 + 2*64, and a norm.
  EXPECT_EQ(model.parameters(), 2 * 288 * 64 + 2 * (2 * 4096 + 2 * 2048 + 3 * 8192 + 128) + 64);
}

TEST(Open, ConfigurationOnly) {
  const ModelDir dir("llama3-rope-gqa");
  dir.write_file("config.json", dump_json(dir.config));
  const Result<ModelPtr> whole = dir.open();
  const Result<ModelPtr> only = Model::open(make_context(1), kGoldenModels + "llama3-rope-gqa", {.config_only = true});
  ASSERT_TRUE(whole.ok() && only.ok());
  EXPECT_EQ((*only)->parameters(), (*whole)->parameters());
  expect_failure(load_block(**only, 0), Code::kInvalidArgument, {"configuration only"});
  expect_failure(Session::create(*only, 0), Code::kInvalidArgument, {"configuration only"});
}

TEST(Open, UnknownArchitecture) {
  ModelDir dir("llama-tied");
  dir.config["architectures"] = {"GrokForCausalLM"};
  expect_failure(dir.open(), Code::kUnsupported, {"'GrokForCausalLM'", "bloom, deepseek_v2, ", "arch_json"});
  dir.config.erase("architectures");  // then model_type decides
  EXPECT_TRUE(dir.open().ok());
  dir.config["model_type"] = "grok";
  expect_failure(dir.open(), Code::kUnsupported, {"'grok'"});
  dir.config.erase("model_type");
  expect_failure(dir.open(), Code::kBadFile, {"missing keys architectures, model_type"});
}

// An unknown class with other names for everything, described on top of Llama: the same logits as the golden.
TEST(Open, DescribedArchitecture) {
  ModelDir dir("llama-tied");
  dir.config["architectures"] = {"NewForCausalLM"};
  dir.config["width"] = dir.config["hidden_size"];
  dir.config.erase("hidden_size");
  for (ModelDir::Tensor& t : dir.tensors) {
    for (const auto& [from, to] : {std::pair{"model.layers.", "blocks/"}, std::pair{"self_attn.q_proj", "query"},
                                   std::pair{"model.embed_tokens", "words"}}) {
      if (const size_t at = t.name.find(from); at != std::string::npos) {
        t.name.replace(at, std::string(from).size(), to);
      }
    }
  }
  ModelOptions options;
  options.arch_json = R"({"base": "llama", "name": "new", "layer": "blocks/{}", "q": "query", "embed": "words",
                          "keys": {"hidden": "width"}})";
  const Result<ModelPtr> model = dir.open(options);
  ASSERT_TRUE(model.ok()) << model.status().text();
  EXPECT_EQ((*model)->arch().name, "new");
  EXPECT_EQ((*model)->modules()[7].name, "blocks/1.query");
  const Golden golden = read_golden(kGoldenModels + "llama-tied");
  const Result<std::unique_ptr<Session>> session = Session::create(*model, 0, 2);
  ASSERT_TRUE(session.ok()) << session.status().text();
  std::vector<float> logits(golden.logits.data.size());
  ASSERT_TRUE((*session)->step(golden.tokens.data.data(), 24, true, logits.data()).ok());
  for (size_t i = 0; i < logits.size(); ++i) ASSERT_NEAR(logits[i], golden.logits.data[i], 1e-4);
  options.arch_json = "{\"bass\": \"llama\"}";
  expect_failure(dir.open(options), Code::kInvalidArgument, {"arch_json: unknown key 'bass'"});
}

TEST(Open, MissingTensors) {
  ModelDir dir("llama-tied");
  dir.remove("model.norm.weight");
  expect_failure(dir.open(), Code::kBadFile, {"1 missing tensor: model.norm.weight"});
  for (const char* part : {"q", "k", "v", "o"}) {
    for (const char* layer : {"0", "1"}) {
      dir.remove(std::string("model.layers.") + layer + ".self_attn." + part + "_proj.weight");
    }
  }
  expect_failure(dir.open(), Code::kBadFile,
                 {"9 missing tensors: model.norm.weight, model.layers.0.self_attn.q_proj.weight", "and 4 more"});
}

TEST(Open, WrongShapes) {
  ModelDir dir("llama-tied");
  std::swap(dir.at("model.layers.1.mlp.up_proj.weight").shape[0], dir.at("model.layers.1.mlp.up_proj.weight").shape[1]);
  expect_failure(dir.open(), Code::kBadFile, {"'model.layers.1.mlp.up_proj.weight'", "[160, 64]", "found [64, 160]"});
  ModelDir flat("llama-tied");
  flat.at("model.layers.0.input_layernorm.weight").shape = {1, 64};
  expect_failure(flat.open(), Code::kBadFile, {"'model.layers.0.input_layernorm.weight'", "[64]", "found [1, 64]"});
  ModelDir bias("qwen2-128");
  bias.at("model.layers.0.self_attn.k_proj.bias").shape = {32, 2};
  expect_failure(bias.open(), Code::kBadFile, {"'model.layers.0.self_attn.k_proj.bias'", "[64]", "found [32, 2]"});
  ModelDir config("llama-tied");
  config.config["intermediate_size"] = 161;
  expect_failure(config.open(), Code::kBadFile, {"[161, 64]", "found [160, 64]"});
}

TEST(Open, WrongType) {
  ModelDir dir("llama-tied");
  dir.at("model.layers.0.mlp.up_proj.weight").dtype = "I16";
  expect_failure(dir.open(), Code::kUnsupported, {"'model.layers.0.mlp.up_proj.weight' is I16"});
}

TEST(Open, TiedHead) {
  ModelDir tied("llama-tied");
  const Result<ModelPtr> model = tied.open();
  ASSERT_TRUE(model.ok());
  EXPECT_FALSE((*model)->modules().back().can_quantize);
  tied.tensors.push_back(tied.at("model.embed_tokens.weight"));
  tied.tensors.back().name = "lm_head.weight";
  EXPECT_TRUE(tied.open().ok());  // ignored
  expect_failure(tied.open({.strict = true}), Code::kBadFile, {"tie_word_embeddings is true", "'lm_head.weight'"});
  ModelDir untied("llama3-rope-gqa");
  untied.remove("lm_head.weight");
  expect_failure(untied.open(), Code::kBadFile, {"missing tensor: lm_head.weight"});
}

TEST(Open, VocabularyOfTheEmbeddingWins) {
  ModelDir dir("llama-tied");
  dir.config["vocab_size"] = 250;
  const Result<ModelPtr> model = dir.open();
  ASSERT_TRUE(model.ok()) << model.status().text();
  EXPECT_EQ((*model)->config().vocab, 256);
  EXPECT_EQ((*model)->modules().back().rows, 256);
  expect_failure(dir.open({.strict = true}), Code::kBadFile, {"vocab_size is 250", "256 rows"});
}

TEST(Open, NotANumber) {
  ModelDir dir("llama-tied");  // F16: 0x7e00 is NaN, 0xfc00 minus infinity
  std::string& bytes = dir.at("model.layers.1.mlp.down_proj.weight").bytes;
  bytes[2 * 77] = '\x00', bytes[2 * 77 + 1] = '\x7e';
  bytes[2 * 99] = '\x00', bytes[2 * 99 + 1] = '\xfc';
  const Result<ModelPtr> model = dir.open();
  ASSERT_TRUE(model.ok());
  EXPECT_TRUE(load_block(**model, 0).ok());
  const std::vector<std::string> words = {"'model.layers.1.mlp.down_proj.weight' has 2 NaN or infinite", "index 77"};
  expect_failure(load_block(**model, 1), Code::kBadFile, words);
  const auto module = static_cast<size_t>((*model)->find_module("model.layers.1.mlp.down_proj"));
  expect_failure((*model)->load_weight(module), Code::kBadFile, words);
  ModelDir norm("llama3-rope-gqa");  // BF16
  norm.at("model.norm.weight").bytes[1] = '\x7f', norm.at("model.norm.weight").bytes[0] = '\x80';
  expect_failure(Ends::load(**norm.open()), Code::kBadFile, {"'model.norm.weight'"});
}

TEST(Open, QuantizationConfig) {
  ModelDir dir("llama-tied");
  dir.config["quantization_config"] = {{"quant_method", "aqlm"}};
  expect_failure(dir.open(), Code::kUnsupported, {"quantization_config", "aqlm"});
  dir.config["quantization_config"] = 4;
  expect_failure(dir.open(), Code::kBadFile, {"quantization_config must be an object"});
  // Packed tensors that nothing announces.
  dir.config.erase("quantization_config");
  dir.at("model.layers.0.mlp.up_proj.weight").name = "model.layers.0.mlp.up_proj.qweight";
  expect_failure(dir.open(), Code::kBadFile, {"up_proj.qweight' is packed", "quantization_config"});
}

TEST(Open, PackedCheckpoint) {
  const Result<ModelPtr> opened =
      Model::open(make_context(1), kGoldenQuantized + "qwen2-128-gptq-4bit-sym-g64-descact");
  ASSERT_TRUE(opened.ok()) << opened.status().text();
  const Model& model = **opened;
  EXPECT_EQ(model.format(), FormatId::kGptq);
  for (size_t i = 0; i < 7; ++i) {
    ASSERT_TRUE(model.quantized(i));
    EXPECT_EQ(model.stored_scheme(i)->scheme.bits, 4);
    EXPECT_EQ(model.stored_scheme(i)->scheme.group, 64);
    EXPECT_TRUE(model.stored_scheme(i)->g_idx);
  }
  EXPECT_FALSE(model.quantized(7));
  expect_failure(model.load_matrix(7), Code::kInvalidArgument, {"lm_head", "not quantized"});
  const Result<ModelPtr> plain = Model::open(make_context(1), kGoldenModels + "qwen2-128");
  EXPECT_EQ(model.parameters(), (*plain)->parameters());
  // The rows that the product sees are those of dequantize().
  const Result<Block> block = load_block(model, 0);
  ASSERT_TRUE(block.ok());
  const Matrix w = block->mlp.down.to_f32();
  Matrix unit(w.cols(), w.cols()), product(w.cols(), w.rows());
  for (int64_t c = 0; c < w.cols(); ++c) unit.row(c)[c] = 1;
  ASSERT_TRUE(block->mlp.down.apply(model.context(), unit.view(), false, product.data()).ok());
  for (int64_t r = 0; r < w.rows(); ++r) {
    for (int64_t c = 0; c < w.cols(); ++c) ASSERT_EQ(product.row(c)[r], w.row(r)[c]);
  }
}

// AutoGPTQ before it wrote into config.json: the same words in a file of their own.
TEST(Open, QuantizeConfigOfItsOwn) {
  const std::string source = kGoldenQuantized + "llama-128-gptq-4bit-sym-g128/";
  Json config = *parse_json(slurp(source + "config.json"), "config.json");
  TempDir dir;
  Json old = config["quantization_config"];
  config.erase("quantization_config"), old.erase("quant_method");
  dir.write("config.json", dump_json(config));
  dir.write("quantize_config.json", dump_json(old));
  dir.write("model.safetensors", slurp(source + "model.safetensors"));
  const Result<ModelPtr> model = Model::open(make_context(1), dir.path());
  ASSERT_TRUE(model.ok()) << model.status().text();
  EXPECT_EQ((*model)->format(), FormatId::kGptq);
  EXPECT_TRUE((*model)->load_matrix(0).ok());
  dir.write("quantize_config.json", "[]");
  expect_failure(Model::open(make_context(1), dir.path()), Code::kBadFile, {"quantize_config.json: must be an object"});
}

TEST(Open, Report) {
  const ModelDir dir("llama-tied");
  dir.write_file("qz_report.json", "{\"modules\": 3}");
  Result<ModelPtr> model = dir.open();
  ASSERT_TRUE(model.ok());
  ASSERT_NE((*model)->report(), nullptr);
  EXPECT_EQ((*(*model)->report())["modules"], 3);
  dir.write_file("qz_report.json", "{\"modules\": ");
  model = dir.open();
  ASSERT_TRUE(model.ok());
  EXPECT_EQ((*model)->report(), nullptr);
}

TEST(Open, WithMatrices) {
  const Result<ModelPtr> base = Model::open(make_context(1), kGoldenModels + "llama-tied");
  auto q = std::make_shared<QMatrix>();
  q->rows = 64, q->cols = 64;
  q->scheme = {CodeKind::kInt, 4, 32, true, DType::kF16};
  q->codes.assign(64 * 64, 9);
  q->scales.assign(64 * 2, 0.5f);
  ModelPtr model = Model::with_matrices(*base, {{7, q}}, FormatId::kCompressed, std::make_shared<Json>(Json::object()));
  EXPECT_EQ(model->find_module("model.layers.1.self_attn.q_proj"), 7);
  EXPECT_EQ(model->format(), FormatId::kCompressed);
  EXPECT_TRUE(model->quantized(7));
  EXPECT_FALSE(model->quantized(8));
  EXPECT_FALSE((*base)->quantized(7));
  const Result<Matrix> w = model->load_weight(7);
  ASSERT_TRUE(w.ok());
  EXPECT_EQ(w->row(63)[63], 0.5f * (9 - 8));
  EXPECT_EQ(load_block(*model, 1)->q.matrix(), q);
  EXPECT_EQ(load_block(*model, 0)->q.matrix(), nullptr);
  EXPECT_EQ(model->parameters(), (*base)->parameters());
}

TEST(Open, BiasesAndTiedWeight) {
  const Result<ModelPtr> model = Model::open(make_context(1), kGoldenModels + "qwen2-128");
  ASSERT_TRUE(model.ok());
  EXPECT_EQ((*model)->load_bias(0)->size(), 128u);
  EXPECT_TRUE((*model)->load_bias(3)->empty());
  const Result<Matrix> head = (*model)->load_weight((*model)->modules().size() - 1);
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(head->rows(), 256);
  expect_failure((*model)->load_vector("model.norm.weight", 5, true), Code::kBadFile,
                 {"must have 5 elements, found 128"});
  expect_failure((*model)->load_vector("no.such", 5, true), Code::kBadFile, {"'no.such' is missing"});
}

}  // namespace
}  // namespace qz
