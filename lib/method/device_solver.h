// The parts of GPTQ that a run gives to a device which the user chose: sums of Hessians, factorizations and solves
// with them, loops over columns. What the backend does not take stays with the CPU, and is told in words, once per
// reason.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "method/device_cholesky.h"
#include "method/device_hessian.h"
#include "method/hessian.h"
#include "method/lattice.h"
#include "method/range.h"
#include "method/row_metric.h"

namespace qz {

// One thread at a time.
class DeviceSolver {
 public:
  using Note = std::function<void(std::string event)>;
  // note: told what stays with the CPU, and why.
  DeviceSolver(std::shared_ptr<const Backend> backend, qz_device device, Note note);

  // A sum on the device; null: it is the CPU's. An operation that is refused and memory that is not there leave the
  // work to the CPU; a device that fails at what it took is an error, here and below.
  Result<std::unique_ptr<DeviceHessian>> hessian(int64_t cols, int64_t most);
  // As cholesky(); nothing: it is the CPU's, and a is as it was.
  Result<std::optional<int64_t>> cholesky(int64_t n, float* a);
  // Solves with a factor, `most` rows at a time; null: they are the CPU's.
  Result<std::unique_ptr<DeviceCholesky>> solver(int64_t n, const float* lower, int64_t most);
  // As solve_columns(), in blocks of 128 columns; nothing: they are the CPU's.
  Result<std::optional<std::vector<uint8_t>>> columns(MatrixView target, const HessianFactor& factor,
                                                      const RowMetric& metric, const Grid& grid,
                                                      const Lattice& lattice);
  // A loop over columns that has no such form: `why` in words.
  void keep_columns(const std::string& why);
  // What was computed where: "GPTQ on Emulated GPU (cuda, device 0): 3 of 4 Hessians, ..., 7 of 7 loops over columns".
  std::string summary() const;

 private:
  struct Count {
    int64_t there = 0, all = 0;
  };
  // Whether the CPU may do it instead; notes it.
  bool falls_back(const char* what, const Status& why);
  void note(const char* what, const std::string& why);

  std::shared_ptr<const Backend> backend_;
  qz_device device_;
  Note note_;
  std::set<std::string> noted_;
  Count hessians_, factors_, solves_, columns_;
};

}  // namespace qz
