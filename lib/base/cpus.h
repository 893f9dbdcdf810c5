// How many threads this process may keep busy.
#pragma once
#include <cstdint>

namespace qz {

// CPUs in the affinity mask, but not more than the CPU quota of the process's cgroup (version 2, cpu.max) rounded up.
// At least 1.
uint32_t usable_cpus();

}  // namespace qz
