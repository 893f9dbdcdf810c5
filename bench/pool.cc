// The thread pool: what one parallel region costs, and what is left of it beside others.
//   bench_pool [THREADS]
// Microseconds per region, mean over a second each: nothing to do, after pauses of several lengths (a worker that has
// gone to sleep must be woken); then work of 100 us on one thread, split into pieces: quiet, beside a process that
// holds one of our processors, and two pools at once. A barrier that spins without bound stands beside it: that is what
// collapses.
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/cpus.h"
#include "base/pool.h"

namespace {

constexpr uint32_t kPieces = 16;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void wait_for(double seconds) {
  for (const double end = now() + seconds; now() < end;) {
  }
}

// A sixteenth of the work; `rounds` are measured so that all pieces take 100 us.
std::atomic<float> sink;
int rounds = 1000;
__attribute__((noinline)) void piece() {
  float x = sink.load(std::memory_order_relaxed);
  for (int i = 0; i < rounds; ++i) x = x * 0.999f + 0.001f;
  sink.store(x, std::memory_order_relaxed);
}
void calibrate() {
  double best = 1e9;
  for (int i = 0; i < 200; ++i) {
    const double start = now();
    piece();
    best = std::min(best, now() - start);
  }
  rounds = static_cast<int>(rounds * 100e-6 / kPieces / best);
}

// What not to do: every thread spins until all have come.
class SpinBarrier {
 public:
  explicit SpinBarrier(uint32_t threads) : count_(threads) {
    for (uint32_t i = 1; i < threads; ++i) threads_.emplace_back([this, i] { loop(i); });
  }
  ~SpinBarrier() {
    quit_ = true;
    epoch_.fetch_add(1);
    for (std::thread& t : threads_) t.join();
  }
  void run() {
    done_.store(0);
    epoch_.fetch_add(1);
    work(0);
    while (done_.load() != count_ - 1) {
    }
  }

 private:
  void work(uint32_t worker) const {
    for (uint32_t i = worker; i < kPieces; i += count_) piece();
  }
  void loop(uint32_t worker) {
    for (uint32_t seen = 0;;) {
      while (epoch_.load() == seen) {
      }
      ++seen;
      if (quit_) return;
      work(worker);
      done_.fetch_add(1);
    }
  }
  const uint32_t count_;
  std::atomic<uint32_t> epoch_{0}, done_{0};
  std::atomic<bool> quit_{false};
  std::vector<std::thread> threads_;
};

// Mean microseconds of a region, over a second; `pause` seconds before each do not count.
double measure(const std::function<void()>& region, double pause = 0) {
  for (int i = 0; i < 20; ++i) region();
  double inside = 0;
  uint32_t count = 0;
  for (const double start = now(); now() - start < 1; ++count) {
    if (pause > 0) wait_for(pause);
    const double before = now();
    region();
    inside += now() - before;
  }
  return inside / count * 1e6;
}

// Two threads with a pool each; the mean of both.
template <class Make>
double measure_two(const Make& make) {
  double other = 0;
  std::thread second([&] { other = measure(make()); });
  const double mine = measure(make());
  second.join();
  return (mine + other) / 2;
}

// A process that holds the first of our processors.
pid_t start_neighbour() {
  const pid_t child = ::fork();
  if (child != 0) return child;
  cpu_set_t mine, one;
  CPU_ZERO(&one);
  if (::sched_getaffinity(0, sizeof mine, &mine) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &mine)) continue;
      CPU_SET(cpu, &one);
      break;
    }
    ::sched_setaffinity(0, sizeof one, &one);
  }
  for (;;) piece();
}

void row(const char* name, const std::function<std::function<void()>()>& make) {
  const double quiet = measure(make());
  const pid_t neighbour = start_neighbour();
  const double beside = measure(make());
  ::kill(neighbour, SIGKILL);
  ::waitpid(neighbour, nullptr, 0);
  std::printf("%-14s %10.1f %10.1f %10.1f\n", name, quiet, beside, measure_two(make));
}

}  // namespace

int main(int argc, char** argv) {
  const uint32_t threads = argc > 1 ? static_cast<uint32_t>(std::atoi(argv[1])) : qz::usable_cpus();
  std::printf("threads %u, microseconds per region\n\nnothing to do, after a pause of\n", threads);
  const qz::Pool pool(static_cast<int32_t>(threads));
  const auto nothing = [](uint32_t, uint32_t) { return qz::Status(); };
  for (const double pause : {0.0, 5e-6, 15e-6, 50e-6, 200e-6, 2e-3})
    std::printf("%10.0f us %8.2f\n", pause * 1e6,
                measure([&] { static_cast<void>(pool.run(threads, nothing).ok()); }, pause));
  calibrate();
  std::printf("\nwork of 100 us      quiet  neighbour  two pools\n");
  row("one thread", [] {
    return [] {
      for (uint32_t i = 0; i < kPieces; ++i) piece();
    };
  });
  row("this pool", [&] {
    auto own = std::make_shared<qz::Pool>(static_cast<int32_t>(threads));
    return [own] {
      const qz::Status status = own->run(kPieces, [](uint32_t, uint32_t) {
        piece();
        return qz::Status();
      });
      if (!status.ok()) std::exit(1);
    };
  });
  row("spin barrier", [&] {
    auto barrier = std::make_shared<SpinBarrier>(threads);
    return [barrier] { barrier->run(); };
  });
  return 0;
}
