// Models that see: the language part runs from token ids and from ready embeddings whatever the style of the directory,
// is quantized, and the tower and the projector are kept or rounded.
#include "run/save.h"
#include "run/verify.h"
#include "unit/run/models.h"

namespace qz {
namespace {

constexpr const char* kInternvl = "internvl-qwen3";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

// A copy of the golden whose tensors have other names. Their places stay: the header is filled up with blanks.
void copy_renamed(const std::string& dir, const std::vector<std::pair<std::string, std::string>>& names) {
  std::filesystem::copy(kGoldenModels + kInternvl, dir);
  const std::string path = dir + "/model.safetensors";
  const std::string file = slurp(path);
  uint64_t size = 0;
  std::memcpy(&size, file.data(), 8);
  std::string header = file.substr(8, size);
  for (const auto& [from, to] : names) header = replaced(header, '"' + from, '"' + to);
  ASSERT_LE(header.size(), size);
  header.resize(size, ' ');
  std::ofstream(path, std::ios::binary) << file.substr(0, 8) << header << file.substr(8 + size);
}

// As the authors of InternVL write it.
void copy_chat(const std::string& dir) {
  copy_renamed(dir, {{"vision_tower.", "vision_model."}, {"multi_modal_projector.", "mlp1."}});
  Json config = Json::parse(slurp(dir + "/config.json"));
  config["architectures"] = {"InternVLChatModel"};
  config["model_type"] = "internvl_chat";
  config["llm_config"] = config["text_config"];
  config["llm_config"]["architectures"] = {"Qwen3ForCausalLM"};
  config["auto_map"] = {{"AutoModel", "modeling_internvl_chat.InternVLChatModel"}};
  config.erase("text_config");
  std::ofstream(dir + "/config.json") << config.dump();
}

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < a.size() && i < b.size(); i++)
    worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return worst;
}

// Logits of sequences of embeddings, [batch][length][hidden].
std::vector<float> logits_of_embeddings(const ModelPtr& model, const Npy<float>& x) {
  const int64_t batch = x.shape[0], length = x.shape[1];
  std::vector<float> logits(static_cast<size_t>(batch * length * model->config().vocab));
  auto session = Session::create(model, length, batch);
  EXPECT_TRUE(session.ok()) << session.status().text();
  if (!session.ok()) return {};
  const Status status = (*session)->step_embeddings(x.data.data(), length, true, logits.data());
  EXPECT_TRUE(status.ok()) << status.text();
  return logits;
}

TokenSet with_pictures(const Model& model, const Npy<float>& x) {
  TokenSet set = random_tokens(model, 4, 40);
  for (int64_t b = 0; b < x.shape[0]; b++) {
    Matrix rows(x.shape[1], x.shape[2]);
    std::copy_n(x.data.data() + b * x.shape[1] * x.shape[2], x.shape[1] * x.shape[2], rows.data());
    set.embeddings.push_back(std::move(rows));
  }
  return set;
}

void expect_golden(const ModelPtr& model) {
  ASSERT_NE(model, nullptr);
  const std::string golden = kGoldenModels + kInternvl;
  const Golden text = read_golden(golden);
  const int64_t batch = text.tokens.shape[0], length = text.tokens.shape[1];
  auto session = Session::create(model, length, batch);
  ASSERT_TRUE(session.ok()) << session.status().text();
  std::vector<float> logits(text.logits.data.size());
  ASSERT_TRUE((*session)->step(text.tokens.data.data(), length, true, logits.data()).ok());
  EXPECT_LT(difference(logits, text.logits.data), 5e-5);
  const auto x = read_npy<float>(golden + "/inputs_embeds.npy"), want = read_npy<float>(golden + "/logits_embeds.npy");
  EXPECT_LT(difference(logits_of_embeddings(model, x), want.data), 5e-5);
}

