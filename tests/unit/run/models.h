// Golden models, random calibration tokens, and directories looked at from outside, for the tests of whole runs.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <random>

#include "base/json.h"
#include "base/sha256.h"
#include "model/session.h"
#include "run/pipeline.h"
#include "run/report.h"
#include "unit/io/temp_dir.h"
#include "unit/model/goldens.h"

namespace qz {

// A failure of this code whose words contain each of these.
inline void expect_failure(const Status& status, Code code, const std::vector<std::string>& words) {
  EXPECT_EQ(status.code(), code) << status.text();
  for (const std::string& word : words)
    EXPECT_NE(status.text().find(word), std::string::npos) << "'" << word << "' in: " << status.text();
  EXPECT_EQ(status.text().find('\n'), std::string::npos);
}

inline ModelPtr open_model(const std::string& dir, int32_t threads = 1, const ModelOptions& options = {}) {
  auto model = Model::open(make_context(threads), dir, options);
  EXPECT_TRUE(model.ok()) << model.status().text();
  return model.ok() ? *model : nullptr;
}
inline ModelPtr golden(const std::string& name, int32_t threads = 1) {
  return open_model(kGoldenModels + name, threads);
}

inline TokenSet random_tokens(const Model& model, int64_t sequences, int64_t length, uint32_t seed = 1) {
  std::mt19937 random(seed);
  TokenSet set;
  for (int64_t i = 0; i < sequences; i++) {
    std::vector<int32_t> ids(static_cast<size_t>(length));
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint32_t>(model.config().vocab));
    set.sequences.push_back(std::move(ids));
  }
  return set;
}

inline Rule rule(const std::string& glob, Method method, const std::string& scheme = "w4g32") {
  Rule r;
  r.glob = glob;
  r.method = method;
  auto parsed = scheme_preset(scheme);
  EXPECT_TRUE(parsed.ok()) << parsed.status().text();
  if (parsed.ok()) r.scheme = *parsed;
  r.gptq.metric = 4;
  return r;
}

inline Plan plan_of(ModelPtr model, const std::vector<Rule>& rules) {
  Plan plan(std::move(model));
  for (const Rule& r : rules) {
    const Status status = plan.add_rule(r);
    EXPECT_TRUE(status.ok()) << status.text();
  }
  return plan;
}

inline ModelPtr run(const Plan& plan, const TokenSet* calibration, const RunOptions& options) {
  auto model = run_plan(plan, calibration, options);
  EXPECT_TRUE(model.ok()) << model.status().text();
  return model.ok() ? *model : nullptr;
}

inline RunReport report_of(const Model& model) {
  EXPECT_NE(model.report(), nullptr);
  auto report = report_from_json(*model.report());
  EXPECT_TRUE(report.ok()) << report.status().text();
  return report.ok() ? *report : RunReport();
}

// Module name -> hash of its matrix, by decoding it.
inline std::map<std::string, std::string> matrix_hashes(const Model& model) {
  std::map<std::string, std::string> hashes;
  for (size_t i = 0; i < model.modules().size(); i++) {
    if (!model.quantized(i)) continue;
    auto matrix = model.load_matrix(i);
    EXPECT_TRUE(matrix.ok()) << matrix.status().text();
    if (matrix.ok()) hashes[model.modules()[i].name] = hash_qmatrix(**matrix);
  }
  return hashes;
}

// The files of a directory with their content (large ones: its hash), the report's times and memory left out.
inline std::map<std::string, std::string> files_of(const std::string& dir) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    std::string text = entry.is_regular_file() ? slurp(entry.path()) : "";
    if (entry.path().filename() == "qz_report.json") {
      Json report = Json::parse(text);
      for (Json& m : report["modules"]) m.erase("seconds");
      report.erase("seconds");
      report.erase("memory");
      text = report.dump();
    }
    if (text.size() > (1u << 16)) {
      Sha256 hash;
      hash.update(text.data(), text.size());
      text = hash.hex();
    }
    files[std::filesystem::relative(entry.path(), dir)] = std::move(text);
  }
  return files;
}

inline std::vector<std::string> names_in(const std::string& dir) {
  std::vector<std::string> names;
  for (const auto& [name, text] : files_of(dir)) names.push_back(name);
  return names;
}

inline std::vector<float> logits_of(ModelPtr model, int64_t tokens = 12) {
  const TokenSet set = random_tokens(*model, 1, tokens, 99);
  std::vector<float> logits(static_cast<size_t>(tokens * model->config().vocab));
  auto session = Session::create(model, tokens);
  EXPECT_TRUE(session.ok()) << session.status().text();
  if (session.ok()) {
    EXPECT_TRUE((*session)->step(set.sequences[0].data(), tokens, true, logits.data()).ok());
  }
  return logits;
}

// Changes one byte of a tensor in its file.
inline void flip_bit(const std::string& dir, const std::string& tensor, uint64_t byte = 5) {
  auto checkpoint = Checkpoint::open(*make_context(1), dir);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().text();
  const TensorInfo* t = (*checkpoint)->find(tensor);
  ASSERT_NE(t, nullptr) << tensor;
  ASSERT_LT(byte, t->bytes);
  const std::string path = dir + "/model.safetensors";
  std::string data = slurp(path);
  data[t->offset + byte] = static_cast<char>(data[t->offset + byte] ^ 4);
  std::ofstream(path, std::ios::binary) << data;
}

// A copy of a golden model whose tensor `name` is filled with this 16-bit pattern from element `first` on.
inline void copy_with(const std::string& golden, const std::string& dir, const std::string& name, uint16_t value,
                      uint64_t first = 0, uint64_t count = UINT64_MAX) {
  std::filesystem::copy(kGoldenModels + golden, dir);
  auto checkpoint = Checkpoint::open(*make_context(1), dir);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().text();
  const TensorInfo* t = (*checkpoint)->find(name);
  ASSERT_NE(t, nullptr) << name;
  std::string data = slurp(dir + "/model.safetensors");
  for (uint64_t i = first; i < std::min(t->bytes / 2, count == UINT64_MAX ? count : first + count); i++)
    std::memcpy(data.data() + t->offset + 2 * i, &value, 2);
  std::ofstream(dir + "/model.safetensors", std::ios::binary) << data;
}

}  // namespace qz
