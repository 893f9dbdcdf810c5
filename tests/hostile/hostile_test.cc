// Bad input, one defect at a time: each is refused with the right status and with words of its own, in one line, and
// leaves nothing behind. Rows are named after the threat list: ST safetensors, IX index, FS files, CF configuration,
// QC quantization_config, QT packed tensors, AW AWQ, BB bitsandbytes, HQ HQQ, EE EETQ, GG GGUF files, IM importance
// matrices, RN weights and runs, CA calibration, PL plans, OT output targets, RP reports.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <set>

#include "hostile/place.h"

namespace hostile {
namespace {

Cases all_cases() {
  Cases cases;
  add_safetensors_cases(&cases);
  add_file_cases(&cases);
  add_index_cases(&cases);
  add_config_cases(&cases);
  add_family_cases(&cases);
  add_packed_cases(&cases);
  add_awq_cases(&cases);
  add_bitsandbytes_cases(&cases);
  add_hqq_cases(&cases);
  add_eetq_cases(&cases);
  add_gguf_cases(&cases);
  add_imatrix_cases(&cases);
  add_run_cases(&cases);
  add_token_cases(&cases);
  add_plan_cases(&cases);
  add_target_cases(&cases);
  add_report_cases(&cases);
  return cases;
}

// Message without the name of the case's own directory, which alone would make it different from all others.
std::string without(std::string words, const std::string& root) {
  for (size_t at; (at = words.find(root)) != std::string::npos;) words.erase(at, root.size());
  return words;
}

bool left_behind(const std::string& name) {
  for (const std::string end : {".qz-partial", ".qz-lock", ".qz-old"})
    if (name.size() > end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0) return true;
  return false;
}

std::vector<std::string> files_below(const std::string& root) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) names.push_back(entry.path());
  return names;
}

TEST(Hostile, EachDefectIsRefusedInItsOwnWords) {
  const Cases cases = all_cases();
  std::set<std::string> ids;
  std::vector<std::string> words;
  for (const Case& c : cases) {
    SCOPED_TRACE(c.id);
    EXPECT_TRUE(ids.insert(c.id).second) << "the id occurs twice";
    Place place;
    const bool had_out = c.id.compare(0, 2, "RP") == 0 || c.id.find("exists") != std::string::npos;
    const Outcome got = c.run(&place);
    EXPECT_EQ(got.status, c.status) << qz_status_name(got.status) << ": " << got.words;
    words.push_back(without(got.words, place.root()));
    EXPECT_NE(words.back().find(c.words), std::string::npos) << "'" << c.words << "' is not in: " << words.back();
    EXPECT_GT(got.words.size(), std::string("qz_model_open: ").size());
    EXPECT_LT(got.words.size(), 2048u);
    EXPECT_EQ(got.words.find_first_of("\n\r\t"), std::string::npos) << got.words;
    EXPECT_TRUE(had_out || !qz::exists(place.out())) << "an output was left";
    for (const std::string& name : files_below(place.root())) EXPECT_FALSE(left_behind(name)) << name;
  }
  for (size_t i = 0; i < cases.size(); ++i)
    for (size_t j = 0; j < cases.size(); ++j) {
      if (i == j) continue;
      EXPECT_NE(words[i], words[j]) << cases[i].id << " and " << cases[j].id << " get the same words";
      EXPECT_EQ(words[j].find(cases[i].words), std::string::npos)
          << "'" << cases[i].words << "' of " << cases[i].id << " is also said of " << cases[j].id << ": " << words[j];
    }
  std::map<std::string, int> rows;
  for (const Case& c : cases) ++rows[c.id.substr(0, 2)];
  for (const auto& [row, count] : rows)
    std::printf("%s %d%s", row.c_str(), count, row == rows.rbegin()->first ? "\n" : ", ");
  std::printf("hostile: %zu defects, each refused in its own words\n", cases.size());
  EXPECT_GE(cases.size(), 100u);
}

// The originals that the cases break are good: a case must not pass because everything is refused.
TEST(Hostile, TheOriginalsAreAccepted) {
  for (const char* name : {"models/llama-tied",
                           "models/qwen2-bias-2shards",
                           "models/opt-pre-ln",
                           "models/bloom",
                           "models/falcon-7b-style",
                           "models/falcon-40b-style",
                           "models/gpt2",
                           "models/phi3-fused",
                           "models/gemma2",
                           "models/gemma3",
                           "models/mixtral",
                           "models/qwen2-moe",
                           "models/qwen3-moe",
                           "models/deepseek-v2",
                           "models/deepseek-v3",
                           "models/gpt-neox",
                           "models/bert",
                           "models/bert-classifier",
                           "models/roberta",
                           "quantized/qwen2-128-ct-w4a16-g128",
                           "quantized/qwen2-128-gptq-4bit-sym-g64-descact",
                           "quantized/llama-128-gguf-q4_0",
                           "quantized/llama-128-awq-4bit-g128",
                           "quantized/qwen2-128-bnb-nf4-dq",
                           "quantized/qwen2-128-bnb-int8"}) {
    SCOPED_TRACE(name);
    Place place;
    const ModelFiles files = ModelFiles::golden(name);
    const Outcome got = place.forward(files);
    EXPECT_EQ(got.status, QZ_STATUS_OK) << got.words;
  }
  Place place;
  const Outcome got = place.rtn(ModelFiles::golden("models/llama-tied"));
  EXPECT_EQ(got.status, QZ_STATUS_OK) << got.words;
}

}  // namespace
}  // namespace hostile
