#include "io/shard_writer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/json.h"
#include "base/sha256.h"
#include "io/checkpoint.h"
#include "temp_dir.h"

namespace qz {
namespace {

const char kGolden[] = "tests/data/goldens/models/qwen2-bias-2shards/";

class ShardWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto staging = StagingDir::create(dir_ / "out", "", false, 0);
    ASSERT_TRUE(staging.ok()) << staging.status().text();
    staging_ = std::move(*staging);
  }
  std::unique_ptr<ShardWriter> create(std::vector<TensorSpec> tensors, uint64_t shard_bytes = 0) {
    auto writer = ShardWriter::create(staging_.get(), std::move(tensors), shard_bytes);
    EXPECT_TRUE(writer.ok()) << writer.status().text();
    return writer.ok() ? std::move(*writer) : nullptr;
  }
  std::string written(const std::string& name) const { return slurp(staging_->path() + "/" + name); }

  TempDir dir_;
  std::unique_ptr<StagingDir> staging_;
};

TensorSpec bytes_spec(const std::string& name, uint64_t bytes) {
  return {name, "U8", {static_cast<int64_t>(bytes)}, bytes};
}

// The golden's tensors, in the order of its shards, written again: the same bytes as the reference's files.
TEST_F(ShardWriterTest, WritesTheReferencesBytes) {
  const Context context;
  const auto golden = *Checkpoint::open(context, kGolden);
  std::vector<TensorSpec> specs;
  for (const TensorInfo& t : golden->tensors()) specs.push_back({t.name, t.dtype_name, t.shape, t.bytes});
  const auto writer = create(specs, 131'000);  // the golden's shards were cut at 128 KiB
  for (auto t = golden->tensors().rbegin(); t != golden->tensors().rend(); ++t) {
    std::vector<char> data(t->bytes);
    ASSERT_TRUE(golden->read(*t, data.data()).ok());
    ASSERT_TRUE(writer->write(t->name, data.data(), data.size()).ok());
  }
  const auto hashes = writer->finish();
  ASSERT_TRUE(hashes.ok()) << hashes.status().text();
  ASSERT_EQ(hashes->size(), 2u);
  for (const ShardHash& h : *hashes) {
    const std::string expected = slurp(kGolden + h.file);
    EXPECT_EQ(written(h.file), expected) << h.file;
    EXPECT_EQ(h.bytes, expected.size());
    Sha256 sha;
    sha.update(expected.data(), expected.size());
    EXPECT_EQ(h.sha256, sha.hex());
  }
  const auto index = parse_json(written("model.safetensors.index.json"), "index");
  const auto reference = parse_json(slurp(std::string(kGolden) + "model.safetensors.index.json"), "index");
  ASSERT_TRUE(index.ok() && reference.ok());
  EXPECT_EQ((*index)["weight_map"], (*reference)["weight_map"]);
  EXPECT_EQ((*index)["metadata"]["total_size"], (*reference)["metadata"]["total_size"]);
  uint64_t all = written("model.safetensors.index.json").size();
  for (const ShardHash& h : *hashes) all += h.bytes;
  EXPECT_GE(ShardWriter::total_bytes(specs), all);
  uint64_t planned = 0;
  for (const PlannedFile& file : ShardWriter::plan_files(specs, 131'000)) planned += file.bytes;
  EXPECT_EQ(planned, all);
}

TEST_F(ShardWriterTest, OneShardHasNoIndex) {
  const auto writer = create({bytes_spec("b", 3), bytes_spec("a", 2), {"c", "F32", {1}, 4}, bytes_spec("empty", 0)});
  ASSERT_TRUE(writer->write("a", "aa", 2).ok());
  ASSERT_TRUE(writer->write("c", "cccc", 4).ok());
  ASSERT_TRUE(writer->write("b", "bbb", 3).ok());
  const auto hashes = writer->finish();
  ASSERT_TRUE(hashes.ok()) << hashes.status().text();
  ASSERT_EQ(hashes->size(), 1u);
  EXPECT_EQ((*hashes)[0].file, "model.safetensors");
  const std::string file = written("model.safetensors");
  EXPECT_EQ(file.substr(file.size() - 9), "ccccaabbb") << "F32 before U8, then by name";
  EXPECT_EQ((file.size() - 9) % 8, 0u);
  EXPECT_FALSE(exists(staging_->path() + "/model.safetensors.index.json"));
}

TEST_F(ShardWriterTest, SplitsAtTheLimit) {
  // 4 + 4 fill a shard of 8 exactly; 9 is larger than a shard and gets one of its own.
  const auto writer = create({bytes_spec("a", 4), bytes_spec("b", 4), bytes_spec("c", 9), bytes_spec("d", 1)}, 8);
  for (const auto& [name, n] : {std::pair{"a", 4}, {"b", 4}, {"c", 9}, {"d", 1}})
    ASSERT_TRUE(writer->write(name, "123456789", static_cast<uint64_t>(n)).ok());
  const auto hashes = writer->finish();
  ASSERT_TRUE(hashes.ok());
  ASSERT_EQ(hashes->size(), 3u);
  EXPECT_EQ((*hashes)[2].file, "model-00003-of-00003.safetensors");
  const auto index = parse_json(written("model.safetensors.index.json"), "index");
  ASSERT_TRUE(index.ok());
  EXPECT_EQ((*index)["weight_map"].dump(),
            R"({"a":"model-00001-of-00003.safetensors","b":"model-00001-of-00003.safetensors",)"
            R"("c":"model-00002-of-00003.safetensors","d":"model-00003-of-00003.safetensors"})");
  EXPECT_EQ((*index)["metadata"]["total_size"], 18);
}

TEST_F(ShardWriterTest, RangesInAnyOrderFromManyThreads) {
  constexpr uint64_t kBytes = 100'000, kPiece = 777;
  const auto writer = create({bytes_spec("a", kBytes), bytes_spec("b", kBytes)}, kBytes);
  std::string data(kBytes, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7 + i / 251);
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (uint64_t piece = 0; piece * kPiece < kBytes; ++piece) {
        if (static_cast<int>(piece % 4) != t) continue;
        const uint64_t first = piece * kPiece, n = std::min(kPiece, kBytes - first);
        for (const char* name : {"a", "b"})
          if (!writer->write_range(name, first, data.data() + first, n).ok()) ++failures;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(failures.load(), 0);
  ASSERT_TRUE(writer->finish().ok());
  for (const char* name : {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}) {
    const std::string file = written(name);
    EXPECT_EQ(file.substr(file.size() - kBytes), data);
  }
}

TEST_F(ShardWriterTest, EachByteIsWrittenExactlyOnce) {
  const auto writer = create({bytes_spec("a", 10), bytes_spec("b", 5)});
  EXPECT_EQ(writer->write("none", "x", 1).code(), Code::kInternal);
  EXPECT_EQ(writer->write("b", "1234", 4).code(), Code::kInternal);
  EXPECT_EQ(writer->write("b", "123456", 6).code(), Code::kInternal);
  EXPECT_TRUE(writer->write("b", "12345", 5).ok());
  EXPECT_EQ(writer->write("b", "12345", 5).code(), Code::kInternal) << "twice";
  EXPECT_TRUE(writer->write_range("a", 2, "234", 3).ok());
  for (const auto& [first, n] : {std::pair{2, 3}, {1, 2}, {4, 1}, {0, 10}, {3, 1}, {4, 6}})
    EXPECT_EQ(writer->write_range("a", static_cast<uint64_t>(first), "0123456789", static_cast<uint64_t>(n)).code(),
              Code::kInternal)
        << first << " + " << n << " overlaps";
  EXPECT_EQ(writer->write_range("a", 8, "890", 3).code(), Code::kInternal) << "beyond the end";
  EXPECT_EQ(writer->write_range("a", ~0ull, "8", 2).code(), Code::kInternal);
  EXPECT_TRUE(writer->write_range("a", 5, "56789", 5).ok());
  EXPECT_TRUE(writer->write_range("a", 0, "0", 1).ok());
  const auto unfinished = writer->finish();
  ASSERT_FALSE(unfinished.ok());
  EXPECT_EQ(unfinished.status().code(), Code::kInternal);
  EXPECT_EQ(unfinished.status().text(), "tensor 'a': 9 of 10 bytes were written");
  EXPECT_TRUE(writer->write_range("a", 1, "1", 1).ok());
  ASSERT_TRUE(writer->finish().ok());
  const std::string file = written("model.safetensors");
  EXPECT_EQ(file.substr(file.size() - 15), "012345678912345");
}

TEST_F(ShardWriterTest, RefusesTheSameNameTwice) {
  EXPECT_EQ(ShardWriter::create(staging_.get(), {bytes_spec("a", 1), bytes_spec("a", 1)}, 0).status().code(),
            Code::kInternal);
}

TEST_F(ShardWriterTest, ManySmallShardsKeepNoDescriptors) {
  std::vector<TensorSpec> specs;
  for (int i = 0; i < 20; ++i) specs.push_back(bytes_spec(numbered("t", i), 1));
  const auto writer = create(specs, 1);
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  const auto before = open_files();
  for (const TensorSpec& t : specs) ASSERT_TRUE(writer->write(t.name, "x", 1).ok());
  EXPECT_EQ(open_files(), before - 20);
  EXPECT_TRUE(writer->finish().ok());
}

}  // namespace
}  // namespace qz
