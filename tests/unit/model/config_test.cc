// config.json in all its styles, and what is refused.
#include "model/config.h"

#include <gtest/gtest.h>

#include "arch/list.h"
#include "unit/model/model_dir.h"

namespace qz {
namespace {

const ArchDesc& family(const char* model_type) { return *find_architecture("", model_type); }

Json llama() {
  return Json{{"hidden_size", 64},          {"num_hidden_layers", 4},         {"num_attention_heads", 8},
              {"num_key_value_heads", 2},   {"intermediate_size", 128},       {"vocab_size", 300},
              {"rms_norm_eps", 1e-5},       {"max_position_embeddings", 512}, {"hidden_act", "silu"},
              {"tie_word_embeddings", true}};
}
Result<ModelConfig> parse(const Json& json, const char* model_type = "llama") {
  return parse_model_config(*make_context(1), json, family(model_type), "config.json");
}
Json with(Json json, const char* key, const Json& value) {
  json[key] = value;
  return json;
}

TEST(Config, Plain) {
  const Result<ModelConfig> c = parse(llama());
  ASSERT_TRUE(c.ok()) << c.status().text();
  EXPECT_EQ(c->hidden, 64);
  EXPECT_EQ(c->layers, 4);
  EXPECT_EQ(c->heads, 8);
  EXPECT_EQ(c->kv_heads, 2);
  EXPECT_EQ(c->head_dim, 8);
  EXPECT_EQ(c->intermediate, 128);
  EXPECT_EQ(c->vocab, 300);
  EXPECT_EQ(c->max_seq, 512);
  EXPECT_EQ(c->embed_dim, 64);
  EXPECT_EQ(c->norm_eps, 1e-5);
  EXPECT_TRUE(c->tied);
  EXPECT_TRUE(c->final_norm);
  EXPECT_EQ(c->dtype, DType::kNone);
  EXPECT_EQ(c->bos, -1);
  EXPECT_EQ(c->rope.kind, RopeKind::kDefault);
  EXPECT_EQ(c->rope.theta, 10000);
  EXPECT_EQ(c->window, std::vector<int64_t>(4, 0));
}

TEST(Config, MissingKeysInOneMessage) {
  Json json = llama();
  json.erase("hidden_size"), json.erase("vocab_size"), json.erase("intermediate_size");
  json["num_hidden_layers"] = nullptr;
  expect_failure(parse(json), Code::kBadFile,
                 {"config.json: missing keys hidden_size, num_hidden_layers, intermediate_size, vocab_size"});
}

TEST(Config, OptionalKeys) {
  Json json = llama();
  json.erase("num_key_value_heads"), json.erase("rms_norm_eps"), json.erase("tie_word_embeddings");
  const Result<ModelConfig> c = parse(json);
  ASSERT_TRUE(c.ok()) << c.status().text();
  EXPECT_EQ(c->kv_heads, 8);
  EXPECT_EQ(c->norm_eps, 1e-6);
  EXPECT_FALSE(c->tied);
}

TEST(Config, WrongTypes) {
  for (const Json& bad : {Json("4096"), Json(true), Json::array({1}), Json::object(), Json(64.5)}) {
    expect_failure(parse(with(llama(), "hidden_size", bad)), Code::kBadFile, {"hidden_size must be an integer, found"});
  }
  const Result<ModelConfig> c = parse(with(llama(), "hidden_size", 64.0));  // some writers do that
  ASSERT_TRUE(c.ok()) << c.status().text();
  EXPECT_EQ(c->hidden, 64);
  expect_failure(parse(with(llama(), "rms_norm_eps", "small")), Code::kBadFile, {"rms_norm_eps must be a number"});
  expect_failure(parse(with(llama(), "tie_word_embeddings", 1)), Code::kBadFile, {"tie_word_embeddings must be true"});
  expect_failure(parse(with(llama(), "hidden_act", 3)), Code::kBadFile, {"hidden_act must be a string, found 3"});
  expect_failure(parse(Json::array()), Code::kBadFile, {"must be an object"});
}

TEST(Config, AbsurdNumbers) {
  const struct {
    const char* key;
    Json value;
    const char* limit;
  } cases[] = {{"num_hidden_layers", 1000000000000000000, "limits.layers"},
               {"num_hidden_layers", 0, "limits.layers"},
               {"num_hidden_layers", -1, "limits.layers"},
               {"hidden_size", int64_t{1} << 31, "limits.hidden"},
               {"intermediate_size", 0, "limits.hidden"},
               {"vocab_size", UINT64_MAX, "limits.vocab"},
               {"num_attention_heads", 1 << 20, "limits.heads"},
               {"head_dim", 0, "limits.hidden"},
               {"max_position_embeddings", 0, "max_position_embeddings"},
               {"rms_norm_eps", -1, "rms_norm_eps"},
               {"rms_norm_eps", 2, "rms_norm_eps"}};
  for (const auto& c : cases) {
    expect_failure(parse(with(llama(), c.key, c.value)), Code::kBadFile, {c.key, c.limit, "found"});
  }
}

TEST(Config, Heads) {
  expect_failure(parse(with(llama(), "num_key_value_heads", 3)), Code::kBadFile, {"8 is not a multiple of", "3"});
  expect_failure(parse(with(with(llama(), "num_attention_heads", 6), "num_key_value_heads", 6)), Code::kBadFile,
                 {"hidden_size 64 is not a multiple of num_attention_heads 6"});
  const Result<ModelConfig> c = parse(with(llama(), "head_dim", 32));  // Qwen3: not hidden / heads
  ASSERT_TRUE(c.ok()) << c.status().text();
  EXPECT_EQ(c->head_dim, 32);
  EXPECT_EQ(parse(with(llama(), "head_dim", nullptr))->head_dim, 8);
  expect_failure(parse(with(llama(), "head_dim", 5)), Code::kBadFile, {"even number of dimensions"});
}

TEST(Config, DTypeInBothStyles) {
  EXPECT_EQ(parse(with(llama(), "dtype", "bfloat16"))->dtype, DType::kBF16);
  EXPECT_EQ(parse(with(llama(), "torch_dtype", "float16"))->dtype, DType::kF16);
  EXPECT_EQ(parse(with(llama(), "torch_dtype", "torch.float32"))->dtype, DType::kF32);
  expect_failure(parse(with(llama(), "dtype", "int8")), Code::kUnsupported, {"dtype \"int8\""});
}

TEST(Config, Activations) {
  EXPECT_EQ(parse(with(llama(), "hidden_act", "gelu"))->activation, Activation::kGelu);
  EXPECT_EQ(parse(with(llama(), "hidden_act", "gelu_pytorch_tanh"))->activation, Activation::kGeluTanh);
  expect_failure(parse(with(llama(), "hidden_act", "mish")), Code::kUnsupported, {"hidden_act \"mish\""});
}

TEST(Config, Tokens) {
  Json json = llama();
  json["bos_token_id"] = 1, json["eos_token_id"] = Json::array({7, 8});
  EXPECT_EQ(parse(json)->bos, 1);
  EXPECT_EQ(parse(json)->eos, 7);
  json["bos_token_id"] = 300, json["eos_token_id"] = "end";
  EXPECT_EQ(parse(json)->bos, -1);
  EXPECT_EQ(parse(json)->eos, -1);
}

TEST(Config, RopeInBothStyles) {
  Json old_style = llama(), new_style = llama();
  old_style["rope_theta"] = 5e5;
  old_style["rope_scaling"] = {{"type", "llama3"},
                               {"factor", 8.0},
                               {"low_freq_factor", 1.0},
                               {"high_freq_factor", 4.0},
                               {"original_max_position_embeddings", 64}};
  new_style["rope_parameters"] = old_style["rope_scaling"];
  new_style["rope_parameters"]["rope_theta"] = 5e5;
  new_style["rope_parameters"]["rope_type"] = "llama3";
  new_style["rope_parameters"].erase("type");
  for (const Json& json : {old_style, new_style}) {
    const Result<ModelConfig> c = parse(json);
    ASSERT_TRUE(c.ok()) << c.status().text();
    EXPECT_EQ(c->rope.kind, RopeKind::kLlama3);
    EXPECT_EQ(c->rope.theta, 5e5);
    EXPECT_EQ(c->rope.factor, 8);
    EXPECT_EQ(c->rope.original_max_seq, 64);
  }
  EXPECT_EQ(parse(with(llama(), "rope_scaling", nullptr))->rope.kind, RopeKind::kDefault);
  const Json yarn = {{"rope_type", "yarn"}, {"factor", 4.0}, {"truncate", false}};
  const Result<ModelConfig> c = parse(with(llama(), "rope_scaling", yarn));
  ASSERT_TRUE(c.ok()) << c.status().text();
  EXPECT_EQ(c->rope.kind, RopeKind::kYarn);
  EXPECT_EQ(c->rope.original_max_seq, 512);  // the model's, when not given
  EXPECT_FALSE(c->rope.truncate);
  EXPECT_EQ(c->rope.beta_fast, 32);
  EXPECT_EQ(parse(with(llama(), "partial_rotary_factor", 0.5))->rope.partial, 0.5);
}

TEST(Config, RopeRefused) {
  const auto scaled = [](Json rope) { return parse(with(llama(), "rope_scaling", std::move(rope))); };
  expect_failure(scaled({{"rope_type", "spiral"}}), Code::kUnsupported, {"rope_scaling", "\"spiral\""});
  expect_failure(scaled({{"rope_type", "longrope"}}), Code::kBadFile, {"short_factor must be a list of 4 numbers"});
  expect_failure(scaled({{"rope_type", "linear"}}), Code::kBadFile, {"rope_scaling: missing key factor"});
  expect_failure(scaled({{"rope_type", "linear"}, {"factor", 0}}), Code::kBadFile, {"factor must be from"});
  expect_failure(scaled({{"type", 3}}), Code::kBadFile, {"type must be a string"});
  expect_failure(scaled(Json::array()), Code::kBadFile, {"rope_scaling must be an object"});
  expect_failure(scaled({{"type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}, {"high_freq_factor", 4}}),
                 Code::kBadFile, {"high_freq_factor must be greater"});
}

TEST(Config, SlidingWindows) {
  using Windows = std::vector<int64_t>;
  EXPECT_EQ(parse(llama(), "mistral")->window, Windows(4, 4096));  // transformers' default when the key is absent
  EXPECT_EQ(parse(with(llama(), "sliding_window", nullptr), "mistral")->window, Windows(4, 0));
  EXPECT_EQ(parse(with(llama(), "sliding_window", 100), "mistral")->window, Windows(4, 100));
  EXPECT_EQ(parse(with(llama(), "sliding_window", 100))->window, Windows(4, 0));  // Llama has none

  Json qwen = with(llama(), "sliding_window", 100);
  EXPECT_EQ(parse(qwen, "qwen2")->window, Windows(4, 0));
  qwen["use_sliding_window"] = true;
  qwen["max_window_layers"] = 3;
  EXPECT_EQ(parse(qwen, "qwen2")->window, (Windows{0, 0, 0, 100}));
  Json moe = qwen;  // Qwen3's mixtures have no max_window_layers
  moe.update({{"num_experts", 4}, {"num_experts_per_tok", 2}, {"moe_intermediate_size", 16}});
  EXPECT_EQ(parse(moe, "qwen3_moe")->window, Windows(4, 100));
  EXPECT_EQ(parse(moe, "qwen2_moe")->window, (Windows{0, 0, 0, 100}));
  qwen["layer_types"] = {"sliding_attention", "full_attention", "full_attention", "sliding_attention"};
  EXPECT_EQ(parse(qwen, "qwen3")->window, (Windows{100, 0, 0, 100}));
  qwen["layer_types"] = {"sliding_attention"};
  expect_failure(parse(qwen, "qwen3"), Code::kBadFile, {"layer_types must be a list of 4"});
  qwen["layer_types"] = {"sliding_attention", "full_attention", "linear_attention", "sliding_attention"};
  expect_failure(parse(qwen, "qwen3"), Code::kUnsupported, {"layer_types[2]", "linear_attention"});
}

// The language part of google/gemma-3-4b-it, which leaves most of itself to the defaults of its class.
TEST(Config, Defaults) {
  Json gemma = {{"hidden_size", 2560},
                {"intermediate_size", 10240},
                {"model_type", "gemma3_text"},
                {"num_hidden_layers", 34},
                {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
                {"sliding_window", 1024}};
  const Result<ModelConfig> c = parse(gemma, "gemma3_text");
  ASSERT_TRUE(c.ok()) << c.status().text();
  EXPECT_EQ(c->heads, 8);
  EXPECT_EQ(c->kv_heads, 4);
  EXPECT_EQ(c->head_dim, 256);
  EXPECT_EQ(c->vocab, 262208);
  EXPECT_EQ(c->max_seq, 131072);
  EXPECT_EQ(c->rope.theta, 1e6);
  EXPECT_EQ(c->rope.factor, 8);
  EXPECT_EQ(c->local_rope.theta, 1e4);
  EXPECT_EQ(c->local_rope.factor, 1);
  EXPECT_EQ(c->window[4], 1024);
  EXPECT_EQ(c->window[5], 0);
  EXPECT_EQ(parse(with(gemma, "num_attention_heads", 16), "gemma3_text")->heads, 16);
  EXPECT_EQ(parse(with(llama(), "hidden_act", "gelu"), "gemma2")->logit_cap, 30);
  EXPECT_EQ(parse(with(llama(), "final_logit_softcapping", nullptr), "gemma2")->logit_cap, 0);  // null: none
}

TEST(Config, ValuesThatTheTableDoesNotCompute) {
  const auto bert = [](const char* key, const Json& value) { return parse(with(llama(), key, value), "bert"); };
  expect_failure(bert("is_decoder", true), Code::kUnsupported, {"is_decoder is true", "bert is known with false only"});
  EXPECT_TRUE(bert("is_decoder", false).ok());
  EXPECT_TRUE(bert("is_decoder", nullptr).ok());
  EXPECT_TRUE(bert("position_embedding_type", "absolute").ok());
  expect_failure(bert("position_embedding_type", "relative_key"), Code::kUnsupported, {"\"relative_key\""});
}

TEST(Config, HeadActivation) {
  EXPECT_EQ(parse(with(llama(), "hidden_act", "relu"), "bert")->head_activation, Activation::kRelu);
  EXPECT_EQ(parse(with(llama(), "hidden_act", "relu"), "roberta")->head_activation, Activation::kGelu);
  EXPECT_EQ(parse(with(llama(), "hidden_act", "relu"), "roberta")->activation, Activation::kRelu);
}

TEST(Config, Opt) {
  Json json = {{"hidden_size", 48},
               {"num_hidden_layers", 2},
               {"num_attention_heads", 4},
               {"ffn_dim", 96},
               {"vocab_size", 256},
               {"max_position_embeddings", 64},
               {"activation_function", "relu"},
               {"word_embed_proj_dim", 24},
               {"do_layer_norm_before", false}};
  Result<ModelConfig> c = parse(json, "opt");
  ASSERT_TRUE(c.ok()) << c.status().text();
  EXPECT_EQ(c->embed_dim, 24);
  EXPECT_FALSE(c->norm_first);
  EXPECT_FALSE(c->final_norm);
  EXPECT_TRUE(c->tied);
  EXPECT_EQ(c->norm_eps, 1e-5);
  json["do_layer_norm_before"] = true;
  EXPECT_TRUE(parse(json, "opt")->final_norm);
  json["_remove_final_layer_norm"] = true;
  EXPECT_FALSE(parse(json, "opt")->final_norm);
}

}  // namespace
}  // namespace qz
