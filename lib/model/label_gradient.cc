#include "model/label_gradient.h"

#include <algorithm>
#include <cmath>

#include "base/pages.h"
#include "base/random.h"
#include "kernels/ops.h"
#include "model/block_gradient.h"
#include "model/scratch.h"

namespace qz {
namespace {

// Rows whose logits are in memory at once.
constexpr int64_t kLabelRows = 256;

// Final norm, projection and head, in float32: the backward product reads the weights along the other direction.
struct Tail {
  NormWeights norm;
  Matrix project, head;  // project empty: none
  std::vector<float> project_bias, head_bias;

  static Result<Tail> load(const Model& model);
};

Result<Tail> Tail::load(const Model& model) {
  const ModelConfig& c = model.config();
  Tail tail;
  if (c.final_norm) {
    QZ_ASSIGN(tail.norm, load_norm(model, std::string(model.arch().final_norm), c.hidden));
  }
  if (c.embed_dim != c.hidden) {
    const std::string name(model.arch().project_out);
    QZ_ASSIGN(const std::vector<float> weight, model.load_vector(name + ".weight", c.embed_dim * c.hidden, true));
    QZ_ASSIGN(tail.project_bias, model.load_vector(name + ".bias", c.embed_dim, false));
    tail.project = Matrix(c.embed_dim, c.hidden);
    std::copy(weight.begin(), weight.end(), tail.project.data());
  }
  const size_t head = model.modules().size() - 1;
  QZ_ASSIGN(tail.head, model.load_weight(head));
  QZ_ASSIGN(tail.head_bias, model.load_bias(head));
  return tail;
}

Status forward_linear(const Context& context, MatrixView x, const Matrix& w, const std::vector<float>& bias, float* y,
                      Progress* progress) {
  const DenseWeight dense{w.data(), DType::kF32, w.rows(), w.cols()};
  return gemm_nt(context, x, weight_rows(dense), bias.empty() ? nullptr : bias.data(), false, y, w.rows(), progress);
}

// Logits become the gradient at the logits: onehot(label) - softmax.
Status label_row(float* logits, int64_t vocab, float cap, int64_t sequence, int64_t position, const int32_t* given,
                 uint64_t seed) {
  std::vector<float> tanh;  // of logits under a cap
  if (cap > 0) {
    for (int64_t i = 0; i < vocab; ++i) {
      tanh.push_back(std::tanh(logits[i] / cap));
      logits[i] = cap * tanh.back();
    }
  }
  softmax(logits, vocab);
  // Apart from the numbers by which the model may have written the text itself, with the same seed.
  const uint64_t apart = seed ^ 0x6C6162656C73;  // "labels"
  const double u = uniform(apart, static_cast<uint64_t>(sequence), static_cast<uint64_t>(position));
  const int64_t drawn = draw_label(logits, vocab, u);
  if (drawn < 0) {
    return error(Code::kNumeric, "sequence %lld, position %lld: the model's logits are not finite",
                 static_cast<long long>(sequence), static_cast<long long>(position));
  }
  const int64_t label = given ? *given : drawn;
  if (label < 0 || label >= vocab) {
    return error(Code::kInvalidArgument, "sequence %lld, position %lld: label %lld is outside the vocabulary of %lld",
                 static_cast<long long>(sequence), static_cast<long long>(position), static_cast<long long>(label),
                 static_cast<long long>(vocab));
  }
  for (int64_t i = 0; i < vocab; ++i) logits[i] = -logits[i];
  logits[label] += 1.0f;
  for (size_t i = 0; i < tanh.size(); ++i) logits[i] *= 1 - tanh[i] * tanh[i];
  return {};
}

}  // namespace

int64_t draw_label(const float* probabilities, int64_t vocab, double u) {
  double sum = 0;
  for (int64_t i = 0; i < vocab; ++i) sum += static_cast<double>(probabilities[i]);
  if (!(sum > 0) || std::isinf(sum)) return -1;
  const double target = u * sum;  // < sum, which the loop reaches by the same additions
  double reached = 0;
  for (int64_t i = 0; i < vocab; ++i) {
    reached += static_cast<double>(probabilities[i]);
    if (reached > target) return i;
  }
  return -1;
}

Status label_gradient(const Model& model, const Sequences& sequences, MatrixView r, const Labels& labels,
                      float* gradient, Progress* progress) {
  const Context& context = model.context();
  QZ_ASSIGN(const Tail tail, Tail::load(model));
  release_heap();  // the file's bytes, freed by now, which the heap would keep beside the logits
  const int64_t vocab = tail.head.rows(), width = tail.head.cols(), hidden = r.cols;
  Scratch normed(kLabelRows * hidden), narrow(tail.project.empty() ? 0 : kLabelRows * width);
  Scratch logits(std::min(kLabelRows, r.rows) * vocab);
  const auto cap = static_cast<float>(model.config().logit_cap);
  std::fill_n(gradient, r.rows * hidden, 0.0f);
  for (int64_t first = 0; first < r.rows; first += kLabelRows) {
    const int64_t rows = std::min(kLabelRows, r.rows - first);
    const MatrixView stream{r.row(first), rows, hidden, r.stride};
    QZ_TRY(norm_rows(model, tail.norm, stream, normed.data()));
    MatrixView x = normed.view(rows, hidden);
    if (!tail.project.empty()) {
      QZ_TRY(forward_linear(context, x, tail.project, tail.project_bias, narrow.data(), progress));
      x = narrow.view(rows, width);
    }
    QZ_TRY(forward_linear(context, x, tail.head, tail.head_bias, logits.data(), progress));
    const auto label = [&](uint32_t index, uint32_t) {
      const int64_t row = first + index;
      const auto next = std::upper_bound(sequences.start.begin(), sequences.start.end(), row);
      const int64_t sequence = next - sequences.start.begin() - 1;
      return label_row(logits.data() + index * vocab, vocab, cap, sequence, row - *(next - 1),
                       labels.given ? labels.given + row : nullptr, labels.seed);
    };
    QZ_TRY(parallel_for(context, static_cast<uint32_t>(rows), label, progress));
    Matrix dx(rows, width);
    QZ_TRY(gemm_nn(context, logits.view(rows, vocab), tail.head.view(), 1.0f, dx.data(), width, progress));
    if (!tail.project.empty()) {
      const Matrix dy = std::move(dx);
      dx = Matrix(rows, hidden);
      QZ_TRY(gemm_nn(context, dy.view(), tail.project.view(), 1.0f, dx.data(), hidden, progress));
    }
    QZ_TRY(norm_rows_gradient(model, tail.norm, stream, dx.data(), gradient + first * hidden));
  }
  return {};
}

}  // namespace qz
