#include "base/pool.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "base/cpus.h"
#include "base/float_mode.h"

namespace qz {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kSpin = std::chrono::microseconds(20);  // about what a futex wake-up costs
constexpr auto kTickEvery = std::chrono::milliseconds(50);
constexpr int32_t kMaxThreads = 1024;

// Which pool's task this thread is in, and as which worker: a nested run stays on this thread.
thread_local const void* current_pool = nullptr;
thread_local uint32_t current_worker = 0;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until `done` or the bound is reached; a neighbour that holds our core must not cost more than that.
template <class Done>
bool spin_until(const Done& done) {
  const auto end = Clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      pause();
    }
  } while (Clock::now() < end);
  return done();
}

// One run(): the hand-out of its indices and the failures of its tasks. Indices are handed out in increasing order, so
// when a task fails every lower one has been handed out already and will finish: the lowest failing index does not
// depend on timing.
class Job {
 public:
  Job(uint32_t count, const Pool::Task& fn) : count_(count), fn_(fn) {}

  bool next(uint32_t* index) {
    const uint64_t i = next_.fetch_add(1, std::memory_order_relaxed);
    if (i >= count_ || !wanted(i)) return false;
    *index = static_cast<uint32_t>(i);
    return true;
  }
  bool wanted(uint64_t index) const {
    return !stopped_.load(std::memory_order_relaxed) && index < failed_.load(std::memory_order_relaxed);
  }
  // Runs one task; an exception (no memory) must not leave while other threads use the job.
  void execute(uint32_t index, uint32_t worker) noexcept {
    const FloatMode mode;
    try {
      if (Status status = fn_(index, worker); !status.ok()) fail(index, std::move(status));
    } catch (const std::bad_alloc&) {
      fail(index, Status(Code::kOutOfMemory, "out of memory"));
    } catch (...) {
      fail(index, Status(Code::kInternal, "exception"));
    }
  }
  void tick(const Pool::Tick& fn) noexcept {
    if (!fn || !stop_.ok()) return;
    try {
      stop_ = fn();
    } catch (const std::bad_alloc&) {
      stop_ = Status(Code::kOutOfMemory, "out of memory");
    } catch (...) {
      stop_ = Status(Code::kInternal, "exception");
    }
    if (!stop_.ok()) stopped_.store(true, std::memory_order_relaxed);
  }
  // After the last task: the tick's failure, else that of the lowest index.
  Status result() { return stop_.ok() ? std::move(failure_) : std::move(stop_); }

 private:
  void fail(uint32_t index, Status status) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (index >= failed_.load(std::memory_order_relaxed)) return;
    failed_.store(index, std::memory_order_relaxed);
    failure_ = std::move(status);
  }

  const uint32_t count_;
  const Pool::Task& fn_;
  std::atomic<uint64_t> next_{0};
  std::atomic<uint64_t> failed_{std::numeric_limits<uint64_t>::max()};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  Status failure_;  // guarded by mutex_
  Status stop_;     // of the calling thread
};

void execute_as(const void* pool, Job* job, uint32_t index, uint32_t worker) {
  current_pool = pool;
  current_worker = worker;
  job->execute(index, worker);
  current_pool = nullptr;
  current_worker = 0;
}

// Every index on the calling thread.
Status run_inline(uint32_t count, const Pool::Task& fn, const Pool::Tick& tick, uint32_t worker) {
  Job job(count, fn);
  for (uint32_t index; job.next(&index); job.tick(tick)) job.execute(index, worker);
  return job.result();
}

