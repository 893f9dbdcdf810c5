#include "estimate/host.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>

namespace qz {
namespace {

// Decimal digits at the start; 0 if there are none ("max").
uint64_t leading_number(const std::string& text) {
  uint64_t n = 0;
  for (const char c : text) {
    if (c < '0' || c > '9' || n > UINT64_MAX / 16) break;
    n = n * 10 + static_cast<uint64_t>(c - '0');
  }
  return n;
}

// The value of `key: value` in a /proc file; "" where there is none.
std::string proc_value(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.compare(0, key.size(), key) == 0) {
      const size_t colon = line.find(':');
      const size_t first = colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
      return first == std::string::npos ? "" : line.substr(first);
    }
  return "";
}

uint64_t kilobytes(const char* path, const char* key) { return leading_number(proc_value(path, key)) * 1024; }

bool file_number(const std::string& path, uint64_t* out) {
  std::ifstream file(path);
  std::string text;
  if (!std::getline(file, text)) return false;
  *out = leading_number(text);
  return true;
}

// The memory controller's directory of this process and its parents, innermost first. Inside a container the paths of
// /proc/self/cgroup may not be visible; the mount's root then is the container's own group.
struct Cgroup {
  std::vector<std::string> dirs;
  bool second = false;  // version 2
};
Cgroup find_cgroup() {
  Cgroup out;
  std::ifstream file("/proc/self/cgroup");
  std::string path, unified;
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers = line.substr(first, second - first + 1);  // ":cpu,memory:"
    std::replace(controllers.begin(), controllers.end(), ':', ',');
    if (controllers.find(",memory,") != std::string::npos) path = line.substr(second + 1);
    if (controllers == ",,") unified = line.substr(second + 1);
  }
  out.second = path.empty();
  if (out.second) path = unified;
  const std::string root = out.second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
  while (!path.empty() && path != "/") {
    out.dirs.push_back(root + path);
    path.erase(path.rfind('/'));
  }
  out.dirs.push_back(root);
  return out;
}

constexpr uint64_t kNoLimit = uint64_t{1} << 60;  // version 1 writes a huge number instead of "max"

}  // namespace

HostMemory read_host_memory() {
  HostMemory m;
  m.total = kilobytes("/proc/meminfo", "MemTotal");
  m.free = kilobytes("/proc/meminfo", "MemAvailable");
  const Cgroup group = find_cgroup();
  for (const std::string& dir : group.dirs) {
    const std::string file = dir + (group.second ? "/memory.max" : "/memory.limit_in_bytes");
    uint64_t limit = 0, used = 0;
    if (!file_number(file, &limit) || limit == 0 || limit >= kNoLimit || limit >= m.total) continue;
    if (m.limit == 0 || limit < m.limit) {
      m.limit = limit;
      m.limited_by = file;
    }
    file_number(dir + (group.second ? "/memory.current" : "/memory.usage_in_bytes"), &used);
    m.free = std::min(m.free, limit - std::min(limit, used));
  }
  if (m.limit != 0) m.total = m.limit;
  m.free = std::min(m.free, m.total);
  return m;
}

MemoryUsage read_memory_usage() {
  MemoryUsage u;
  u.resident = kilobytes("/proc/self/status", "VmRSS");
  u.resident_peak = kilobytes("/proc/self/status", "VmHWM");
  const Cgroup group = find_cgroup();
  for (const std::string& dir : group.dirs) {
    if (!file_number(dir + (group.second ? "/memory.current" : "/memory.usage_in_bytes"), &u.cgroup)) continue;
    file_number(dir + (group.second ? "/memory.peak" : "/memory.max_usage_in_bytes"), &u.cgroup_peak);
    break;
  }
  return u;
}

Processor read_processor() {
  static const char* const kFeatures[] = {"avx2",        "fma",         "f16c",     "avx512f",  "avx512bw",
                                          "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_bf16", "amx_int8",
                                          "asimd",       "asimddp",     "i8mm",     "bf16",     "sve"};
  Processor p;
  p.name = proc_value("/proc/cpuinfo", "model name");
  if (p.name.empty()) {  // an Arm says numbers (Arm's, of the Main ID Register)
    const std::string part = proc_value("/proc/cpuinfo", "CPU part");
    if (!part.empty()) p.name = "Arm, implementer " + proc_value("/proc/cpuinfo", "CPU implementer") + ", part " + part;
  }
  std::istringstream flags(proc_value("/proc/cpuinfo", "flags") + " " + proc_value("/proc/cpuinfo", "Features"));
  for (std::string flag; flags >> flag;)
    if (std::find_if(std::begin(kFeatures), std::end(kFeatures), [&](const char* f) { return flag == f; }) !=
        std::end(kFeatures))
      p.features.push_back(flag);
  return p;
}

Result<uint64_t> measure_bandwidth(const Context& context) {
  constexpr size_t kWords = size_t{32} << 20;  // of 8 bytes
  constexpr uint32_t kTasks = 64;
  std::vector<uint64_t> memory(kWords, 1);
  std::vector<uint64_t> sums(kTasks * 8);  // a cache line apart
  double best = 0;
  for (int pass = 0; pass < 5; pass++) {
    const auto start = std::chrono::steady_clock::now();
    QZ_TRY(parallel_for(context, kTasks, [&](uint32_t task, uint32_t) {
      uint64_t lanes[8] = {};
      const uint64_t* at = memory.data() + kWords / kTasks * task;
      for (size_t i = 0; i < kWords / kTasks; i += 8)
        for (size_t l = 0; l < 8; l++) lanes[l] += at[i + l];
      for (const uint64_t l : lanes) sums[task * 8] += l;
      return Status();
    }));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, static_cast<double>(kWords * 8) / std::max(seconds, 1e-9));
  }
  uint64_t read = 0;
  for (const uint64_t s : sums) read += s;
  if (read != kWords * 5)
    return error(Code::kInternal, "the bandwidth test read %llu words", static_cast<unsigned long long>(read));
  return static_cast<uint64_t>(best);
}

}  // namespace qz
