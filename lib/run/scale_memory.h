// What the search for the scales of a transform takes. Follows run/transform.cc step by step; a change there is a
// change here.
#pragma once
#include <set>
#include <vector>

#include "run/moment.h"
#include "run/plan.h"

namespace qz {

struct ScaleSize {
  int64_t sequences = 0, length = 0;  // of the calibration set
  int64_t chunk = 0;                  // tokens that go through a block at once
};

// The modules of a block that a transform turns into float32: those that read the scales, and the linear layers that
// take the inverse.
std::set<size_t> rescaled_modules(const Model& model, const std::vector<ModulePlan>& plans, int64_t layer);

// base, what there is beside the block, with what each step adds.
std::vector<Moment> scale_moments(const Moment& base, const Model& model, const std::vector<ModulePlan>& plans,
                                  int64_t layer, const ScaleSize& size);

// Floats a token that attention takes beside its input and its mixed heads: projections, and latent attention's parts.
int64_t projection_width(const Model& model, int64_t layer);

}  // namespace qz
