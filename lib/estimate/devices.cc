#include "estimate/devices.h"

#include <algorithm>

#include "base/json.h"
#include "estimate/host.h"
#include "estimate/nvml.h"
#include "kernels/gemm.h"

namespace qz {
namespace {

const char* support_name(Support s) { return s == Support::kYes ? "yes" : s == Support::kNo ? "no" : "not known"; }

std::string arch_name(int32_t capability) { return "sm_" + std::to_string(capability); }

std::vector<Ability> gpu_abilities(int32_t capability) {
  struct Column {
    std::string_view name;
    Cell Capability::* cell;
  };
  constexpr Column kColumns[] = {{"int4", &Capability::int4},
                                 {"int8", &Capability::int8},
                                 {"bf16", &Capability::bf16},
                                 {"fp8", &Capability::fp8},
                                 {"fp4", &Capability::fp4}};
  const Capability* row = find_capability(capability);
  std::vector<Ability> out;
  for (const Column& column : kColumns) {
    const Cell cell = row ? row->*column.cell : Cell{};
    const std::string why = row ? std::string(cell.why)
                                : "compute capability " + std::to_string(capability / 10) + "." +
                                      std::to_string(capability % 10) + " is not in the table of this version";
    out.push_back({column.name, cell.support, why, std::string(cell.source)});
  }
  return out;
}

// What the processor multiplies in hardware; the kernels of this library use AVX2 and AVX-512 float32 so far.
std::vector<Ability> cpu_abilities(const Processor& cpu) {
  struct Row {
    std::string_view name;
    std::vector<std::string_view> flags;  // one is enough
    std::string_view without;
  };
  static const std::vector<Row> kRows = {
      {"int4", {}, "no processor multiplies 4-bit integers; codes are expanded as they are read"},
      {"int8",
       {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"},
       "needs avx512_vnni, avx_vnni, amx_int8 or, on Arm, asimddp"},
      {"bf16",
       {"avx512_bf16", "amx_bf16", "bf16"},
       "needs avx512_bf16, amx_bf16 or, on Arm, bf16; weights are expanded to float32"},
      {"fp8", {}, "no processor multiplies FP8"},
      {"fp4", {}, "no processor multiplies FP4"}};
  std::vector<Ability> out;
  for (const Row& row : kRows) {
    Ability a{row.name, Support::kNo, std::string(row.without), "/proc/cpuinfo"};
    for (const std::string_view flag : row.flags)
      if (std::find(cpu.features.begin(), cpu.features.end(), flag) != cpu.features.end()) {
        if (a.support == Support::kNo) a.why.clear();
        a.why += (a.why.empty() ? "" : ", ") + std::string(flag);
        a.support = Support::kYes;
      }
    out.push_back(std::move(a));
  }
  return out;
}

DeviceInfo read_cpu(const Context& context, const std::string& engine) {
  DeviceInfo d;
  const Processor cpu = read_processor();
  const HostMemory memory = read_host_memory();
  d.units = static_cast<int32_t>(context.pool->threads());
  d.name = cpu.name;
  d.arch = engine;
  d.computes = true;
  d.memory_total = memory.total;
  d.memory_free = memory.free;
  d.abilities = cpu_abilities(cpu);
  if (memory.limit != 0) d.notes.push_back("memory is limited by " + memory.limited_by);
  // Only where a better one is not used.
  if (const std::string choice = engine_choice(); choice != engine) d.notes.push_back("kernels: " + choice);
  return d;
}

DeviceInfo from_nvml(const NvmlGpu& gpu, int32_t index) {
  DeviceInfo d;
  d.kind = 2;
  d.index = index;
  d.units = gpu.cores;
  d.capability = gpu.capability;
  d.name = gpu.name;
  d.arch = arch_name(gpu.capability);
  d.memory_total = gpu.memory_total;
  const uint64_t taken = gpu.memory_used + gpu.memory_reserved;
  d.memory_free = gpu.memory_total - std::min(gpu.memory_total, taken);
  d.bandwidth = gpu.bandwidth;
  if (const GpuModel* known = find_gpu_model(gpu.name); known && known->capability == gpu.capability)
    d.bandwidth = known->bandwidth;
  d.abilities = gpu_abilities(gpu.capability);
  if (gpu.mig) d.notes.push_back("MIG is on: the card is cut into parts, the figures are those of the whole card");
  return d;
}

}  // namespace

DeviceReport read_devices(const Context& context, const std::string& engine) {
  DeviceReport report;
  report.devices.push_back(read_cpu(context, engine));
  NvmlReport nvml = read_nvml();
  report.driver = nvml.driver;
  for (size_t i = 0; i < nvml.gpus.size(); i++)
    report.devices.push_back(from_nvml(nvml.gpus[i], static_cast<int32_t>(i)));
  if (!nvml.why.empty())
    report.missing.push_back({"NVIDIA GPU", nvml.why,
                              nvml.driver.empty()
                                  ? "install NVIDIA's driver (Debian: apt-get install nvidia-driver); in a "
                                    "container, start it with --gpus all"
                                  : "nvidia-smi shows what the driver sees; CUDA_VISIBLE_DEVICES does not "
                                    "hide a GPU from it, a container does"});
  return report;
}

Result<DeviceInfo> device_from_name(const std::string& name) {
  std::string known;
  for (const GpuModel& model : gpu_models()) {
    known += (known.empty() ? "" : ", ") + std::string(model.name);
    if (model.name.find(name) == std::string_view::npos || name.size() < 2) continue;
    DeviceInfo d;
    d.kind = 2;
    d.capability = model.capability;
    d.name = std::string(model.name);
    d.arch = arch_name(model.capability);
    d.memory_total = d.memory_free = model.memory;
    d.bandwidth = model.bandwidth;
    d.abilities = gpu_abilities(model.capability);
    return d;
  }
  return error(Code::kInvalidArgument, "device '%.60s' is not in the table: %s", name.c_str(), known.c_str());
}

Json device_to_json(const DeviceInfo& d) {
  Json abilities = Json::object();
  for (const Ability& a : d.abilities)
    abilities[std::string(a.name)] = {{"support", support_name(a.support)}, {"why", a.why}, {"source", a.source}};
  return {{"kind", d.kind == 1 ? "cpu" : "cuda"},
          {"index", d.index},
          {"name", d.name},
          {"arch", d.arch},
          {"units", d.units},
          {"memory_total", d.memory_total},
          {"memory_free", d.memory_free},
          {"bandwidth", d.bandwidth},
          {"computes", d.computes},
          {"abilities", std::move(abilities)},
          {"notes", d.notes}};
}

Json devices_to_json(const DeviceReport& report) {
  Json devices = Json::array(), missing = Json::array(), models = Json::array();
  for (const DeviceInfo& d : report.devices) devices.push_back(device_to_json(d));
  for (const Missing& m : report.missing) missing.push_back({{"what", m.what}, {"why", m.why}, {"get", m.get}});
  for (const GpuModel& m : gpu_models())
    models.push_back({{"name", std::string(m.name)},
                      {"arch", arch_name(m.capability)},
                      {"memory_total", m.memory},
                      {"bandwidth", m.bandwidth},
                      {"source", std::string(m.source)}});
  return {{"driver", report.driver}, {"devices", devices}, {"missing", missing}, {"known_gpus", models}};
}

}  // namespace qz
