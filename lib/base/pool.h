// Threads: a pool that splits numbered tasks, the caller working too. Which worker runs which task is not fixed, so a
// task must write only what its index owns; then results do not depend on the number of threads.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

#include "base/status.h"

namespace qz {

// The host's executor (qz_parallel_fn): run fn(task, index, worker) for index in [0, count), return non-zero on
// failure. Its worker numbers are not used: tasks get one below Pool::threads().
using ParallelHook = int32_t (*)(void* user, void* task, void (*fn)(void* task, uint32_t index, uint32_t worker),
                                 uint32_t count);

class Pool {
 public:
  // threads = 0: the affinity mask, limited by the cgroup's CPU quota. Threads start with the first parallel call.
  explicit Pool(int32_t threads = 0);
  Pool(ParallelHook hook, void* user);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  uint32_t threads() const;  // upper bound of `worker` + 1

  // Calls fn(index, worker) for every index in [0, count). `tick` (may be empty) is called on the calling thread only,
  // between its own tasks and at least ten times a second while it waits; a failure from it stops the hand-out of
  // further tasks. Among failing tasks the one with the lowest index wins. Nested calls run inline on the calling
  // worker, except inside a single task (count 1), which leaves the pool free. A second thread that calls meanwhile
  // runs its own tasks alone. Usable after fork().
  using Task = std::function<Status(uint32_t index, uint32_t worker)>;
  using Tick = std::function<Status()>;
  Status run(uint32_t count, const Task& fn, const Tick& tick = {}) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qz
