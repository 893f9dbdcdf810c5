#include "base/cpus.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace qz {
namespace {

uint32_t affinity_count() {
  // The kernel refuses a mask that is smaller than its own; grow it.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(cpus));
    if (!set) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(cpus));
    const bool good = ::sched_getaffinity(0, bytes, set) == 0;
    const int count = good ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (good) return static_cast<uint32_t>(std::max(count, 1));
  }
  return 1;
}

// The first 4 KiB of a file under /proc or /sys; "" when there is none.
std::string read_probe(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  char text[4096];
  const ssize_t n = ::read(fd, text, sizeof text);
  ::close(fd);
  return std::string(text, n > 0 ? static_cast<size_t>(n) : 0);
}

// "QUOTA PERIOD" in microseconds, or "max PERIOD" (Documentation/admin-guide/cgroup-v2.rst). 0 = no limit.
uint32_t quota_cpus(const std::string& cpu_max) {
  uint64_t quota = 0, period = 0;
  const char* end = cpu_max.data() + cpu_max.size();
  const auto first = std::from_chars(cpu_max.data(), end, quota);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != ' ') return 0;
  const auto second = std::from_chars(first.ptr + 1, end, period);
  if (second.ec != std::errc() || period == 0 || quota == 0) return 0;
  return static_cast<uint32_t>(std::min<uint64_t>((quota - 1) / period + 1, 1u << 20));
}

}  // namespace

uint32_t usable_cpus() {
  uint32_t cpus = affinity_count();
  // "0::/a/b": the process's place in the version 2 hierarchy. Every level above may set a quota too.
  const std::string membership = read_probe("/proc/self/cgroup");
  const size_t at = membership.rfind("0::/", 0) == 0 ? 0 : membership.find("\n0::/");
  std::string place;
  if (at != std::string::npos) {
    const size_t begin = membership.find("::", at) + 2;
    place = membership.substr(begin, membership.find('\n', begin) - begin);
  }
  for (;;) {
    if (const uint32_t quota = quota_cpus(read_probe("/sys/fs/cgroup" + place + "/cpu.max")))
      cpus = std::min(cpus, quota);
    if (place.empty()) break;
    const size_t slash = place.rfind('/');
    place.resize(slash == std::string::npos ? 0 : slash);
  }
  return cpus;
}

}  // namespace qz
