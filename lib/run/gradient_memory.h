// What the activations and gradients take while the output metric is measured. Follows model/gradient.cc and
// model/block_gradient.cc step by step; a change there is a change here.
#pragma once
#include <vector>

#include "model/model.h"
#include "run/moment.h"

namespace qz {

struct GradientSize {
  int64_t rows = 0;   // tokens of all measured sequences
  int64_t chain = 0;  // rows that the output metric couples
};

// base with what each step adds.
std::vector<Moment> gradient_moments(const Moment& base, const Model& model, const GradientSize& size);
// Bytes of the panels that the products of these steps leave with the thread that starts them.
size_t gradient_panels(const Model& model, const GradientSize& size);

}  // namespace qz