TEST(Vision, EveryStyleOfDirectory) {
  const TempDir dir;
  const ModelPtr model = golden(kInternvl);
  expect_golden(model);
  EXPECT_EQ(model->arch().name, "internvl");
  EXPECT_EQ(model->config().dtype, DType::kBF16);
  copy_chat(dir / "chat");
  const ModelPtr chat = open_model(dir / "chat");
  expect_golden(chat);
  EXPECT_EQ(chat->arch().name, "internvl_chat");
  copy_renamed(dir / "body", {{"language_model.model.", "model.language_model."},
                              {"language_model.lm_head", "lm_head"},
                              {"vision_tower.", "model.vit."},
                              {"multi_modal_projector.", "model.mlp."}});
  expect_golden(open_model(dir / "body"));
}

TEST(Vision, ListsWhatLiesOutside) {
  const ModelPtr model = golden(kInternvl);
  ASSERT_NE(model, nullptr);
  int64_t others = 0;
  for (size_t i = 0; i < model->modules().size(); i++) {
    const Module& m = model->modules()[i];
    others += m.role == Role::kOther;
    EXPECT_EQ(m.role == Role::kOther, m.name.rfind("language_model.", 0) != 0) << m.name;
    EXPECT_EQ(model->find_module(m.name), static_cast<int64_t>(i));
  }
  EXPECT_EQ(others, 8);  // two of the projector, six of the tower's one layer
  EXPECT_EQ(model->modules().back().name, "language_model.lm_head");
  EXPECT_EQ(model->block_modules(0).first, 8u);
  EXPECT_EQ(model->block_modules(1), (std::pair<size_t, size_t>{15, 22}));
}

TEST(Vision, LanguagePartAloneIsQuantized) {
  const TempDir dir;
  copy_chat(dir / "chat");
  for (const std::string& source : {kGoldenModels + kInternvl, dir / "chat"}) {
    const ModelPtr model = open_model(source, 2);
    ASSERT_NE(model, nullptr);
    const auto x = read_npy<float>(kGoldenModels + kInternvl + "/inputs_embeds.npy");
    const TokenSet calibration = with_pictures(*model, x);
    const ModelPtr memory = run(plan_of(model, {rule("*", Method::kGptq, "w4g16")}), &calibration, {});
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(report_of(*memory).calibration_tokens, calibration.tokens());
    EXPECT_EQ(report_of(*memory).calibration_sequences, 4 + x.shape[0]);
    const std::string path = dir / ("out" + std::to_string(model->arch().name.size()));
    ASSERT_TRUE(save_model(*memory, path, {}, nullptr).ok());
    const ModelPtr file = open_model(path);
    ASSERT_NE(file, nullptr);
    EXPECT_TRUE(verify_directory(*memory, path, nullptr)->ok());
    const std::vector<float> want = logits_of_embeddings(memory, x);
    EXPECT_TRUE(logits_of_embeddings(file, x) == want);
    EXPECT_GT(difference(want, logits_of_embeddings(model, x)), 1e-3);
    for (size_t i = 0; i < file->modules().size(); i++) {
      const Module& m = file->modules()[i];
      EXPECT_EQ(file->quantized(i), m.layer >= 0) << m.name;
    }
    // Loaders call modules otherwise than the file does: the whole tower is left out by a pattern.
    const std::string ignore = file->checkpoint()->config()["quantization_config"]["ignore"].dump();
    const bool chat = model->arch().name == "internvl_chat";
    EXPECT_EQ(ignore,
              Json::array({std::string("re:^(model\\.)?") + (chat ? "mlp1" : "multi_modal_projector") + "(\\..*)?$",
                           std::string("re:^(model\\.)?") + (chat ? "vision_model" : "vision_tower") + "(\\..*)?$",
                           "re:^(model\\.)?(language_model\\.)?(model\\.)?lm_head$"})
                  .dump());
  }
}

