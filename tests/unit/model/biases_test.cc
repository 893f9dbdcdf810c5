// Parameters from config.json alone against the totals that the publishers state (safetensors' total_size / 2 on the
// hub).
#include <gtest/gtest.h>

#include "base/json.h"
#include "model/biases.h"
#include "model/model.h"

namespace qz {
namespace {

struct Row {
  const char* name;
  int64_t parameters;
};

class Parameters : public testing::TestWithParam<Row> {};

TEST_P(Parameters, AreThePublished) {
  const auto model =
      Model::open(make_context(1), std::string("tests/data/configs/") + GetParam().name, {.config_only = true});
  ASSERT_TRUE(model.ok()) << model.status().text();
  EXPECT_EQ((*model)->parameters(), GetParam().parameters);
}

INSTANTIATE_TEST_SUITE_P(Public, Parameters,
                         testing::Values(Row{"llama-2-7b", 6738415616}, Row{"qwen2.5-7b", 7615616512},
                                         Row{"qwen2.5-1.5b", 1543714304}, Row{"opt-1.3b", 1315758080},
                                         Row{"qwen3-8b", 8190735360}, Row{"llama-2-70b", 68976648192}));

TEST(Biases, TheConfigurationDecidesWhereItSpeaks) {
  const ArchDesc llama = *find_architecture("LlamaForCausalLM", "");
  const ArchDesc opt = *find_architecture("OPTForCausalLM", "");
  Module q, up;
  q.role = Role::kQ;
  up.role = Role::kUp;
  EXPECT_FALSE(expects_bias(Json::object(), llama, q));
  EXPECT_TRUE(expects_bias({{"attention_bias", true}}, llama, q));
  EXPECT_FALSE(expects_bias({{"attention_bias", true}}, llama, up));
  EXPECT_TRUE(expects_bias({{"mlp_bias", true}}, llama, up));
  EXPECT_TRUE(expects_bias(Json::object(), opt, up));
  EXPECT_FALSE(expects_bias({{"enable_bias", false}}, opt, up));
}

}  // namespace
}  // namespace qz
