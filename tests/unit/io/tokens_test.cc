#include "io/tokens.h"

#include <gtest/gtest.h>

#include <limits>

#include "temp_dir.h"

namespace qz {
namespace {

const TokenSet kSet = {{{1, 2, 300000}, {}, {0, -1, std::numeric_limits<int32_t>::max()}, {7}}};

TEST(Tokens, RoundTrip) {
  const TempDir dir;
  TokenSet large;
  for (int s = 0; s < 50; ++s) {
    large.sequences.emplace_back();
    for (int i = 0; i < 10'000; ++i) large.sequences.back().push_back((i * 7919 + s * 104729) % 151936);
  }
  for (const TokenSet& set : {kSet, TokenSet{}, large}) {
    ASSERT_TRUE(save_tokens(set, dir / "t").ok());
    const auto r = load_tokens(dir / "t");
    ASSERT_TRUE(r.ok()) << r.status().text();
    EXPECT_EQ(r->sequences, set.sequences);
    EXPECT_EQ(r->hash(), set.hash());
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1)
      << "something was left beside the file";
}

TEST(Tokens, HashIsOfLengthsAndIdsLittleEndian) {
  // Python: hashlib.sha256(struct.pack("<4q7i", 3, 0, 3, 1, 1, 2, 300000, 0, -1, 2**31 - 1, 7)).hexdigest()
  EXPECT_EQ(kSet.hash(), "56500deae3b0a6a734c80a475edab5fb6fe9df3c9b9e405a3db008d9aaa45f4b");
  EXPECT_EQ(TokenSet{}.hash(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_NE((TokenSet{{{1, 2}, {3}}}.hash()), (TokenSet{{{1}, {2, 3}}}.hash()));
}

// A file made by Python's struct, hashlib and the zstd command, so that the layout is not only its own inverse.
TEST(Tokens, ReadsTheDocumentedLayout) {
  const unsigned char kFile[] = {
      81,  90, 84,  79,  75,  69,  78,  83, 1,   0,   0,   0,   0,   0,   0,   0,   4,   0,   0,   0,   0,
      0,   0,  0,   7,   0,   0,   0,   0,  0,   0,   0,   53,  54,  53,  48,  48,  100, 101, 97,  101, 51,
      98,  48, 97,  54,  97,  55,  51,  52, 99,  56,  48,  97,  52,  55,  53,  101, 100, 97,  98,  53,  102,
      98,  54, 102, 101, 57,  100, 102, 51, 99,  57,  98,  57,  101, 52,  48,  53,  97,  51,  100, 98,  48,
      48,  56, 100, 57,  97,  97,  97,  52, 53,  102, 52,  98,  40,  181, 47,  253, 4,   104, 45,  1,   0,
      210, 65, 6,   14,  224, 233, 104, 1,  188, 136, 0,   128, 90,  129, 45,  165, 76,  1,   127, 72,  253,
      15,  67, 63,  247, 255, 247, 6,   3,  0,   238, 248, 175, 113, 100, 128, 5,   243, 46,  238, 216};
  const TempDir dir;
  const auto r = load_tokens(dir.write("t", std::string(reinterpret_cast<const char*>(kFile), sizeof kFile)));
  ASSERT_TRUE(r.ok()) << r.status().text();
  EXPECT_EQ(r->sequences, kSet.sequences);
}

TEST(Tokens, EveryDamageIsNoticed) {
  const TempDir dir;
  ASSERT_TRUE(save_tokens(kSet, dir / "good").ok());
  const std::string good = slurp(dir / "good");
  for (size_t n = 0; n < good.size(); ++n)
    EXPECT_EQ(load_tokens(dir.write("t", good.substr(0, n))).status().code(), Code::kBadFile) << "cut at " << n;
  for (size_t at = 0; at < good.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      const auto r = load_tokens(dir.write("t", bad));
      // A few bits of a zstd frame mean nothing; then the content must be the same.
      if (r.ok()) {
        EXPECT_GE(at, 96u) << "bit " << bit;
        EXPECT_EQ(r->sequences, kSet.sequences) << "byte " << at << " bit " << bit;
      } else {
        EXPECT_EQ(r.status().code(), Code::kBadFile);
      }
    }
  EXPECT_EQ(load_tokens(dir.write("t", good + "x")).status().code(), Code::kBadFile);
  EXPECT_EQ(load_tokens(dir.write("t", good + good.substr(96))).status().code(), Code::kBadFile) << "a second frame";
  EXPECT_EQ(load_tokens(dir / "none").status().code(), Code::kIo);
}

TEST(Tokens, ClaimedCountsAreNotAllocated) {
  const TempDir dir;
  ASSERT_TRUE(save_tokens(kSet, dir / "good").ok());
  std::string bad = slurp(dir / "good");
  bad.replace(24, 8, length_word(uint64_t{1} << 32));  // 16 GiB of ids
  const auto r = load_tokens(dir.write("t", bad));
  EXPECT_EQ(r.status().code(), Code::kBadFile);
  bad.replace(24, 8, length_word((uint64_t{1} << 32) + 1));
  EXPECT_NE(load_tokens(dir.write("t", bad)).status().text().find("are allowed"), std::string::npos);
}

TEST(Tokens, SavingFailsCleanly) {
  const TempDir dir;
  const Status s = save_tokens(kSet, dir / "none/t");
  EXPECT_EQ(s.code(), Code::kIo);
  EXPECT_NE(s.text().find("No such file"), std::string::npos);
  std::filesystem::create_directory(dir / "d");
  EXPECT_EQ(save_tokens(kSet, dir / "d").code(), Code::kIo);
  EXPECT_FALSE(exists(dir / "d.qz-partial"));
}

}  // namespace
}  // namespace qz
