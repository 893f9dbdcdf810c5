// Models as GGUF files and back: names, orders of rows, metadata, experts in stacks, tokenizers. The other direction,
// files that llama.cpp wrote, is in unit/model/logits_test.cc.
#include "io/gguf.h"
#include "run/save.h"
#include "run/verify.h"
#include "unit/run/models.h"

namespace qz {
namespace {

const char* const kFamilies[] = {"llama-128", "llama-tied", "llama3-rope-gqa", "mixtral",    "qwen2-128",
                                 "qwen2-moe", "qwen3-moe",  "qwen3-qknorm",    "phi3-fused", "starcoder2"};

// A plan for all modules whose rows are whole blocks.
Plan blocks_plan(const ModelPtr& model, Method method, const std::string& scheme, int64_t block) {
  std::vector<Rule> rules = {rule("*", Method::kKeep)};
  for (const Module& m : model->modules())
    if (m.can_quantize && m.layer >= 0 && m.cols % block == 0) rules.push_back(rule(m.name, method, scheme));
  return plan_of(model, rules);
}

ModelPtr write_gguf(const ModelPtr& model, const std::string& path) {
  WriteOptions options;
  options.format = FormatId::kGguf;
  const Status saved = save_model(*model, path, options, nullptr);
  EXPECT_TRUE(saved.ok()) << saved.text();
  return saved.ok() ? open_model(path) : nullptr;
}

class GgufFamilies : public testing::TestWithParam<const char*> {};

TEST_P(GgufFamilies, AreWrittenAndReadBack) {
  const ModelPtr model = golden(GetParam(), 2);
  RunOptions options;
  options.format = FormatId::kGguf;
  const ModelPtr memory = run(blocks_plan(model, Method::kRtn, "q5_1", 32), nullptr, options);
  ASSERT_NE(memory, nullptr);
  const TempDir dir;
  const ModelPtr file = write_gguf(memory, dir / "gguf");
  ASSERT_NE(file, nullptr);
  EXPECT_TRUE(matrix_hashes(*file) == matrix_hashes(*memory));
  const std::vector<float> want = logits_of(memory), have = logits_of(file);
  ASSERT_EQ(want.size(), have.size());
  for (size_t i = 0; i < want.size(); i++) ASSERT_NEAR(want[i], have[i], 2e-6) << i;  // factors of the rotary base
  const Verification v = *verify_directory(*memory, dir / "gguf", nullptr);
  EXPECT_TRUE(v.ok()) << dump_json(verification_to_json(v));
  EXPECT_NE(open_model(dir / "gguf/model.gguf"), nullptr);  // the file alone
}

INSTANTIATE_TEST_SUITE_P(Models, GgufFamilies, testing::ValuesIn(kFamilies), [](const auto& which) {
  std::string name = which.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// Integers in groups of 32 become blocks and come back, whatever lies between.
TEST(Gguf, ConvertsExactlyWhereTheGridsAgree) {
  const ModelPtr model = golden("llama-128", 2);
  const std::pair<const char*, const char*> kEdges[] = {{"w4g32", "q4_0"}, {"w8g32", "q8_0"}};
  for (const auto& [grid, block] : kEdges) {
    SCOPED_TRACE(grid);
    Rule all = rule("*", Method::kRtn, grid);
    all.scheme.scale = DType::kF16;  // what blocks have
    RunOptions options;
    options.format = FormatId::kGptqV2;
    const ModelPtr memory = run(plan_of(model, {all}), nullptr, options);
    ASSERT_NE(memory, nullptr);
    const TempDir dir;
    const ModelPtr file = write_gguf(memory, dir / "gguf");
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(scheme_name(file->load_matrix(0)->get()->scheme), block);
    WriteOptions back;
    back.format = FormatId::kGptqV2;
    ASSERT_TRUE(save_model(*file, dir / "back", back, nullptr).ok());
    EXPECT_TRUE(matrix_hashes(*open_model(dir / "back")) == matrix_hashes(*memory));
  }
}

TEST(Gguf, FilesOfTheToolComeBackAsTheyWere) {
  for (const char* name : {"llama-128-gguf-q4_0", "llama-256-gguf-q4_k_m", "qwen2-128-gguf-q8_0"}) {
    SCOPED_TRACE(name);
    const ModelPtr theirs = open_model(kGoldenQuantized + name);
    ASSERT_NE(theirs, nullptr);
    const TempDir dir;
    const ModelPtr ours = write_gguf(theirs, dir / "gguf");
    ASSERT_NE(ours, nullptr);
    EXPECT_TRUE(matrix_hashes(*ours) == matrix_hashes(*theirs));
    EXPECT_TRUE(logits_of(ours) == logits_of(theirs));
  }
}

TEST(Gguf, PartsHoldWhatOneFileHolds) {
  const ModelPtr model = golden("llama-128", 2);
  RunOptions options;
  options.format = FormatId::kGguf;
  const ModelPtr memory = run(blocks_plan(model, Method::kRtn, "q4_0", 32), nullptr, options);
  ASSERT_NE(memory, nullptr);
  const TempDir dir;
  WriteOptions write;
  write.format = FormatId::kGguf;
  write.shard_bytes = 60000;
  const Status saved = save_model(*memory, dir / "parts", write, nullptr);
  ASSERT_TRUE(saved.ok()) << saved.text();
  EXPECT_FALSE(std::filesystem::exists(dir / "parts/model.gguf"));
  size_t parts = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "parts"))
    parts += entry.path().extension() == ".gguf";
  ASSERT_GT(parts, 2u);
  const ModelPtr file = open_model(dir / "parts"), one = write_gguf(memory, dir / "one");
  ASSERT_NE(file, nullptr);
  EXPECT_TRUE(matrix_hashes(*file) == matrix_hashes(*memory));
  EXPECT_TRUE(logits_of(file) == logits_of(one));
  const Verification v = *verify_directory(*memory, dir / "parts", nullptr);
  EXPECT_TRUE(v.ok()) << dump_json(verification_to_json(v));
  write.overwrite = true;
  write.shard_bytes = 0;
  EXPECT_TRUE(save_model(*memory, dir / "parts", write, nullptr).ok());
  EXPECT_FALSE(std::filesystem::exists(dir / "parts/model-00001-of-00003.gguf"));
  write.shard_bytes = 1;  // a part for each tensor
  EXPECT_TRUE(save_model(*memory, dir / "many", write, nullptr).ok());
}

TEST(Gguf, GptqOnBlocksBeatsRounding) {
  const ModelPtr model = golden("llama-128", 2);
  const TokenSet tokens = random_tokens(*model, 12, 200);
  for (const char* scheme : {"q4_0", "q5_1", "iq4_nl"}) {
    SCOPED_TRACE(scheme);
    RunOptions options;
    options.format = FormatId::kGguf;
    const Plan plan = blocks_plan(model, Method::kGptq, scheme, 32);
    const ModelPtr made = run(plan, &tokens, options);
    ASSERT_NE(made, nullptr);
    double gptq = 0, rtn = 0;
    for (const ModuleReport& m : report_of(*made).modules) gptq += m.output_error, rtn += m.rtn_output_error;
    EXPECT_LT(gptq, rtn);
    const ModelPtr threads = run(blocks_plan(golden("llama-128", 3), Method::kGptq, scheme, 32), &tokens, options);
    EXPECT_TRUE(matrix_hashes(*threads) == matrix_hashes(*made));
  }
}

TEST(Gguf, WhatLlamaCppHasNotIsRefusedBeforeAnyWork) {
  const ModelPtr model = golden("opt-pre-ln", 1);
  RunOptions options;
  options.format = FormatId::kGguf;
  const ModelPtr memory = run(plan_of(model, {rule("*", Method::kRtn, "q4_0")}), nullptr, options);
  ASSERT_NE(memory, nullptr);
  const TempDir dir;
  WriteOptions write;
  write.format = FormatId::kGguf;
  expect_failure(save_model(*memory, dir / "gguf", write, nullptr), Code::kUnsupported,
                 {"no way is known to write a model of class OPTForCausalLM"});
  EXPECT_FALSE(std::filesystem::exists(dir / "gguf"));
}

// A byte-level and a SentencePiece-like tokenizer, as keys of the file.
TEST(Gguf, TokenizersBecomeKeys) {
  const TempDir dir;
  const auto keys = [&](const std::string& tokenizer, const std::string& settings) {
    std::filesystem::remove_all(dir / "source");
    std::filesystem::copy(kGoldenModels + "llama-128", dir / "source");
    std::ofstream(dir / "source/tokenizer.json") << tokenizer;
    std::ofstream(dir / "source/tokenizer_config.json") << settings;
    RunOptions options;
    options.format = FormatId::kGguf;
    const ModelPtr memory =
        run(plan_of(open_model(dir / "source"), {rule("*", Method::kRtn, "q4_0")}), nullptr, options);
    std::filesystem::remove_all(dir / "gguf");
    write_gguf(memory, dir / "gguf");
    auto file = File::open(dir / "gguf/model.gguf");
    EXPECT_TRUE(file.ok());
    return read_gguf_header(**file, {})->metadata;
  };
  Json bytes = keys(R"({"model": {"type": "BPE", "vocab": {"a": 3, "b": 4, "ab": 5}, "merges": [["a", "b"]]},
    "added_tokens": [{"id": 0, "content": "<s>", "special": true}, {"id": 6, "content": "<x>", "special": false}],
    "pre_tokenizer": {"type": "ByteLevel"}, "decoder": {"type": "ByteLevel"}})",
                    R"({"bos_token": "<s>", "eos_token": {"content": "ab"}, "chat_template": "{{x}}"})");
  EXPECT_EQ(bytes["tokenizer.ggml.model"], "gpt2");
  EXPECT_EQ(bytes["tokenizer.ggml.pre"], "gpt-2");
  EXPECT_EQ(bytes["tokenizer.ggml.tokens"].size(), 256u);
  EXPECT_EQ(bytes["tokenizer.ggml.tokens"][5], "ab");
  EXPECT_EQ(bytes["tokenizer.ggml.tokens"][7], "[PAD7]");
  EXPECT_EQ(bytes["tokenizer.ggml.token_type"][0], 3);
  EXPECT_EQ(bytes["tokenizer.ggml.token_type"][5], 1);
  EXPECT_EQ(bytes["tokenizer.ggml.token_type"][6], 4);
  EXPECT_EQ(bytes["tokenizer.ggml.token_type"][7], 5);
  EXPECT_EQ(bytes["tokenizer.ggml.merges"], Json({"a b"}));
  EXPECT_EQ(bytes["tokenizer.ggml.bos_token_id"], 0);
  EXPECT_EQ(bytes["tokenizer.ggml.eos_token_id"], 5);
  EXPECT_EQ(bytes["tokenizer.chat_template"], "{{x}}");
  Json pieces = keys(R"({"model": {"type": "BPE", "byte_fallback": true, "unk_token": "<unk>",
    "vocab": {"<unk>": 0, "<s>": 1, "<0x0A>": 2, "a": 3, "b": 4, "ab": 5, "ba": 6}, "merges": ["b a", "a b"]},
    "added_tokens": [{"id": 1, "content": "<s>", "special": true}], "normalizer": {"type": "Sequence",
    "normalizers": [{"type": "Prepend", "prepend": "_"}]}})",
                     R"({"bos_token": "<s>", "add_bos_token": true})");
  EXPECT_EQ(pieces["tokenizer.ggml.model"], "llama");
  EXPECT_EQ(pieces["tokenizer.ggml.token_type"][0], 2);
  EXPECT_EQ(pieces["tokenizer.ggml.token_type"][2], 6);
  EXPECT_GT(pieces["tokenizer.ggml.scores"][6].get<float>(), pieces["tokenizer.ggml.scores"][5].get<float>());
  EXPECT_GT(pieces["tokenizer.ggml.scores"][5].get<float>(), pieces["tokenizer.ggml.scores"][3].get<float>());
  EXPECT_EQ(pieces["tokenizer.ggml.add_space_prefix"], true);
  EXPECT_EQ(pieces["tokenizer.ggml.add_bos_token"], true);
  EXPECT_EQ(keys(R"({"model": {"type": "WordPiece"}})", "{}")["tokenizer.ggml.model"], "none");
}

}  // namespace
}  // namespace qz
