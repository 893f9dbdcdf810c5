#include "base/pool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <atomic>
#include <limits>
#include <new>
#include <thread>
#include <vector>

namespace qz {
namespace {

TEST(Pool, RunsEachIndexOnceWithWorkersInRange) {
  for (int32_t threads : {1, 2, 3, 8}) {
    const Pool pool(threads);
    EXPECT_EQ(pool.threads(), static_cast<uint32_t>(threads));
    for (uint32_t count : {0u, 1u, 2u, 7u, 1000u}) {
      for (int repeat = 0; repeat < 20; ++repeat) {
        std::vector<int> ran(count);
        std::vector<std::atomic<int>> inside(static_cast<size_t>(threads));
        const Status s = pool.run(count, [&](uint32_t i, uint32_t w) -> Status {
          if (w >= static_cast<uint32_t>(threads)) return error(Code::kInternal, "worker %u", w);
          if (inside[w].fetch_add(1) != 0) return error(Code::kInternal, "two tasks of worker %u at once", w);
          ++ran[i];
          inside[w].fetch_sub(1);
          return {};
        });
        ASSERT_TRUE(s.ok()) << s.text();
        for (int r : ran) ASSERT_EQ(r, 1);
      }
    }
  }
}

TEST(Pool, HasAtLeastOneThreadByDefault) { EXPECT_GE(Pool().threads(), 1u); }

TEST(Pool, ReportsTheLowestFailingIndex) {
  const Pool pool(4);
  for (int repeat = 0; repeat < 300; ++repeat) {
    const Status s = pool.run(400, [&](uint32_t i, uint32_t) -> Status {
      if (i == 37) std::this_thread::yield();  // the lowest one is not the first one to be noticed
      if (i >= 37 && i % 2 == 1) return error(Code::kBadFile, "task %u", i);
      return {};
    });
    ASSERT_EQ(s.code(), Code::kBadFile);
    ASSERT_EQ(s.text(), "task 37");
  }
}

TEST(Pool, StopsHandingOutAfterAFailure) {
  const Pool pool(2);
  std::atomic<uint32_t> ran{0};
  const Status s = pool.run(1'000'000, [&](uint32_t i, uint32_t) -> Status {
    ++ran;
    return i == 10 ? error(Code::kIo, "ten") : Status();
  });
  EXPECT_EQ(s.text(), "ten");
  EXPECT_LT(ran.load(), 1'000'000u);
}

TEST(Pool, TurnsExceptionsIntoFailures) {
  const Pool pool(3);
  EXPECT_EQ(pool.run(100,
                     [](uint32_t i, uint32_t) -> Status {
                       if (i == 50) throw std::bad_alloc();
                       return {};
                     })
                .code(),
            Code::kOutOfMemory);
  EXPECT_EQ(pool.run(100, [](uint32_t, uint32_t) -> Status { throw 1; }).code(), Code::kInternal);
  EXPECT_TRUE(pool.run(100, [](uint32_t, uint32_t) { return Status(); }).ok());
}

TEST(Pool, TicksOnTheCallersThreadAndStopsWhenItFails) {
  const Pool pool(4);
  const auto caller = std::this_thread::get_id();
  std::atomic<uint32_t> ran{0};
  int ticks = 0;
  const Status s = pool.run(
      1'000'000,
      [&](uint32_t, uint32_t) {
        ++ran;
        return Status();
      },
      [&]() -> Status {
        EXPECT_EQ(std::this_thread::get_id(), caller);
        return ++ticks == 5 ? error(Code::kCancelled, "enough") : Status();
      });
  EXPECT_EQ(s.code(), Code::kCancelled);
  EXPECT_EQ(ticks, 5) << "called again after it failed";
  EXPECT_LT(ran.load(), 1'000'000u);
}

TEST(Pool, TicksWhileTheCallerWaitsForAWorker) {
  const Pool pool(2);
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> other_started{false};
  std::atomic<int> ticks{0};
  const Status s = pool.run(
      2,
      [&](uint32_t, uint32_t) {
        if (std::this_thread::get_id() == caller) {
          while (!other_started) std::this_thread::yield();
        } else {
          other_started = true;
          while (ticks < 4) std::this_thread::yield();  // forever, if the caller did not tick
        }
        return Status();
      },
      [&] {
        ++ticks;
        return Status();
      });
  EXPECT_TRUE(s.ok());
}

TEST(Pool, RunsNestedCallsOnTheSameWorker) {
  const Pool pool(4), other(4);
  std::atomic<int> ran{0};
  const Status s = pool.run(16, [&](uint32_t, uint32_t outer) -> Status {
    const auto thread = std::this_thread::get_id();
    QZ_TRY(other.run(3, [&](uint32_t, uint32_t) -> Status {
      if (std::this_thread::get_id() != thread) return error(Code::kInternal, "another thread");
      return {};
    }));
    return pool.run(8, [&](uint32_t, uint32_t inner) -> Status {
      ++ran;
      if (inner != outer || std::this_thread::get_id() != thread) return error(Code::kInternal, "another worker");
      return {};
    });
  });
  EXPECT_TRUE(s.ok()) << s.text();
  EXPECT_EQ(ran.load(), 16 * 8);
}

TEST(Pool, IsSharedByThreads) {
  const Pool pool(3);
  std::vector<std::thread> users;
  std::atomic<int> failures{0};
  for (int u = 0; u < 4; ++u)
    users.emplace_back([&] {
      for (int repeat = 0; repeat < 200; ++repeat) {
        std::vector<uint32_t> out(97);
        const Status s = pool.run(97, [&](uint32_t i, uint32_t) {
          out[i] = i + 1;
          return Status();
        });
        if (!s.ok()) ++failures;
        for (uint32_t i = 0; i < 97; ++i)
          if (out[i] != i + 1) ++failures;
      }
    });
  for (auto& u : users) u.join();
  EXPECT_EQ(failures.load(), 0);
}

TEST(Pool, WakesUpAfterASleep) {
  const Pool pool(4);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // far beyond the spin: the workers sleep
    std::atomic<uint32_t> sum{0};
    ASSERT_TRUE(pool.run(64,
                         [&](uint32_t i, uint32_t) {
                           sum += i;
                           return Status();
                         })
                    .ok());
    ASSERT_EQ(sum.load(), 64u * 63 / 2);
  }
}

TEST(Pool, ComesAndGoes) {
  for (int repeat = 0; repeat < 50; ++repeat) {
    const Pool pool(4);
    ASSERT_TRUE(pool.run(8, [](uint32_t, uint32_t) { return Status(); }).ok());
  }
}

#if defined(__x86_64__)
unsigned float_mode() { return _mm_getcsr() & ~0x3fu; }  // without the flags of what happened
void set_float_mode(unsigned mode) { _mm_setcsr(mode); }
constexpr unsigned kFlushToZeroTowardZero = 0x8040 | 0x6000;
#elif defined(__aarch64__)
uint64_t float_mode() {
  uint64_t mode = 0;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
void set_float_mode(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
constexpr uint64_t kFlushToZeroTowardZero = 0x1C00000;
#endif

#if defined(__x86_64__) || defined(__aarch64__)
TEST(Pool, GivesTasksTheDefaultFloatMode) {
  const auto before = float_mode();
  set_float_mode(before | kFlushToZeroTowardZero);  // what a host may have set
  const auto hosts = float_mode();
  const Pool pool(4);
  std::vector<float> half(256);
  volatile float tiny = std::numeric_limits<float>::min();
  const Status s = pool.run(256, [&](uint32_t i, uint32_t) {
    half[i] = tiny / 2;
    return Status();
  });
  EXPECT_EQ(float_mode(), hosts) << "the host's mode was not put back";
  set_float_mode(before);
  EXPECT_TRUE(s.ok());
  for (float h : half) ASSERT_GT(h, 0.0f);
}
#endif

#if !defined(__SANITIZE_THREAD__)  // the thread sanitizer supports no threads after a fork
int child_status(const Pool& pool) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::atomic<uint32_t> sum{0}, others{0};
    const auto caller = std::this_thread::get_id();
    std::atomic<bool> helped{false};
    const Status s = pool.run(2, [&](uint32_t i, uint32_t) {
      sum += i + 1;
      if (std::this_thread::get_id() != caller) {
        ++others;
        helped = true;
      } else {
        while (!helped) std::this_thread::yield();  // needs a second thread: the child has threads of its own
      }
      return Status();
    });
    ::_exit(s.ok() && sum == 3 && others >= 1 ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(Pool, WorksInAForkedChild) {
  const Pool pool(3);
  EXPECT_EQ(child_status(pool), 0) << "forked before the first run";
  ASSERT_TRUE(pool.run(10, [](uint32_t, uint32_t) { return Status(); }).ok());
  EXPECT_EQ(child_status(pool), 0) << "forked after a run";
  ASSERT_TRUE(pool.run(10, [](uint32_t, uint32_t) { return Status(); }).ok());
}

TEST(Pool, WorksInAChildForkedDuringARun) {
  const Pool pool(3);
  std::atomic<bool> running{false}, enough{false};
  std::thread user([&] {
    const Status s = pool.run(8, [&](uint32_t, uint32_t) {
      running = true;
      while (!enough) std::this_thread::yield();
      return Status();
    });
    EXPECT_TRUE(s.ok());
  });
  while (!running) std::this_thread::yield();
  EXPECT_EQ(child_status(pool), 0);
  enough = true;
  user.join();
}
#endif

// Hosts' executors: one after the other; a thread for each index with a worker number beyond all bounds; broken ones.
int32_t sequential(void*, void* task, void (*fn)(void*, uint32_t, uint32_t), uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) fn(task, i, 0);
  return 0;
}
int32_t crowd(void* user, void* task, void (*fn)(void*, uint32_t, uint32_t), uint32_t count) {
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < count; ++i) threads.emplace_back([=] { fn(task, count - 1 - i, 1000 + i); });
  for (auto& t : threads) t.join();
  ++*static_cast<int*>(user);
  return 0;
}
int32_t refusing(void*, void*, void (*)(void*, uint32_t, uint32_t), uint32_t) { return 7; }
int32_t lazy(void*, void* task, void (*fn)(void*, uint32_t, uint32_t), uint32_t) {
  fn(task, 0, 0);
  return 0;
}

TEST(Pool, UsesTheHostsExecutor) {
  int used = 0;
  for (const ParallelHook hook : {&sequential, &crowd}) {
    const Pool pool(hook, &used);
    std::vector<int> ran(40);
    std::vector<std::atomic<int>> inside(pool.threads());
    int ticks = 0;
    const Status s = pool.run(
        40,
        [&](uint32_t i, uint32_t w) -> Status {
          if (w >= pool.threads() || inside[w].fetch_add(1) != 0) return error(Code::kInternal, "worker %u", w);
          ++ran[i];
          inside[w].fetch_sub(1);
          return pool.run(2, [&](uint32_t, uint32_t inner) {
            return inner == w ? Status() : error(Code::kInternal, "nested worker %u in %u", inner, w);
          });
        },
        [&] {
          ++ticks;
          return Status();
        });
    EXPECT_TRUE(s.ok()) << s.text();
    EXPECT_GE(ticks, 1);
    for (int r : ran) EXPECT_EQ(r, 1);
    const Status failed =
        pool.run(40, [](uint32_t i, uint32_t) { return i == 5 ? error(Code::kIo, "five") : Status(); });
    EXPECT_EQ(failed.text(), "five");
  }
}

TEST(Pool, NoticesABrokenExecutor) {
  const Pool no(&refusing, nullptr), some(&lazy, nullptr);
  if (no.threads() == 1) GTEST_SKIP() << "one CPU: executors are not used";
  const auto nothing = [](uint32_t, uint32_t) { return Status(); };
  EXPECT_EQ(no.run(3, nothing).text(), "the host's executor failed with 7");
  EXPECT_EQ(some.run(3, nothing).text(), "the host's executor ran 1 of 3 tasks");
}

}  // namespace
}  // namespace qz
