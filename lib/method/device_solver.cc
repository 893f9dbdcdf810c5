#include "method/device_solver.h"

#include "method/device_columns.h"

namespace qz {
namespace {

constexpr const char* kHessians = "Hessians";
constexpr const char* kColumns = "loops over columns";

}  // namespace

DeviceSolver::DeviceSolver(std::shared_ptr<const Backend> backend, qz_device device, Note note)
    : backend_(std::move(backend)), device_(device), note_(std::move(note)) {}

void DeviceSolver::note(const char* what, const std::string& why) {
  std::string event = std::string(what) + " on the CPU instead of " + backend_->name() + ", device " +
                      std::to_string(device_.index) + ": " + why;
  if (noted_.insert(event).second) note_(std::move(event));
}

bool DeviceSolver::falls_back(const char* what, const Status& why) {
  if (why.code() != Code::kUnsupported && why.code() != Code::kOutOfMemory) return false;
  note(what, why.text());
  return true;
}

Result<std::unique_ptr<DeviceHessian>> DeviceSolver::hessian(int64_t cols, int64_t most) {
  hessians_.all++;
  auto made = DeviceHessian::make(backend_, device_, cols, most);
  if (!made.ok() && falls_back(kHessians, made.status())) return std::unique_ptr<DeviceHessian>();
  if (made.ok()) hessians_.there++;
  return made;
}

Result<std::optional<std::vector<uint8_t>>> DeviceSolver::columns(MatrixView target, const HessianFactor& factor,
                                                                  const RowMetric& metric, const Grid& grid,
                                                                  const Lattice& lattice) {
  using Codes = std::optional<std::vector<uint8_t>>;
  if (!metric.identity()) {
    keep_columns("an output metric couples the rows");
    return Codes();
  }
  columns_.all++;
  auto solved = solve_columns_on(*backend_, device_, target, factor, grid, lattice);
  if (!solved.ok() && falls_back(kColumns, solved.status())) return Codes();
  if (!solved.ok()) return solved.status();
  columns_.there++;
  return Codes(std::move(*solved));
}

void DeviceSolver::keep_columns(const std::string& why) {
  columns_.all++;
  note(kColumns, why);
}

std::string DeviceSolver::summary() const {
  std::string name = "?";
  for (const qz_device_info& info : backend_->devices())
    if (info.device.kind == device_.kind && info.device.index == device_.index) name = info.name;
  const auto of = [](const Count& c, const char* what) {
    return std::to_string(c.there) + " of " + std::to_string(c.all) + " " + what;
  };
  return "GPTQ on " + name + " (" + backend_->name() + ", device " + std::to_string(device_.index) +
         "): " + of(hessians_, kHessians) + ", " + of(columns_, kColumns);
}

}  // namespace qz
