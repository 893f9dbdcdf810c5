// A feed-forward network forward and backward, for gradients: the forward pass keeps what the backward pass reads.
#pragma once
#include "model/block_gradient.h"

namespace qz {

// Shows g, the gradient at the linear layer's output, to the sink, then dx += g W.
Status backward_linear(const Context& context, const RoleSink& sink, Role role, const Linear& linear, MatrixView g,
                       float* dx, Progress* progress);

class FeedBackward {
 public:
  FeedBackward(const Model& model, const Feed& feed, const RoleSink& sink, Progress* progress)
      : model_(model), feed_(feed), sink_(sink), progress_(progress) {}
  Status forward(MatrixView x);              // x[tokens][hidden]
  Status output(float* y) const;             // y = what down gives
  Status backward(MatrixView g, float* dx);  // once, after forward; g at y; dx += the gradient at x

 private:
  Status mix(float* m) const;

  const Model& model_;
  const Feed& feed_;
  const RoleSink& sink_;
  Progress* const progress_;
  Matrix h_;  // outputs of gate and up, side by side; of up alone in a plain network
};

}  // namespace qz
