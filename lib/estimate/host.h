// This machine as the process may use it: processor, memory within the cgroup's limit, what the process uses now.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/context.h"

namespace qz {

struct HostMemory {
  uint64_t total = 0, free = 0;  // bytes; within `limit`
  uint64_t limit = 0;            // of the cgroups that the process is in; 0: none
  std::string limited_by;        // the file that says so
};
HostMemory read_host_memory();

struct MemoryUsage {
  uint64_t resident = 0, resident_peak = 0;  // of this process (VmRSS, VmHWM), bytes
  uint64_t cgroup = 0, cgroup_peak = 0;      // of everything in its cgroup; 0: not told
};
MemoryUsage read_memory_usage();

struct Processor {
  std::string name;
  std::vector<std::string> features;  // of those that matter for integer and 16-bit products, as /proc/cpuinfo has them
};
Processor read_processor();

// Bytes per second that all workers read together from memory that no cache holds: the best of five passes over 256
// MiB.
Result<uint64_t> measure_bandwidth(const Context& context);

}  // namespace qz
