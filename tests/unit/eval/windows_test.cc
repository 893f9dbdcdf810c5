#include "eval/windows.h"

#include <gtest/gtest.h>

#include <numeric>

namespace qz {
namespace {

TokenSet text_of(const std::vector<size_t>& lengths) {
  TokenSet text;
  for (size_t n : lengths) text.sequences.emplace_back(n, 1);
  return text;
}
int64_t scored(const WindowPlan& plan) {
  int64_t n = 0;
  for (const Window& w : plan.windows) n += w.length - w.scored;
  return n;
}

TEST(Windows, Disjoint) {
  const auto plan = plan_windows(text_of({16384}), {.window = 256}, 1024);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->windows.size(), 64u);
  EXPECT_EQ(scored(*plan), 16320);  // the count that published figures for this protocol state
  EXPECT_EQ(plan->protocol, "window-256");
  EXPECT_EQ(plan->windows[3].start, 3 * 256);
}

TEST(Windows, EachSequenceByItself) {
  const auto plan = plan_windows(text_of({25, 5, 10}), {.window = 10, .stride = 10}, 100);
  ASSERT_TRUE(plan.ok());
  ASSERT_EQ(plan->windows.size(), 3u);
  EXPECT_EQ(plan->windows[1].sequence, 0u);
  EXPECT_EQ(plan->windows[1].start, 10);
  EXPECT_EQ(plan->windows[2].sequence, 2u);
}

// transformers' guide: begin = 0, stride, ...; end = min(begin + window, n); targets are the tokens after the previous
// end; the last window is the first one that reaches n. Every token but the first is scored once.
TEST(Windows, StridedScoresEveryTokenOnce) {
  for (size_t n : {2u, 9u, 10u, 11u, 12u, 13u, 14u, 15u, 50u, 51u, 52u, 53u, 54u}) {
    for (int64_t stride : {1, 3, 4, 9}) {
      const auto plan = plan_windows(text_of({n}), {.window = 10, .stride = stride}, 100);
      ASSERT_TRUE(plan.ok());
      EXPECT_EQ(plan->protocol, "strided-10/" + std::to_string(stride));
      std::vector<int> times(n, 0);
      for (const Window& w : plan->windows) {
        EXPECT_LE(w.length, 10);
        for (int64_t i = w.scored; i < w.length; ++i) ++times[static_cast<size_t>(w.start + i)];
      }
      EXPECT_EQ(times[0], 0);
      for (size_t i = 1; i < n; ++i) EXPECT_EQ(times[i], 1) << "n " << n << " stride " << stride << " token " << i;
    }
  }
}

TEST(Windows, StridedContext) {
  const auto plan = plan_windows(text_of({25}), {.window = 10, .stride = 4}, 100);
  ASSERT_TRUE(plan.ok());
  ASSERT_EQ(plan->windows.size(), 5u);
  EXPECT_EQ(plan->windows[1].start, 4);
  EXPECT_EQ(plan->windows[1].scored, 6);  // tokens 4 to 9 are context
  EXPECT_EQ(plan->windows[4].start, 16);
  EXPECT_EQ(plan->windows[4].length, 9);
  EXPECT_EQ(plan->windows[4].scored, 6);
}

TEST(Windows, Defaults) {
  EXPECT_EQ(plan_windows(text_of({5000}), {}, 1024)->protocol, "window-1024");
  EXPECT_EQ(plan_windows(text_of({5000}), {}, 100000)->protocol, "window-2048");
  EXPECT_EQ(plan_windows(text_of({256, 300}), {}, 1024)->protocol, "window-300");
}

TEST(Windows, Refused) {
  const auto refused = [](const TokenSet& text, const EvalOptions& options, const char* words) {
    const auto plan = plan_windows(text, options, 100);
    ASSERT_FALSE(plan.ok());
    EXPECT_EQ(plan.status().code(), Code::kInvalidArgument);
    EXPECT_NE(plan.status().text().find(words), std::string::npos) << plan.status().text();
  };
  refused({}, {}, "no sequence of at least two");
  refused(text_of({1, 1}), {}, "no sequence of at least two");
  refused(text_of({50}), {.window = 1}, "window must be at least 2");
  refused(text_of({50}), {.window = 10, .stride = 11}, "stride from 1 to window");
  refused(text_of({50}), {.window = 10, .stride = -1}, "stride from 1 to window");
  refused(text_of({500}), {.window = 101}, "longer than the 100 positions");
  refused(text_of({50}), {.window = 60}, "has 50 tokens, a window needs 60");
}

}  // namespace
}  // namespace qz
