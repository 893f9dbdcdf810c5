// Mixed precision: the scheme of each module for a number of bits per weight, such that the model loses least.
#pragma once
#include <string>
#include <vector>

#include "run/pipeline.h"

namespace qz {

// Of modules that must have one scheme, under each candidate.
struct Choices {
  std::vector<size_t> modules;
  std::vector<uint64_t> bytes;  // stored
  std::vector<double> loss;     // nats per token, from the quadratic model of the loss
};

struct Sensitivity {
  std::string key;        // of the question: calibration, format, candidates, seed
  size_t base_rules = 0;  // of the plan that was measured
  size_t all_rules = 0;   // with what the search added
  std::vector<Scheme> candidates;
  std::vector<Choices> units;
};

struct BudgetOptions {
  FormatId format = FormatId::kCompressed;
  double bits_per_weight = 4;      // codes, scales and zero points, of the layers that the plan quantizes
  std::vector<Scheme> candidates;  // empty: kBudgetCandidates, asymmetric where the plan's schemes are
  uint64_t seed = 0;               // of the labels of the output metric
  Progress* progress = nullptr;
};
constexpr const char* kBudgetCandidates[] = {"w2g64", "w2g32", "w3g128", "w3g32", "w4g128", "w4g32", "w8g128"};

// Adds one rule for each module that the plan quantizes (the head excepted), with its method and options and the scheme
// of the best assignment. Measured once for each module and candidate, whatever the number of budgets: half of
// tr(G E H E^T), E what the module's own method leaves over, H the inputs' second moments, G the output metric: the
// quadratic approximation of the KL divergence (docs/algorithms.md, "Budgets"). q, k and v of a block have one scheme,
// gate and up too: loaders fuse them and refuse layers of several schemes (vLLM). The assignment: the lower convex hull
// of loss over bytes of every module, its steps taken by falling gain for each byte (Lagrange), then what still fits.
// kInvalidArgument: a budget below the smallest assignment. kUnsupported: mixtures of experts, whose metric is not
// measured; formats with one scheme for all.
Status set_budget(Plan* plan, const TokenSet& calibration, const BudgetOptions& options);

// The candidate of each unit for `bytes` altogether; empty if that is below the smallest assignment.
std::vector<size_t> assign(const std::vector<Choices>& units, uint64_t bytes);

}  // namespace qz
