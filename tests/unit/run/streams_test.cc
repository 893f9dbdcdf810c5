#include "run/streams.h"

#include "unit/run/models.h"

namespace qz {
namespace {

Streams streams_of(const Model& model, const TokenSet& set, bool two = true) {
  auto s = Streams::create(model, set, two);
  EXPECT_TRUE(s.ok()) << s.status().text();
  return std::move(*s);
}

// Each row's input is its own number in one column: H then counts which rows were summed.
StageStats collect_rows(const Streams& s, bool residual = false) {
  auto stats = s.collect(
      *make_context(2), 3, residual,
      [&](const Chunk& chunk, bool original, float* out) {
        for (int64_t r = 0; r < chunk.sequences.rows(); r++) {
          out[3 * r] = 1;
          out[3 * r + 1] = static_cast<float>(chunk.row + r);
          out[3 * r + 2] = original ? 2 : 0;
        }
        return Status();
      },
      nullptr);
  EXPECT_TRUE(stats.ok()) << stats.status().text();
  return std::move(*stats);
}

TEST(Streams, FewSequencesAllSolve) {
  const ModelPtr model = golden("llama-128");
  const Streams s = streams_of(*model, random_tokens(*model, 3, 20));
  EXPECT_EQ(s.rows(), 60);
  EXPECT_EQ(s.solving_tokens(), 60);
  const StageStats stats = collect_rows(s);
  EXPECT_EQ(stats.held_x.rows(), 0);
  EXPECT_EQ(stats.h.row(0)[0], 60);
  EXPECT_EQ(stats.h.row(1)[0], 59 * 60 / 2);
  EXPECT_EQ(stats.h.row(0)[1], stats.h.row(1)[0]);
  EXPECT_EQ(stats.drift.row(2)[0], 120);  // original 2, quantized 0
  EXPECT_EQ(stats.drift.row(0)[0], 0);
}

TEST(Streams, HeldOutSequencesJudgeAndDoNotSolve) {
  const ModelPtr model = golden("llama-128");
  for (const int64_t count : {4, 8, 40, 64}) {
    const Streams s = streams_of(*model, random_tokens(*model, count, 16));
    const int64_t held = s.rows() - s.solving_tokens();
    EXPECT_EQ(held % 16, 0);
    EXPECT_GE(held, 16) << count;
    EXPECT_LE(held, std::max<int64_t>(16, s.rows() / 16)) << count;
    const StageStats stats = collect_rows(s);
    EXPECT_EQ(stats.tokens, s.solving_tokens());
    EXPECT_EQ(stats.held_x.rows(), held);
    double all = static_cast<double>(s.rows() * (s.rows() - 1) / 2);
    for (int64_t r = 0; r < held; r++) {
      all -= static_cast<double>(stats.held_x.row(r)[1]);
      EXPECT_EQ(stats.held_dx.row(r)[2], 2);
      if (r % 16) {  // whole sequences
        EXPECT_EQ(stats.held_x.row(r)[1], stats.held_x.row(r - 1)[1] + 1);
      }
    }
    EXPECT_EQ(static_cast<double>(stats.h.row(1)[0]), all) << count;
    EXPECT_EQ(stats.h.row(0)[0], static_cast<float>(s.solving_tokens()));
    EXPECT_EQ(stats.drift.row(2)[0], 2 * static_cast<float>(s.solving_tokens()));
  }
}

TEST(Streams, ResidualIsWhatTheQuantizedStreamLacks) {
  const ModelPtr model = golden("llama-128");
  Streams s = streams_of(*model, random_tokens(*model, 4, 8));
  EXPECT_EQ(s.original().rows(), 32);
  for (int64_t i = 0; i < 32 * 128; i++) ASSERT_EQ(s.original().data()[i], s.quantized().data()[i]);
  for (int64_t r = 0; r < 32; r++) s.original().row(r)[5] += 0.5f;
  const StageStats stats = collect_rows(s, true);
  ASSERT_EQ(stats.residual.rows(), 128);
  EXPECT_NEAR(stats.residual.row(5)[0], 0.5f * static_cast<float>(s.solving_tokens()), 1e-3f);
  EXPECT_EQ(stats.residual.row(4)[0], 0);
  ASSERT_EQ(stats.held_dr.rows(), stats.held_x.rows());
  EXPECT_NEAR(stats.held_dr.row(0)[5], 0.5f, 1e-6f);
}

TEST(Streams, OneStreamKeepsNoOriginal) {
  const ModelPtr model = golden("llama-128");
  const Streams s = streams_of(*model, random_tokens(*model, 4, 8), false);
  const StageStats stats = collect_rows(s, true);
  EXPECT_TRUE(stats.drift.empty());
  EXPECT_TRUE(stats.residual.empty());
  EXPECT_TRUE(stats.held_dx.empty());
  EXPECT_EQ(stats.held_x.rows(), 8);
}

TEST(Streams, LongSequencesAreCutAtTheLastPosition) {
  const ModelPtr model = golden("qwen3-qknorm");  // 64 positions
  TokenSet set = random_tokens(*model, 1, 150);
  set.sequences.push_back({1, 2, 3});
  const Streams s = streams_of(*model, set);
  EXPECT_EQ(s.cut_sequences(), 1);
  EXPECT_EQ(s.rows(), 153);
  std::vector<int64_t> lengths;
  for (const Chunk& chunk : s.chunks())
    for (int64_t i = 0; i < chunk.sequences.count(); i++) lengths.push_back(chunk.sequences.length(i));
  EXPECT_EQ(lengths, (std::vector<int64_t>{64, 64, 22, 3}));
}

TEST(Streams, ManyTokensComeInChunksAndJudgeInASample) {
  const ModelPtr model = golden("llama-128");
  const Streams s = streams_of(*model, random_tokens(*model, 80, 500), false);
  EXPECT_GT(s.chunks().size(), 10u);
  int64_t rows = 0;
  for (const Chunk& chunk : s.chunks()) {
    EXPECT_EQ(chunk.row, rows);
    rows += chunk.sequences.rows();
    EXPECT_LT(chunk.sequences.rows(), 4096);
  }
  EXPECT_EQ(rows, 40000);
  const StageStats stats = collect_rows(s);
  EXPECT_LE(stats.held_x.rows(), 2500);  // held in memory: a bounded number
  EXPECT_EQ(stats.h.row(0)[0], static_cast<float>(s.solving_tokens()));
}

TEST(Streams, TokensAreChecked) {
  const ModelPtr model = golden("llama-128");
  expect_failure(Streams::create(*model, {}, false).status(), Code::kInvalidArgument, {"no tokens"});
  TokenSet set = random_tokens(*model, 5, 10);
  set.sequences[3][7] = 256;  // the vocabulary ends at 255
  expect_failure(Streams::create(*model, set, false).status(), Code::kInvalidArgument, {"256", "3", "7"});
  set = random_tokens(*model, 50, 100);
  set.sequences[45][99] = 300;  // not in the first chunk
  expect_failure(Streams::create(*model, set, false).status(), Code::kInvalidArgument,
                 {"sequence 45", "position 99", "300"});
  set.sequences[45][99] = -1;
  expect_failure(Streams::create(*model, set, false).status(), Code::kInvalidArgument, {"-1"});
}

}  // namespace
}  // namespace qz
