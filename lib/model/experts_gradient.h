// A mixture of experts backward: through the experts, the weights that the router gives them, and the shared expert.
// Which experts a token goes to is taken as fixed.
#pragma once
#include "model/experts.h"
#include "model/feed_gradient.h"

namespace qz {

// What FeedBackward is for a plain MLP. Shows the sink the gradients of the shared expert's layers, never those of the
// experts or the router.
class MixtureBackward {
 public:
  MixtureBackward(const Model& model, const Block& block, const RoleSink& sink, Progress* progress)
      : model_(model), block_(block), progress_(progress), shared_(model, block.mlp, sink, progress) {}
  Status forward(MatrixView x);              // x[tokens][hidden], copied
  Status output(float* y) const;             // y = what the mixture gives
  Status backward(MatrixView g, float* dx);  // once, after forward; g at y; dx += the gradient at x

 private:
  Status backward_shared(MatrixView g, float* dx);
  // d[i] = g . y of the i-th row of the share; dx += the gradient at x through the expert itself.
  Status backward_expert(const Feed& feed, const Share& share, MatrixView g, float* d, float* dx) const;
  void backward_weights(const Matrix& d, Matrix* logits) const;

  const Model& model_;
  const Block& block_;
  Progress* const progress_;
  FeedBackward shared_;
  Matrix x_;
  Routes routes_;
};

}  // namespace qz
