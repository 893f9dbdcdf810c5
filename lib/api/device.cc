#include <cctype>
#include <fstream>
#include <string>

#include "api/handles.h"
#include "kernels/gemm.h"

namespace qz {
namespace {

constexpr int32_t kCpu = 1;  // DLPack's code

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

uint64_t leading_number(const std::string& text) {
  uint64_t n = 0;
  for (const char c : text) {
    if (!std::isdigit(static_cast<unsigned char>(c))) break;
    n = n * 10 + static_cast<uint64_t>(c - '0');
  }
  return n;
}

uint64_t file_number(const char* path) {
  std::ifstream file(path);
  std::string text;
  std::getline(file, text);
  return leading_number(text);  // "max" is 0: no limit
}

}  // namespace
}  // namespace qz

using qz::Code;
using qz::error;
using qz::Status;

extern "C" {

size_t qz_device_count(const qz_context* ctx) { return ctx ? 1 : 0; }

qz_status qz_device_get(const qz_context* ctx, size_t i, qz_device_info* out) {
  return qz::guard("qz_device_get", [&]() -> Status {
    QZ_TRY(qz::require(ctx, "ctx"));
    if (i != 0) return error(Code::kInvalidArgument, "device %zu of 1", i);
    qz_device_info info = {};
    info.struct_size = sizeof info;
    info.units = static_cast<int32_t>(ctx->context->pool->threads());
    info.device = {qz::kCpu, 0};
    const std::string name = qz::proc_value("/proc/cpuinfo", "model name");
    std::memcpy(info.name, name.data(), std::min(name.size(), sizeof info.name - 1));
    const std::string engine = qz::gemm_engine();
    std::memcpy(info.arch, engine.data(), std::min(engine.size(), sizeof info.arch - 1));
    info.memory_total = qz::leading_number(qz::proc_value("/proc/meminfo", "MemTotal")) * 1024;
    info.memory_free = qz::leading_number(qz::proc_value("/proc/meminfo", "MemAvailable")) * 1024;
    if (const uint64_t limit = qz::file_number("/sys/fs/cgroup/memory.max"); limit != 0 && limit < info.memory_total) {
      const uint64_t used = std::min(limit, qz::file_number("/sys/fs/cgroup/memory.current"));
      info.memory_total = limit;
      info.memory_free = std::min(info.memory_free, limit - used);
    }
    return qz::copy_out(info, "qz_device_info", out);
  });
}

}  // extern "C"
