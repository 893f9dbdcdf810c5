// The tables, and descriptions as JSON.
#include <gtest/gtest.h>

#include "arch/list.h"
#include "base/json.h"

namespace qz {
namespace {

void expect_refused(const std::string& json, const std::vector<std::string>& words) {
  const Result<std::shared_ptr<const ArchDesc>> desc = arch_from_json(json);
  ASSERT_FALSE(desc.ok()) << json;
  for (const std::string& word : words) {
    EXPECT_NE(desc.status().text().find(word), std::string::npos) << "'" << word << "' in: " << desc.status().text();
  }
}

TEST(Arch, Sorted) {
  std::string before;
  for (const ArchDesc* desc : architectures()) {
    EXPECT_LT(before, std::string(desc->name));
    before = desc->name;
  }
}

TEST(Arch, Find) {
  EXPECT_EQ(find_architecture("Qwen3ForCausalLM", "")->name, "qwen3");
  EXPECT_EQ(find_architecture("OPTForCausalLM", "llama")->name, "opt");  // the class wins
  EXPECT_EQ(find_architecture("", "mistral")->name, "mistral");
  EXPECT_EQ(find_architecture("GrokForCausalLM", "llama"), nullptr);
  EXPECT_EQ(find_architecture("", ""), nullptr);
}

// What a table says as JSON, read back, says the same.
TEST(Arch, RoundTrip) {
  for (const ArchDesc* desc : architectures()) {
    const Json json = arch_to_json(*desc);
    const auto again = arch_from_json(json.dump());
    ASSERT_TRUE(again.ok()) << again.status().text();
    EXPECT_EQ(arch_to_json(**again), json);
  }
}

TEST(Arch, FromBase) {
  std::string text = R"({"base": "opt", "name": "mine", "up": "feed.in", "norm": "rms", "position": "rope",
                         "position_offset": 0, "default_tied": false, "keys": {"hidden": "n_embd"}})";
  const auto desc = arch_from_json(text);
  std::fill(text.begin(), text.end(), 'x');  // the description owns its strings
  ASSERT_TRUE(desc.ok()) << desc.status().text();
  EXPECT_EQ((*desc)->name, "mine");
  EXPECT_EQ((*desc)->up, "feed.in");
  EXPECT_EQ((*desc)->down, "fc2");
  EXPECT_EQ((*desc)->norm, NormKind::kRms);
  EXPECT_EQ((*desc)->position, PositionKind::kRope);
  EXPECT_EQ((*desc)->position_offset, 0);
  EXPECT_FALSE((*desc)->default_tied);
  EXPECT_EQ((*desc)->mlp, MlpKind::kPlain);
  EXPECT_EQ((*desc)->keys.hidden, "n_embd");
  EXPECT_EQ((*desc)->keys.intermediate, "ffn_dim");
}

TEST(Arch, Refused) {
  expect_refused("[]", {"must be an object"});
  expect_refused("{", {"arch_json", "not valid JSON"});
  expect_refused("{\"base\": \"t5\", \"name\": \"x\"}", {"'base' must be one of bert, "});
  expect_refused("{\"base\": \"llama\", \"embd\": \"x\"}", {"unknown key 'embd'"});
  expect_refused("{\"base\": \"llama\", \"keys\": {\"width\": \"x\"}}", {"unknown key 'width'"});
  expect_refused("{\"base\": \"llama\", \"keys\": 1}", {"'keys' must be an object"});
  expect_refused("{\"base\": \"llama\", \"q\": 1}", {"'q' must be a string"});
  expect_refused("{\"base\": \"llama\", \"norm\": \"batch\"}", {"'norm' must be \"rms\" or \"layer\""});
  expect_refused("{\"base\": \"llama\", \"position_offset\": -1}", {"'position_offset' must be an integer"});
  expect_refused("{\"base\": \"llama\", \"default_tied\": 1}", {"'default_tied' must be true or false"});
  expect_refused("{\"base\": \"llama\", \"layer\": \"model.layers\"}", {"'layer' must contain {}"});
  expect_refused("{\"base\": \"llama\", \"layer\": \"{}.{}\"}", {"'layer' must contain {} once"});
  expect_refused("{\"base\": \"llama\", \"gate\": \"\"}", {"'gate' must not be empty"});
  expect_refused("{\"base\": \"llama\", \"position\": \"learned\"}", {"'positions' must not be empty"});
  expect_refused("{\"base\": \"llama\", \"q\": \"\"}", {"must not be empty"});
  expect_refused("{\"q\": \"x\"}", {"must not be empty"});  // no name
}

}  // namespace
}  // namespace qz