// The threads of one process. state_ = epoch << 32 | open bit | workers inside the job. A worker enters by raising the
// count while the bit is set, so the caller may close the job without waiting for workers that never woke up.
class Workers {
 public:
  Workers(const void* pool, uint32_t count) : pool_(pool) {
    // Signals belong to the host's threads, except those that a thread causes itself.
    sigset_t all, old;
    ::sigfillset(&all);
    for (int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGPROF}) ::sigdelset(&all, s);
    ::pthread_sigmask(SIG_SETMASK, &all, &old);
    try {
      for (uint32_t i = 0; i < count; ++i) threads_.emplace_back([this, i] { loop(i + 1); });
    } catch (const std::system_error&) {
      // No more threads to be had: fewer are slower, not wrong.
    }
    ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  }

  ~Workers() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      quit_ = true;
    }
    wake_.notify_all();
    for (std::thread& t : threads_) t.join();
  }

  void run(uint32_t count, Job* job, const Pool::Tick& tick) {
    job_ = job;
    const uint64_t epoch = (state_.load(std::memory_order_relaxed) >> 32) + 1;
    state_.store(epoch << 32 | kOpen, std::memory_order_seq_cst);
    if (const uint32_t asleep = sleepers_.load(std::memory_order_seq_cst); asleep > 0) {
      {
        const std::lock_guard<std::mutex> lock(mutex_);
      }  // no worker is between its last look and its sleep
      for (uint32_t i = std::min(asleep, count - 1); i > 0; --i) wake_.notify_one();
    }
    for (uint32_t index; job->next(&index); job->tick(tick)) execute_as(pool_, job, index, 0);
    state_.fetch_and(~kOpen, std::memory_order_acq_rel);
    const auto empty = [this] { return (state_.load(std::memory_order_acquire) & kInside) == 0; };
    if (spin_until(empty)) return;
    std::unique_lock<std::mutex> lock(done_mutex_);
    while (!done_.wait_for(lock, kTickEvery, empty)) {
      lock.unlock();
      job->tick(tick);
      lock.lock();
    }
  }

 private:
  static constexpr uint64_t kOpen = uint64_t{1} << 31, kInside = kOpen - 1;

  void loop(uint32_t worker) {
    uint64_t seen = 0;  // epoch of the latest job that this worker was in
    for (;;) {
      const auto called = [&] {
        const uint64_t s = state_.load(std::memory_order_seq_cst);
        return (s & kOpen) != 0 && s >> 32 != seen;
      };
      if (!spin_until(called)) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, [&] { return quit_ || called(); });
        sleepers_.fetch_sub(1, std::memory_order_seq_cst);
        if (quit_) return;
      }
      uint64_t s = state_.load(std::memory_order_relaxed);
      do {
        if ((s & kOpen) == 0) break;
      } while (!state_.compare_exchange_weak(s, s + 1, std::memory_order_acq_rel, std::memory_order_relaxed));
      if ((s & kOpen) == 0) continue;  // too late: the caller has done it all
      seen = s >> 32;
      for (uint32_t index; job_->next(&index);) execute_as(pool_, job_, index, worker);
      // The caller may leave as soon as it sees the count at zero; only this object is touched after that.
      if (const uint64_t left = state_.fetch_sub(1, std::memory_order_acq_rel) - 1; (left & (kOpen | kInside)) == 0) {
        {
          const std::lock_guard<std::mutex> lock(done_mutex_);
        }
        done_.notify_one();
      }
    }
  }

  const void* const pool_;
  std::atomic<uint64_t> state_{0};
  Job* job_ = nullptr;
  std::atomic<uint32_t> sleepers_{0};
  std::mutex mutex_;  // with wake_: workers asleep, quit_
  std::condition_variable wake_;
  bool quit_ = false;
  std::mutex done_mutex_;  // with done_: the caller asleep
  std::condition_variable done_;
  std::vector<std::thread> threads_;
};

}  // namespace

struct Pool::State {
  uint32_t threads = 1;
  ParallelHook hook = nullptr;
  void* user = nullptr;
  // 0, or the process whose thread is in run(). After a fork the parent's mark is no longer true, and its threads are
  // not there.
  std::atomic<int64_t> owner{0};
  Workers* workers = nullptr;  // of process workers_pid; guarded by owner
  int64_t workers_pid = 0;

