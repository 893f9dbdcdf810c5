// A directory of an unknown family: what is missing, the closest table, and a description that opens it.
#include "model/family_check.h"

#include "model/model.h"
#include "unit/model/model_dir.h"

namespace qz {
namespace {

FamilyCheck check(const std::string& dir) {
  const Result<FamilyCheck> found = check_family(make_context(1), dir);
  EXPECT_TRUE(found.ok()) << found.status().text();
  return found.ok() ? *found : FamilyCheck();
}

void rename(ModelDir* model, const std::string& from, const std::string& to) {
  for (ModelDir::Tensor& t : model->tensors)
    if (const size_t at = t.name.find(from); at != std::string::npos) t.name.replace(at, from.size(), to);
}

TEST(FamilyCheck, KnownFamily) {
  const FamilyCheck found = check(kGoldenModels + "bloom");
  EXPECT_EQ(found.known, "bloom");
  EXPECT_EQ(found.problem, "");
  EXPECT_TRUE(found.suggestion.is_null());
}

// Every golden under another name: the closest table is its own or one with the same names, and its suggestion opens
// it.
TEST(FamilyCheck, OtherNameOfAClass) {
  for (const char* name : {"llama-tied", "opt-pre-ln", "bloom", "falcon-7b-style", "gpt2", "phi3-fused", "gemma2",
                           "starcoder2", "qwen2-128", "glm4", "gpt-neox"}) {
    ModelDir model(name);
    model.config["architectures"] = {"MineForCausalLM"};
    model.config["model_type"] = "mine";
    const FamilyCheck found = check(model.write());
    EXPECT_EQ(found.known, "");
    EXPECT_NE(found.problem.find("architecture 'MineForCausalLM' is not known"), std::string::npos) << found.problem;
    EXPECT_EQ(found.still, "") << name << ", closest " << found.closest << ": " << found.suggestion.dump();
    EXPECT_TRUE(found.missing.empty()) << name << ": " << found.missing.front();
    EXPECT_TRUE(found.unused.empty()) << name << ": " << found.unused.front();
    EXPECT_EQ(found.suggestion["name"], "mine");
  }
}

// Names of one table, keys of another: the suggestion puts them together.
TEST(FamilyCheck, NamesAreFoundInOtherTables) {
  ModelDir model("llama-tied");
  model.config["architectures"] = {"MixedForCausalLM"};
  model.config["n_embd"] = model.config["hidden_size"];
  model.config.erase("hidden_size");
  rename(&model, "model.layers.", "transformer.h.");
  rename(&model, "self_attn.o_proj", "self_attn.out_proj");
  rename(&model, "model.embed_tokens", "transformer.wte");
  rename(&model, "model.norm", "transformer.ln_f");
  const std::string dir = model.write();
  const FamilyCheck found = check(dir);
  EXPECT_EQ(found.closest, "llama");
  EXPECT_EQ(found.suggestion["layer"], "transformer.h.{}");
  EXPECT_EQ(found.suggestion["o"], "self_attn.out_proj");
  EXPECT_EQ(found.suggestion["embed"], "transformer.wte");
  EXPECT_EQ(found.suggestion["final_norm"], "transformer.ln_f");
  EXPECT_EQ(found.suggestion["keys"]["hidden"], "n_embd");
  EXPECT_EQ(found.still, "");
  ModelOptions options;
  options.arch_json = found.suggestion.dump();
  EXPECT_TRUE(Model::open(make_context(1), dir, options).ok());
}

TEST(FamilyCheck, SaysWhatNoTableExplains) {
  ModelDir model("llama-tied");
  model.config["architectures"] = {"OddForCausalLM"};
  model.config.erase("num_attention_heads");
  rename(&model, "mlp.down_proj", "mlp.sideways");
  const FamilyCheck found = check(model.write());
  EXPECT_EQ(found.closest, "llama");
  EXPECT_EQ(found.missing, std::vector<std::string>{"model.layers.{}.mlp.down_proj"});
  EXPECT_EQ(found.unused, std::vector<std::string>{"model.layers.{}.mlp.sideways"});
  EXPECT_EQ(found.missing_keys, std::vector<std::string>{"num_attention_heads"});
  EXPECT_NE(found.still, "");
  const Json json = family_check_to_json(found);
  EXPECT_EQ(json["architecture"], "OddForCausalLM");
  EXPECT_EQ(json["arch_json"]["base"], "llama");
}

TEST(FamilyCheck, NoDirectory) { EXPECT_FALSE(check_family(make_context(1), "/nowhere").ok()); }

}  // namespace
}  // namespace qz
