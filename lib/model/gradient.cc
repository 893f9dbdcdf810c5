#include "model/gradient.h"

#include <algorithm>

#include "base/pages.h"
#include "model/block_gradient.h"
#include "model/label_gradient.h"
#include "model/scratch.h"

namespace qz {
namespace {

using Ids = std::vector<std::vector<int32_t>>;

Status check_ids(const Model& model, const Ids& ids, const Ids& labels) {
  if (ids.empty()) return error(Code::kInvalidArgument, "no token sequences to take gradients of");
  if (!labels.empty() && labels.size() != ids.size()) {
    return error(Code::kInvalidArgument, "%zu token sequences but labels for %zu", ids.size(), labels.size());
  }
  const auto longest = static_cast<size_t>(model.config().max_seq);
  for (size_t s = 0; s < ids.size(); ++s) {
    if (ids[s].empty() || ids[s].size() > longest) {
      return error(Code::kInvalidArgument, "sequence %zu has %zu tokens, expected 1 to %zu", s, ids[s].size(), longest);
    }
    if (!labels.empty() && labels[s].size() != ids[s].size()) {
      return error(Code::kInvalidArgument, "sequence %zu has %zu tokens but %zu labels", s, ids[s].size(),
                   labels[s].size());
    }
  }
  return {};
}

std::vector<int32_t> join(const Ids& ids) {
  std::vector<int32_t> all;
  for (const std::vector<int32_t>& sequence : ids) all.insert(all.end(), sequence.begin(), sequence.end());
  return all;
}

// streams[l] = the residual stream before block l; the last one is what the final norm reads.
Status forward(const Model& model, const RopeTable& rope, const Sequences& sequences, const std::vector<int32_t>& ids,
               std::vector<Matrix>* streams, Progress* progress) {
  const ModelConfig& c = model.config();
  Matrix r(sequences.rows(), c.hidden);
  {
    QZ_ASSIGN(const Ends ends, Ends::load(model));
    QZ_TRY(ends.embed(model, sequences, ids.data(), r.data()));
  }
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    streams->push_back(r);
    QZ_ASSIGN(const Block block, load_block(model, layer, Experts::kOnDemand));
    QZ_TRY(block_forward(model, block, rope, sequences, nullptr, r.data(), progress));
  }
  streams->push_back(std::move(r));
  return {};
}

// metric->g += g^T g / tokens on the diagonal blocks.
Status accumulate(const Context& context, MatrixView g, OutputMetric* metric, Progress* progress) {
  const int64_t block = metric->block;
  const float share = static_cast<float>(1.0 / static_cast<double>(g.rows));
  for (int64_t begin = 0; begin < metric->rows; begin += block) {
    const int64_t size = std::min(block, metric->rows - begin);
    const MatrixView part{g.data + begin, g.rows, size, g.stride};
    float* out = metric->g.row(begin);
    QZ_TRY(gemm_tn(context, part, part, share, true, out, block, progress));
    for (int64_t i = 0; i < size; ++i) {
      for (int64_t j = 0; j < i; ++j) out[j * block + i] = out[i * block + j];
    }
  }
  return {};
}

}  // namespace

Status module_gradients(const Model& model, const Ids& ids, const Ids& labels, uint64_t seed, const GradientSink& sink,
                        Progress* progress) {
  QZ_TRY(check_ids(model, ids, labels));
  Sequences sequences;
  int64_t longest = 0;
  sequences.start.push_back(0);
  for (const std::vector<int32_t>& sequence : ids) {
    const auto length = static_cast<int64_t>(sequence.size());
    sequences.start.push_back(sequences.start.back() + length);
    longest = std::max(longest, length);
  }
  const RopeTable rope = make_rope_table(model.config(), longest);
  std::vector<Matrix> streams;
  QZ_TRY(forward(model, rope, sequences, join(ids), &streams, progress));

  const std::vector<int32_t> given = join(labels);
  Matrix gradient(sequences.rows(), model.config().hidden);
  QZ_TRY(label_gradient(model, sequences, streams.back().view(), {labels.empty() ? nullptr : given.data(), seed},
                        gradient.data(), progress));
  for (int64_t layer = model.config().layers - 1; layer >= 0; --layer) {
    streams.pop_back();
    QZ_ASSIGN(const Block block, load_block(model, layer, Experts::kOnDemand));
    const auto show = [&](Role role, MatrixView g) -> Status {
      const auto [first, end] = model.block_modules(layer);
      for (size_t i = first; i < end; ++i) {
        if (model.modules()[i].expert < 0 && model.modules()[i].role == role) return sink(i, g);
      }
      return {};
    };
    QZ_TRY(block_backward(model, block, rope, sequences, streams.back().view(), gradient.data(), show, progress));
  }
  return {};
}

Result<std::vector<OutputMetric>> output_metrics(const Model& model, const Ids& ids, int64_t block, uint64_t seed,
                                                 Progress* progress) {
  const KeepNoPages keep_none;
  if (block < 1) return error(Code::kInvalidArgument, "blocks of %lld rows", static_cast<long long>(block));
  std::vector<OutputMetric> metrics(model.modules().size());
  const auto add = [&](size_t module, MatrixView g) {
    OutputMetric& metric = metrics[module];
    metric.rows = g.cols;
    metric.block = std::min(block, g.cols);
    metric.g = Matrix(metric.rows, metric.block);
    return accumulate(model.context(), g, &metric, progress);
  };
  QZ_TRY(module_gradients(model, ids, {}, seed, add, progress));
  return metrics;
}

}  // namespace qz