  bool acquire(int64_t pid) {
    int64_t holder = owner.load(std::memory_order_relaxed);
    return holder != pid &&
           owner.compare_exchange_strong(holder, pid, std::memory_order_acquire, std::memory_order_relaxed);
  }
  void release() { owner.store(0, std::memory_order_release); }

  // Workers for the host's threads: the numbers that it gives have no known bound, these stay below `threads`.
  std::mutex slot_mutex;
  std::condition_variable slot_free;
  std::vector<uint32_t> slots;

  struct HookedRun {
    State* state;
    Job* job;
    const Tick* tick;
    std::thread::id caller;
    std::atomic<uint64_t> calls{0};
  };
  static void hooked_task(void* task, uint32_t index, uint32_t);
  Status run_hooked(uint32_t count, const Task& fn, const Tick& tick);
};

void Pool::State::hooked_task(void* task, uint32_t index, uint32_t) {
  auto* run = static_cast<HookedRun*>(task);
  run->calls.fetch_add(1, std::memory_order_relaxed);
  if (!run->job->wanted(index)) return;
  State* state = run->state;
  uint32_t worker = 0;
  {
    std::unique_lock<std::mutex> lock(state->slot_mutex);
    state->slot_free.wait(lock, [&] { return !state->slots.empty(); });
    worker = state->slots.back();
    state->slots.pop_back();
  }
  execute_as(state, run->job, index, worker);
  {
    const std::lock_guard<std::mutex> lock(state->slot_mutex);
    state->slots.push_back(worker);
  }
  state->slot_free.notify_one();
  // Only if the host lets the calling thread work too; else the tick waits for the end of this run.
  if (std::this_thread::get_id() == run->caller) run->job->tick(*run->tick);
}

Status Pool::State::run_hooked(uint32_t count, const Task& fn, const Tick& tick) {
  Job job(count, fn);
  HookedRun run{this, &job, &tick, std::this_thread::get_id(), {}};
  const int32_t failure = hook(user, &run, hooked_task, count);
  job.tick(tick);
  QZ_TRY(job.result());
  if (failure != 0) return error(Code::kInternal, "the host's executor failed with %d", failure);
  if (const uint64_t calls = run.calls.load(); calls != count)
    return error(Code::kInternal, "the host's executor ran %llu of %u tasks", static_cast<unsigned long long>(calls),
                 count);
  return {};
}

Pool::Pool(int32_t threads) : state_(std::make_unique<State>()) {
  state_->threads = threads > 0 ? static_cast<uint32_t>(std::min(threads, kMaxThreads)) : usable_cpus();
}

Pool::Pool(ParallelHook hook, void* user) : Pool(0) {
  state_->hook = hook;
  state_->user = user;
  for (uint32_t i = state_->threads; i > 0; --i) state_->slots.push_back(i - 1);
}

Pool::~Pool() {
  // In a forked child the parent's threads cannot be joined: their object is left alone.
  if (state_->workers && state_->workers_pid == ::getpid()) delete state_->workers;
}

uint32_t Pool::threads() const { return state_->threads; }

Status Pool::run(uint32_t count, const Task& fn, const Tick& tick) const {
  State& s = *state_;
  if (current_pool) return run_inline(count, fn, tick, current_pool == &s ? current_worker : 0);
  if (count <= 1 || s.threads == 1) return run_inline(count, fn, tick, 0);
  if (s.hook) return s.run_hooked(count, fn, tick);
  // A second thread that uses the pool meanwhile does its own work instead of waiting for the first one's end.
  const int64_t pid = ::getpid();
  if (!s.acquire(pid)) return run_inline(count, fn, tick, 0);
  if (s.workers_pid != pid) {
    s.workers = new Workers(&s, s.threads - 1);
    s.workers_pid = pid;
  }
  Job job(count, fn);
  s.workers->run(count, &job, tick);
  s.release();
  return job.result();
}

}  // namespace qz
