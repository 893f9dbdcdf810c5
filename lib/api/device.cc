#include <algorithm>
#include <set>

#include "api/handles.h"
#include "base/json.h"
#include "estimate/devices.h"
#include "estimate/host.h"
#include "estimate/nvml.h"
#include "kernels/gemm.h"

namespace qz {
namespace {

template <size_t n>
void copy_name(const std::string& from, char (&to)[n]) {
  std::memcpy(to, from.data(), std::min(from.size(), n - 1));
}

// A device that a backend lists and NVML does not.
DeviceInfo listed_device(const qz_device_info& info, const Backend& backend) {
  constexpr std::string_view kNames[] = {"int4", "int8", "bf16", "fp8", "fp4"};
  DeviceInfo d;
  d.kind = info.device.kind;
  d.index = info.device.index;
  d.units = info.units;
  d.name = info.name;
  d.arch = info.arch;
  d.memory_total = info.memory_total;
  d.memory_free = info.memory_free;
  d.bandwidth = info.bandwidth;
  const int32_t cells[] = {info.int4, info.int8, info.bf16, info.fp8, info.fp4};
  for (size_t i = 0; i < std::size(cells); i++)
    d.abilities.push_back({kNames[i], static_cast<Support>(std::clamp(cells[i], -1, 1)), "", backend.name()});
  return d;
}

std::string backend_note(const qz_device_info& info, const Backend& backend) {
  return "backend " + backend.name() + " (" + backend.file() + (backend.computes() ? "" : ", lists only") +
         ") calls it device " + std::to_string(info.device.index);
}

DeviceReport devices_of(const qz_context* ctx) {
  DeviceReport report = read_devices(*ctx->context, gemm_engine());
  const BackendList& list = ctx->backends->list();
  std::set<size_t> claimed;  // whose index is that of the backend that computes on it, the first one found
  std::set<int32_t> kinds;
  for (const auto& backend : list.backends) {
    std::set<size_t>
        told;  // NVML and CUDA number cards in orders of their own: the name tells, the next free one of it
    for (const qz_device_info& info : backend->devices()) {
      size_t i = 0;
      const auto same = [&](const DeviceInfo& d) { return d.kind == info.device.kind && d.name == info.name; };
      while (i < report.devices.size() && (!same(report.devices[i]) || told.contains(i))) i++;
      if (i == report.devices.size()) report.devices.push_back(listed_device(info, *backend));
      told.insert(i);
      if (backend->computes()) {
        kinds.insert(info.device.kind);
        report.devices[i].computes = true;
        if (claimed.insert(i).second) report.devices[i].index = info.device.index;
      }
      report.devices[i].notes.push_back(backend_note(info, *backend));
    }
  }
  for (size_t i = 0; i < report.devices.size(); ++i)
    if (kinds.contains(report.devices[i].kind) && !claimed.contains(i)) report.devices[i].index = -1;
  for (const FailedBackend& failed : list.failed)
    report.missing.push_back({"backend " + failed.file.substr(failed.file.rfind('/') + 1), failed.why.text(),
                              "docs/backends.md says what it needs"});
  return report;
}

qz_device_info info_of(const DeviceInfo& d) {
  qz_device_info info = {};
  info.struct_size = sizeof info;
  info.units = d.units;
  info.device = {d.kind, d.index};
  copy_name(d.name, info.name);
  copy_name(d.arch, info.arch);
  info.memory_total = d.memory_total;
  info.memory_free = d.memory_free;
  info.bandwidth = d.bandwidth;
  int32_t* const cells[] = {&info.int4, &info.int8, &info.bf16, &info.fp8, &info.fp4};
  for (size_t i = 0; i < d.abilities.size(); i++) *cells[i] = static_cast<int32_t>(d.abilities[i].support);
  return info;
}

}  // namespace

Result<bool> names_device(qz_device device) {
  constexpr int32_t kCpuKind = 1;  // DLPack
  if (device.kind != 0 && device.kind != kCpuKind) return true;
  if (device.index == 0) return false;
  return error(Code::kInvalidArgument, "device is (%d, %d); the CPU is (1, 0)", device.kind, device.index);
}

const BackendList& Backends::list() const {
  std::call_once(opening_, [this] {
    Backend::LogSink log;
    if (context_->log_sink)
      log = [sink = context_->log_sink](int32_t level, const std::string& text) { sink(LogLevel{level}, text); };
    list_ = open_backends({{own_folder(), false}, {folder_, true}}, log);
  });
  return list_;
}

}  // namespace qz

using qz::Code;
using qz::error;
using qz::Status;

extern "C" {

size_t qz_device_count(const qz_context* ctx) {
  size_t count = 0;
  if (ctx)
    static_cast<void>(qz::guard("qz_device_count", [&]() -> Status {
      count = qz::devices_of(ctx).devices.size();
      return {};
    }));
  return count;
}

qz_status qz_device_get(const qz_context* ctx, size_t i, qz_device_info* out) {
  return qz::guard("qz_device_get", [&]() -> Status {
    QZ_TRY(qz::require(ctx, "ctx"));
    const qz::DeviceReport report = qz::devices_of(ctx);
    if (i >= report.devices.size()) return error(Code::kInvalidArgument, "device %zu of %zu", i, report.devices.size());
    return qz::copy_out(qz::info_of(report.devices[i]), "qz_device_info", out);
  });
}

qz_status qz_device_measure(const qz_context* ctx, size_t i, uint64_t* bandwidth) {
  return qz::guard("qz_device_measure", [&]() -> Status {
    QZ_TRY(qz::require(ctx, "ctx"));
    QZ_TRY(qz::require(bandwidth, "bandwidth"));
    if (i != 0) return error(Code::kUnsupported, "device %zu: only the CPU, device 0, is measured", i);
    QZ_ASSIGN(*bandwidth, qz::measure_bandwidth(*ctx->context));
    return {};
  });
}

qz_status qz_device_to_json(const qz_context* ctx, char* buf, size_t cap, size_t* need) {
  return qz::guard("qz_device_to_json", [&]() -> Status {
    QZ_TRY(qz::require(ctx, "ctx"));
    return qz::copy_text(qz::dump_json(qz::devices_to_json(qz::devices_of(ctx))), buf, cap, need);
  });
}

qz_status qz_device_usage(const qz_context* ctx, qz_memory_usage* out) {
  return qz::guard("qz_device_usage", [&]() -> Status {
    QZ_TRY(qz::require(ctx, "ctx"));
    const qz::MemoryUsage now = qz::read_memory_usage();
    qz_memory_usage usage = {};
    usage.struct_size = sizeof usage;
    usage.host = now.resident;
    usage.host_peak = now.resident_peak;
    usage.cgroup = now.cgroup;
    usage.cgroup_peak = now.cgroup_peak;
    for (const qz::NvmlGpu& gpu : qz::read_nvml().gpus) usage.device += gpu.memory_used;
    return qz::copy_out(usage, "qz_memory_usage", out);
  });
}

}  // extern "C"
