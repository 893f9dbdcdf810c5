// What a transform looks at: linear layers that read the same input. Multiplying their columns by s and dividing the
// input by s leaves the function of the model unchanged.
#pragma once
#include <functional>
#include <vector>

#include "base/status.h"
#include "tensor/matrix.h"
#include "transform/options.h"

namespace qz {

using Scales = std::vector<float>;  // one per input column, positive and finite

struct Place {
  std::vector<MatrixView> linears;  // weights [rows][cols]
  std::vector<int64_t> groups;      // per linear: columns that share a scale of the grid
  std::vector<float> mean, most;    // [cols] of |x| over all calibration tokens
  // [cols] columns of one number have one scale, because one output of what comes before serves them all (values of
  // grouped queries); empty: each has its own. mean and most are the same for all columns of a number.
  std::vector<int64_t> shared;
  // What the part of the model that these layers are in loses on some calibration tokens when their weights are rounded
  // with columns times s and their inputs divided by s: a squared error.
  std::function<Result<double>(const Scales& s)> error;

  int64_t cols() const { return static_cast<int64_t>(mean.size()); }
};

// The candidate with the least error, the first of equal ones; ones, which change nothing, are tried before all.
Result<Scales> best_of(const Place& place, const std::vector<Scales>& candidates);

// Every column's value becomes the mean, or the largest, of those that share a scale with it.
void share_mean(const std::vector<int64_t>& shared, std::vector<float>* values);
void share_most(const std::vector<int64_t>& shared, std::vector<float>* values);

}  // namespace qz
