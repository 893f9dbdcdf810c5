#include "method/device_solver.h"

#include "backend/list.h"
#include "method/device_columns.h"

namespace qz {
namespace {

constexpr const char* kHessians = "Hessians";
constexpr const char* kFactors = "factorizations";
constexpr const char* kSolves = "corrections of targets";
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

Result<std::optional<int64_t>> DeviceSolver::cholesky(int64_t n, float* a) {
  using Done = std::optional<int64_t>;
  factors_.all++;
  const auto done = cholesky_on(*backend_, device_, n, a);
  if (!done.ok() && falls_back(kFactors, done.status())) return Done();
  if (!done.ok()) return done.status();
  factors_.there++;
  return Done(*done);
}

Result<std::unique_ptr<DeviceCholesky>> DeviceSolver::solver(int64_t n, const float* lower, int64_t most) {
  solves_.all++;
  auto made = DeviceCholesky::make(backend_, device_, n, lower, most);
  if (!made.ok() && falls_back(kSolves, made.status())) return std::unique_ptr<DeviceCholesky>();
  if (made.ok()) solves_.there++;
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
    if (same_device(info.device, device_)) name = info.name;
  std::string parts;
  const auto add = [&parts](const Count& c, const char* what) {
    if (c.all == 0) return;
    parts += (parts.empty() ? ": " : ", ") + std::to_string(c.there) + " of " + std::to_string(c.all) + " " + what;
  };
  add(hessians_, kHessians);
  add(factors_, kFactors);
  add(solves_, kSolves);
  add(columns_, kColumns);
  return "GPTQ on " + name + " (" + backend_->name() + ", device " + std::to_string(device_.index) + ")" + parts;
}

}  // namespace qz
