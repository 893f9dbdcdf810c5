// Rescaling one block before it is quantized. The function of the block does not change, but for the rounding of the
// rescaled norms and biases to the types that the file has for them; that of norms is made up for in the weights.
#pragma once
#include <map>
#include <vector>

#include "run/places.h"
#include "run/streams.h"

namespace qz {

struct TransformJob {
  const Model& model;  // searches with exact products,
  const Model& fast;   // the same, with fast ones, runs the calibration tokens
  const std::vector<ModulePlan>& plans;
  const Format& format;
  const RopeTable& rope;
  const std::vector<Chunk>& chunks;
  const Matrix& r;  // the residual stream before the block, all tokens
};

struct Rescaled {
  Vectors vectors;                               // norms and biases with new values, by tensor name
  std::map<size_t, std::vector<float>> divided;  // modules whose rows were divided, [rows] by what
};

// Rescales *block, which is as loaded, at the places that fold_places finds; rescaled linear layers are float32 then.
// Means and largest magnitudes of the inputs are those of all tokens; errors are measured on the beginnings of some
// sequences, spread evenly, kSampleTokens together. Memory beside the block: one chunk's activations, the sample's, and
// the layers of one place twice more.
Result<Rescaled> transform_block(const TransformJob& job, Block* block, Progress* progress);

}  // namespace qz
