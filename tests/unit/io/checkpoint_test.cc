#include "io/checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <limits>

#include "base/json.h"
#include "temp_dir.h"

namespace qz {
namespace {

const char kGolden[] = "tests/data/goldens/models/qwen2-bias-2shards";

std::string one_tensor(const std::string& name, const std::string& data) {
  return make_safetensors_header({{name, "U8", {static_cast<int64_t>(data.size())}, data.size()}}, {}) + data;
}

std::string index_of(const std::string& entries) {
  return "{\"metadata\":{\"total_size\":8},\"weight_map\":{" + entries + "}}";
}

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() {
    context_.log_sink = [this](LogLevel level, const std::string& text) {
      if (level <= LogLevel::kWarn) log_ += text + "\n";
    };
    dir_.write("config.json", "{\"model_type\":\"x\"}");
  }
  Result<std::shared_ptr<const Checkpoint>> open(bool config_only = false) {
    log_.clear();
    return Checkpoint::open(context_, dir_.path(), config_only);
  }
  void refused(Code code, const std::string& words) {
    const auto r = open();
    ASSERT_FALSE(r.ok()) << "accepted; expected: " << words;
    EXPECT_EQ(r.status().code(), code);
    EXPECT_NE(r.status().text().find(words), std::string::npos)
        << "expected: " << words << "\n   found: " << r.status().text();
    EXPECT_NE(r.status().text().find(dir_.path()), std::string::npos) << r.status().text();
  }
  // Two shards, "a" in the first, "b" in the second; and their index.
  void two_shards() {
    dir_.write("s1.safetensors", one_tensor("a", "1234"));
    dir_.write("s2.safetensors", one_tensor("b", "5678"));
    dir_.write("model.safetensors.index.json", index_of(R"("a":"s1.safetensors","b":"s2.safetensors")"));
  }
  void index(const std::string& text) { dir_.write("model.safetensors.index.json", text); }