TEST(Vision, TowerIsRoundedByRule) {
  const TempDir dir;
  const ModelPtr model = golden(kInternvl, 2);
  ASSERT_NE(model, nullptr);
  const auto x = read_npy<float>(kGoldenModels + kInternvl + "/inputs_embeds.npy");
  const TokenSet calibration = with_pictures(*model, x);
  struct Case {
    const char *language, *tower;
    FormatId format;
  };
  for (const Case& c : {Case{"w4g16", "w8row", FormatId::kCompressed}, Case{"nf4", "nf4", FormatId::kBitsandbytes},
                        Case{"llm-int8", "llm-int8", FormatId::kBitsandbytes}}) {
    const Method method = std::string(c.language) == "w4g16" ? Method::kGptq : Method::kRtn;
    const Plan plan = plan_of(model, {rule("*", method, c.language), rule("vision_tower.*", Method::kRtn, c.tower)});
    RunOptions options;
    options.format = c.format;
    const ModelPtr memory = run(plan, &calibration, options);
    ASSERT_NE(memory, nullptr);
    WriteOptions write;
    write.format = c.format;
    const std::string path = dir / c.language;
    const Status saved = save_model(*memory, path, write, nullptr);
    ASSERT_TRUE(saved.ok()) << saved.text();
    const ModelPtr file = open_model(path);
    ASSERT_NE(file, nullptr);
    ASSERT_EQ(file->modules().size(), model->modules().size());
    EXPECT_TRUE(verify_directory(*memory, path, nullptr)->ok());
    EXPECT_TRUE(logits_of_embeddings(file, x) == logits_of_embeddings(memory, x));
    for (size_t i = 0; i < file->modules().size(); i++) {
      const Module& m = file->modules()[i];
      const bool tower = m.name.rfind("vision_tower.", 0) == 0;
      EXPECT_EQ(file->quantized(i), tower || m.layer >= 0) << m.name;
      if (!tower) continue;
      EXPECT_EQ(hash_qmatrix(**file->load_matrix(i)), hash_qmatrix(**memory->load_matrix(i))) << m.name;
    }
  }
  RunOptions gptq;
  gptq.format = FormatId::kGptq;
  const Plan tower = plan_of(model, {rule("vision_tower.*", Method::kRtn, "w4g32")});
  expect_failure(run_plan(tower, nullptr, gptq).status(), Code::kUnsupported,
                 {"vision_tower.encoder.layer.0.", "compressed-tensors and bitsandbytes only"});
  const Plan blind = plan_of(model, {rule("vision_tower.*", Method::kGptq, "w4g16")});
  expect_failure(run_plan(blind, &calibration, {}).status(), Code::kUnsupported,
                 {"vision_tower.encoder.layer.0.", "outside the blocks"});
}

TEST(Vision, WrongInputs) {
  const TempDir dir;
  const ModelPtr model = golden(kInternvl);
  ASSERT_NE(model, nullptr);
  TokenSet narrow;
  narrow.embeddings.emplace_back(8, 63);
  const Plan plan = plan_of(model, {rule("*", Method::kGptq, "w4g16")});
  expect_failure(run_plan(plan, &narrow, {}).status(), Code::kInvalidArgument,
                 {"sequence 0 of embeddings has 63 numbers", "64"});
  expect_failure(save_tokens(narrow, dir / "tokens"), Code::kUnsupported, {"embeddings"});
  std::filesystem::copy(kGoldenModels + kInternvl, dir / "model");
  const Json good = Json::parse(slurp(dir / "model/config.json"));
  const auto expect_refused = [&](const Json& config, Code code, const std::vector<std::string>& words) {
    std::ofstream(dir / "model/config.json") << config.dump();
    expect_failure(Model::open(make_context(1), dir / "model").status(), code, words);
  };
  Json config = good;
  config.erase("text_config");
  expect_refused(config, Code::kBadFile, {"missing key text_config"});
  config["text_config"] = 3;
  expect_refused(config, Code::kBadFile, {"text_config: must be an object"});
  config = good;
  config["text_config"]["model_type"] = "internvl";
  expect_refused(config, Code::kUnsupported, {"text_config: a language part that has one itself"});
  config["text_config"]["model_type"] = "qwen9";
  expect_refused(config, Code::kUnsupported, {"text_config: architecture 'qwen9' is not known"});
  config = good;
  config["text_config"].erase("hidden_size");
  expect_refused(config, Code::kBadFile, {"text_config: missing key hidden_size"});
}

}  // namespace
}  // namespace qz
