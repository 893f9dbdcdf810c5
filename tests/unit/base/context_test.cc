#include "base/context.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace qz {
namespace {

TEST(Context, LogsToItsSink) {
  Context context;
  context.log(LogLevel::kError, "nobody listens");
  std::vector<std::string> lines;
  context.log_sink = [&](LogLevel level, const std::string& text) {
    lines.push_back(std::to_string(static_cast<int>(level)) + text);
  };
  context.log(LogLevel::kWarn, "%d of %s", 3, "four");
  EXPECT_EQ(lines, std::vector<std::string>{"23 of four"});
}

TEST(Progress, StopsForGoodWhenTheSinkSaysSo) {
  int calls = 0;
  Progress progress([&](const ProgressInfo& info) {
    ++calls;
    return info.layer < 2;
  });
  EXPECT_TRUE(progress.force().ok());
  EXPECT_TRUE(progress.poll().ok());  // less than 50 ms later, or asked again
  progress.info.layer = 2;
  EXPECT_EQ(progress.force().code(), Code::kCancelled);
  const int after = calls;
  progress.info.layer = 0;
  EXPECT_EQ(progress.poll().code(), Code::kCancelled);
  EXPECT_EQ(progress.force().code(), Code::kCancelled);
  EXPECT_EQ(calls, after) << "the sink was asked again after it said stop";
}

TEST(Progress, CancelsAParallelLoop) {
  const ContextPtr context = make_context(2);
  Progress progress([](const ProgressInfo&) { return false; });
  EXPECT_EQ(progress.force().code(), Code::kCancelled);
  std::atomic<int> ran{0};
  const Status s = parallel_for(
      *context, 100000,
      [&](uint32_t, uint32_t) {
        ++ran;
        return Status();
      },
      &progress);
  EXPECT_EQ(s.code(), Code::kCancelled);
  EXPECT_LT(ran.load(), 100000);
}

}  // namespace
}  // namespace qz