  Context context_;
  std::string log_;
  TempDir dir_;
};

TEST_F(CheckpointTest, OpensWhatTheReferenceWrote) {
  for (const std::string& dir : {std::string(kGolden), std::string(kGolden) + "//"}) {
    const auto r = Checkpoint::open(context_, dir);
    ASSERT_TRUE(r.ok()) << r.status().text();
    EXPECT_EQ(log_, "");
    const Checkpoint& c = **r;
    EXPECT_EQ(c.dir(), kGolden);
    EXPECT_EQ(c.config()["architectures"][0], "Qwen2ForCausalLM");
    EXPECT_EQ(c.files().size(), 2u);
    EXPECT_EQ(c.tensors().size(), 27u);
    for (const TensorInfo& t : c.tensors()) EXPECT_EQ(c.find(t.name), &t);
    EXPECT_EQ(c.find("model.layers.9.nothing"), nullptr);
    EXPECT_TRUE(c.check_unchanged().ok());
    const TensorInfo* norm = c.find("model.norm.weight");
    ASSERT_NE(norm, nullptr);
    EXPECT_EQ(norm->file, 1u);
    // numpy: frombuffer(data[102864:103008], float16).astype(float64): first, last, sum.
    const auto values = c.read_f32(*norm);
    ASSERT_TRUE(values.ok());
    ASSERT_EQ(values->size(), 72u);
    double sum = 0;
    for (float v : *values) sum += v;
    EXPECT_EQ(values->front(), 0.83935546875f);
    EXPECT_EQ(values->back(), 0.88037109375f);
    EXPECT_EQ(sum, 71.14794921875);
    uint16_t middle = 0;
    ASSERT_TRUE(c.read_range(*norm, 70, 2, &middle).ok());
    EXPECT_EQ(middle, 0x3c6du);
    EXPECT_EQ(c.read_range(*norm, 143, 2, &middle).code(), Code::kInternal);
    EXPECT_EQ(*c.side_files(), (std::vector<std::string>{"generation_config.json", "logits.npy", "tokens.npy"}));
  }
}

TEST_F(CheckpointTest, ReadsFloatsAndNamesBadOnes) {
  std::vector<float> f32(700'000, 0.5f);  // more than one chunk
  f32[1] = -2.25f;
  f32[699'999] = 3.0f;
  std::string data(reinterpret_cast<const char*>(f32.data()), f32.size() * 4);
  const uint16_t bf16[4] = {0x3f80, 0xc000, 0x0000, 0x7f80};  // 1, -2, 0, infinity
  data.append(reinterpret_cast<const char*>(bf16), 8);
  const uint16_t f16[4] = {0x3c00, 0x7e00, 0x0001, 0x0000};  // 1, NaN, 2^-24, 0
  data.append(reinterpret_cast<const char*>(f16), 8);
  const uint64_t n = f32.size();
  dir_.write("model.safetensors", make_safetensors_header({{"f32", "F32", {2, int64_t(n / 2)}, n * 4},
                                                           {"bf16", "BF16", {4}, 8},
                                                           {"f16", "F16", {4}, 6 + 2},
                                                           {"i8", "I8", {3}, 3}},
                                                          {}) +
                                      data + "abc");
  const auto r = open();
  ASSERT_TRUE(r.ok()) << r.status().text();
  const Checkpoint& c = **r;
  const auto values = c.read_f32(*c.find("f32"));
  ASSERT_TRUE(values.ok());
  EXPECT_EQ(*values, f32);
  const Status infinite = c.read_f32(*c.find("bf16")).status();
  EXPECT_EQ(infinite.code(), Code::kBadFile);
  EXPECT_EQ(infinite.text(), dir_ / "model.safetensors" + ": tensor 'bf16': element 3 of 4 is infinite");
  EXPECT_EQ(c.read_f32(*c.find("f16")).status().text(),
            dir_ / "model.safetensors" + ": tensor 'f16': element 1 of 4 is NaN");
  EXPECT_EQ(c.read_f32(*c.find("i8")).status().code(), Code::kUnsupported);
  char raw[3];
  EXPECT_TRUE(c.read(*c.find("i8"), raw).ok());
  EXPECT_EQ(std::string(raw, 3), "abc");
}

TEST_F(CheckpointTest, Configuration) {
  EXPECT_TRUE(open(true).ok());
  EXPECT_TRUE((*open(true))->tensors().empty());
  dir_.write("config.json", "{\"a\":1,\"a\":2}");  // CF12
  refused(Code::kBadFile, "config.json: key 'a' occurs twice");
  dir_.write("config.json", "{\"a\":NaN}");  // CF01
  refused(Code::kBadFile, "config.json: not valid JSON at byte");
  dir_.write("config.json", "[]");
  refused(Code::kBadFile, "config.json: expected an object, found array");
  context_.limits.config_bytes = 3;
  dir_.write("config.json", "{  }");
  refused(Code::kBadFile, "at most 3 are allowed");
  ASSERT_EQ(::unlink((dir_ / "config.json").c_str()), 0);
  refused(Code::kIo, "config.json: cannot open: No such file or directory");
}

TEST_F(CheckpointTest, NotADirectory) {
  EXPECT_EQ(Checkpoint::open(context_, dir_ / "none").status().code(), Code::kIo);
  EXPECT_EQ(Checkpoint::open(context_, dir_ / "config.json").status().code(), Code::kIo);
  EXPECT_EQ(Checkpoint::open(context_, "").status().code(), Code::kInvalidArgument);
}

TEST_F(CheckpointTest, IX01_PlainNamesOnly) {
  two_shards();
  ASSERT_TRUE(open().ok());
  for (const char* bad : {"/etc/passwd", "../s1.safetensors", "d/s1.safetensors", "", ".", "..", "d\\\\s1.safetensors",
                          "C:s1.safetensors", "s1.safetensors\\u0000"}) {
    index(index_of("\"a\":\"" + std::string(bad) + "\""));
    refused(Code::kBadFile, "is not a plain file name");
  }
  index(index_of(R"("a":"config.json")"));
  refused(Code::kBadFile, "does not end in .safetensors");
  index(index_of(R"("a":1)"));
  refused(Code::kBadFile, "expected a file name, found number");
}

TEST_F(CheckpointTest, IX02_ST22_LinksOutOfTheRepository) {
  const TempDir elsewhere;
  elsewhere.write("x.safetensors", one_tensor("a", "1234"));
  ASSERT_EQ(::symlink((elsewhere / "x.safetensors").c_str(), (dir_ / "model.safetensors").c_str()), 0);
  refused(Code::kBadFile, "which is outside");
  ASSERT_EQ(::unlink((dir_ / "model.safetensors").c_str()), 0);
  ASSERT_EQ(::symlink("model.safetensors", (dir_ / "model.safetensors").c_str()), 0);
  refused(Code::kIo, "model.safetensors: cannot resolve: Too many levels");
  ASSERT_EQ(::unlink((dir_ / "model.safetensors").c_str()), 0);
  ASSERT_EQ(::symlink("nowhere", (dir_ / "model.safetensors").c_str()), 0);
  refused(Code::kIo, "No such file");
  ASSERT_EQ(::unlink((dir_ / "model.safetensors").c_str()), 0);
  dir_.write("real.bin", one_tensor("a", "1234"));
  ASSERT_EQ(::symlink("real.bin", (dir_ / "model.safetensors").c_str()), 0);
  EXPECT_TRUE(open().ok()) << "a link inside the directory";
  // A sibling whose name begins like the directory's is outside.
  const std::string sibling = dir_.path() + "2";
  std::filesystem::create_directory(sibling);
  std::ofstream(sibling + "/x") << one_tensor("a", "1234");
  ASSERT_EQ(::unlink((dir_ / "model.safetensors").c_str()), 0);
  ASSERT_EQ(::symlink((sibling + "/x").c_str(), (dir_ / "model.safetensors").c_str()), 0);
  refused(Code::kBadFile, "which is outside");
  std::filesystem::remove_all(sibling);
}

TEST_F(CheckpointTest, IX02_HubCache) {
  dir_.write("hub/blobs/c0", "{}");
  dir_.write("hub/blobs/t0", one_tensor("a", "1234"));
  const std::string snapshot = dir_ / "hub/snapshots/0123abcd";
  std::filesystem::create_directories(snapshot);
  ASSERT_EQ(::symlink("../../blobs/c0", (snapshot + "/config.json").c_str()), 0);
  ASSERT_EQ(::symlink("../../blobs/t0", (snapshot + "/model.safetensors").c_str()), 0);
  ASSERT_EQ(::symlink("../../blobs/c0", (snapshot + "/tokenizer.json").c_str()), 0);
  const auto r = Checkpoint::open(context_, snapshot);
  ASSERT_TRUE(r.ok()) << r.status().text();
  EXPECT_EQ((*r)->tensors().size(), 1u);
  EXPECT_EQ(*(*r)->side_files(), std::vector<std::string>{"tokenizer.json"});
  ASSERT_EQ(::unlink((snapshot + "/config.json").c_str()), 0);
  ASSERT_EQ(::symlink("../../../config.json", (snapshot + "/config.json").c_str()), 0);  // above the repository
  EXPECT_EQ(Checkpoint::open(context_, snapshot).status().code(), Code::kBadFile);
}

TEST_F(CheckpointTest, IX03_MissingShardsAllAtOnce) {
  two_shards();
  index(index_of(R"("a":"s1.safetensors","b":"s8.safetensors","c":"s9.safetensors")"));
  refused(Code::kIo, "2 of 3 shards are missing (incomplete download?): s8.safetensors, s9.safetensors");
}

TEST_F(CheckpointTest, IX04_IndexAndShardsDisagree) {
  two_shards();
  index(index_of(R"("a":"s1.safetensors","b":"s2.safetensors","c":"s2.safetensors")"));
  refused(Code::kBadFile, "weight_map: tensor 'c' is not in s2.safetensors");
  index(index_of(R"("a":"s2.safetensors","b":"s1.safetensors")"));
  refused(Code::kBadFile, "is not in");
  index(index_of(R"("a":"s1.safetensors")"));
  dir_.write("s1.safetensors",
             make_safetensors_header({{"a", "U8", {8}, 8}, {"extra", "U8", {1}, 1}}, {}) + "123456789");
  const auto r = open();
  ASSERT_TRUE(r.ok());
  EXPECT_EQ((*r)->tensors().size(), 1u);
  EXPECT_NE(log_.find("1 tensors are not listed in the index and are ignored, 'extra' first"), std::string::npos)
      << log_;
}

TEST_F(CheckpointTest, IX05_TotalSizeIsOnlyWarnedAbout) {
  two_shards();
  ASSERT_TRUE(open().ok());
  EXPECT_EQ(log_, "");
  index(R"({"metadata":{"total_size":9},"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})");
  ASSERT_TRUE(open().ok());
  EXPECT_NE(log_.find("metadata.total_size is 9 but the tensors have 8 bytes"), std::string::npos) << log_;
  for (const char* odd : {"\"metadata\":{\"total_size\":\"8\"},", "\"metadata\":{},", "\"metadata\":5,", ""}) {
    index("{" + std::string(odd) + R"("weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})");
    EXPECT_TRUE(open().ok()) << odd;
  }
}

TEST_F(CheckpointTest, IX06_IndexWinsOverASingleFile) {
  two_shards();
  dir_.write("model.safetensors", one_tensor("stale", "12345678"));
  const auto r = open();
  ASSERT_TRUE(r.ok());
  EXPECT_EQ((*r)->find("stale"), nullptr);
  EXPECT_NE(log_.find("model.safetensors: ignored"), std::string::npos) << log_;
}

TEST_F(CheckpointTest, IX07_Index) {
  two_shards();
  index(index_of(R"("a":"s1.safetensors","a":"s2.safetensors")"));
  refused(Code::kBadFile, "key 'a' occurs twice");
  index("[]");
  refused(Code::kBadFile, "expected an object, found array");
  index("{}");
  refused(Code::kBadFile, "key 'weight_map': expected an object, found nothing");
  index(R"({"weight_map":[]})");
  refused(Code::kBadFile, "key 'weight_map': expected an object, found array");
  index(R"({"weight_map":{}})");
  refused(Code::kBadFile, "key 'weight_map' is empty");
  context_.limits.tensors_per_model = 1;
  index(index_of(R"("a":"s1.safetensors","b":"s2.safetensors")"));
  refused(Code::kBadFile, "2 tensors; at most 1 are allowed");
  context_.limits.index_bytes = 5;
  refused(Code::kBadFile, "at most 5 are allowed");
}

TEST_F(CheckpointTest, IX08_PickleOnly) {
  refused(Code::kIo, "holds neither model.safetensors nor model.safetensors.index.json");
  dir_.write("pytorch_model.bin", "PK");
  refused(Code::kUnsupported, "pytorch_model.bin, a Python pickle");
}

TEST_F(CheckpointTest, IX09_NamesAreBytes) {
  dir_.write(
      "model.safetensors",
      make_safetensors_header(
          {{"A", "U8", {1}, 1}, {"a", "U8", {1}, 1}, {"\xc3\xa9", "U8", {1}, 1}, {"e\xcc\x81", "U8", {1}, 1}}, {}) +
          "1234");
  const auto r = open();
  ASSERT_TRUE(r.ok());
  char c = 0;
  EXPECT_TRUE((*r)->read(*(*r)->find("\xc3\xa9"), &c).ok());
  EXPECT_EQ(c, '3');
}

TEST_F(CheckpointTest, ST25_OneTensorInTwoShards) {
  two_shards();
  const auto both = [](const char* b) {
    return make_safetensors_header({{"a", "U8", {4}, 4}, {"b", "U8", {4}, 4}}, {}) + b;
  };
  dir_.write("s2.safetensors", both("12345678"));
  const auto r = open();
  ASSERT_TRUE(r.ok()) << r.status().text();
  EXPECT_EQ((*r)->tensors().size(), 2u);
  EXPECT_EQ((*r)->find("a")->file, 0u) << "the copy that the index names";
  dir_.write("s2.safetensors", both("12355678"));
  refused(Code::kBadFile, "tensor 'a' is in " + dir_ / "s1.safetensors" + " and in " + dir_ / "s2.safetensors");
  dir_.write("s1.safetensors", make_safetensors_header({{"a", "I8", {4}, 4}}, {}) + "1235");
  refused(Code::kBadFile, "with different contents");
}

TEST_F(CheckpointTest, ShardsAreChecked) {
  two_shards();
  dir_.write("s2.safetensors", one_tensor("b", "5678") + "x");
  refused(Code::kBadFile, "s2.safetensors: 1 bytes follow the last tensor");
  ASSERT_EQ(::unlink((dir_ / "s2.safetensors").c_str()), 0);
  ASSERT_EQ(::mkfifo((dir_ / "s2.safetensors").c_str(), 0600), 0);
  refused(Code::kIo, "not a regular file");
}

TEST_F(CheckpointTest, ST19_AShardThatChangesIsNoticed) {
  two_shards();
  const auto r = open();
  ASSERT_TRUE(r.ok());
  EXPECT_TRUE((*r)->check_unchanged().ok());
  ASSERT_EQ(::truncate((dir_ / "s2.safetensors").c_str(), 20), 0);
  EXPECT_EQ((*r)->check_unchanged().code(), Code::kIo);
  char b[4];
  EXPECT_EQ((*r)->read(*(*r)->find("b"), b).code(), Code::kIo);
}

TEST_F(CheckpointTest, SideFiles) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "merges.txt", "LICENSE", "modeling_x.py",
                           "chat_template.jinja", "generation_config.json", "pytorch_model.bin", "model.gguf",
                           "pytorch_model.bin.index.json", ".gitattributes", "quantize_config.json", "tf_model.h5",
                           "consolidated.00.pth", "flax_model.msgpack", "old.safetensors.bak", "sub/inner.json"})
    dir_.write(name, "x");
  two_shards();
  EXPECT_EQ(*(*open())->side_files(),
            (std::vector<std::string>{"LICENSE", "chat_template.jinja", "generation_config.json", "merges.txt",
                                      "modeling_x.py", "tokenizer.json", "tokenizer.model"}));
  const auto r = open();
  ASSERT_EQ(::symlink("/etc/passwd", (dir_ / "secret.txt").c_str()), 0);
  EXPECT_EQ((*r)->side_files().status().code(), Code::kBadFile);
}

}  // namespace
}  // namespace qz
