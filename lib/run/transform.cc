#include "run/transform.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/pages.h"
#include "method/rtn.h"
#include "model/latent.h"
#include "model/layout.h"
#include "packed/inputs.h"
#include "run/sizes.h"
#include "tensor/convert.h"
#include "transform/list.h"

namespace qz {
namespace {

// What all calibration tokens, and the sample, are at the places of one input.
struct InputStats {
  std::vector<double> sum;  // of |x|
  std::vector<float> most;
  Matrix sample;

  void add(MatrixView x) {
    sum.resize(static_cast<size_t>(x.cols));
    most.resize(static_cast<size_t>(x.cols));
    for (int64_t t = 0; t < x.rows; ++t)
      for (int64_t c = 0; c < x.cols; ++c) {
        const float v = std::fabs(x.row(t)[c]);
        sum[static_cast<size_t>(c)] += static_cast<double>(v);
        most[static_cast<size_t>(c)] = std::max(most[static_cast<size_t>(c)], v);
      }
  }
};

// A piece of the sample: rows of a chunk.
struct SamplePiece {
  size_t chunk;
  int64_t row, count;
};

std::vector<SamplePiece> choose_sample(const std::vector<Chunk>& chunks) {
  std::vector<SamplePiece> all;
  for (size_t i = 0; i < chunks.size(); ++i)
    for (int64_t s = 0; s < chunks[i].sequences.count(); ++s)
      all.push_back({i, chunks[i].sequences.start[static_cast<size_t>(s)],
                     std::min(kSampleLength, chunks[i].sequences.length(s))});
  int64_t total = 0;
  for (const SamplePiece& p : all) total += p.count;
  const auto count = static_cast<int64_t>(all.size());
  const int64_t wanted = std::clamp<int64_t>(count * kSampleTokens / std::max<int64_t>(1, total), 1, count);
  std::vector<SamplePiece> out;
  for (int64_t i = 0; i < wanted; ++i) out.push_back(all[static_cast<size_t>((2 * i + 1) * count / (2 * wanted))]);
  return out;
}

class Transformer {
 public:
  Transformer(const TransformJob& job, Block* block, Progress* progress)
      : job_(job), model_(job.model), block_(*block), progress_(progress) {}

  Result<Rescaled> run() {
    std::vector<FoldPlace> places = fold_places(model_, job_.plans, block_.layer);
    std::erase_if(places, [](const FoldPlace& p) { return !p.obstacle.empty(); });
    if (places.empty()) return std::move(out_);
    for (const FoldPlace& p : places) wanted_[static_cast<size_t>(p.input)] = true;
    QZ_TRY(measure());
    for (const FoldPlace& p : places) {
      if (progress_) {
        progress_->info.module = model_.modules()[p.readers.front()].name.c_str();
        QZ_TRY(progress_->force());
      }
      QZ_TRY(rescale(p));
    }
    return std::move(out_);
  }

 private:
  InputStats& at(Input input) { return inputs_[static_cast<size_t>(input)]; }
  bool wanted(Input input) const { return wanted_[static_cast<size_t>(input)]; }
  Linear& linear(size_t module) { return block_.at(model_.modules()[module].role); }

  // Runs every chunk through the block as it is.
  Status measure() {
    const std::vector<SamplePiece> pieces = choose_sample(job_.chunks);
    sequences_.start = {0};
    for (const SamplePiece& p : pieces) sequences_.start.push_back(sequences_.start.back() + p.count);
    const ModelConfig& config = model_.config();
    const bool feeds = wanted(Input::kMlp) || wanted(Input::kInner);
    const bool mixes = wanted(Input::kMixed) || (feeds && !config.parallel);
    int64_t filled = 0;
    for (size_t i = 0; i < job_.chunks.size(); ++i) {
      const Chunk& c = job_.chunks[i];
      const int64_t n = c.sequences.rows();
      std::vector<SamplePiece> here;
      for (const SamplePiece& p : pieces)
        if (p.chunk == i) here.push_back(p);
      const auto keep = [&](Input input, const Matrix& x) {
        if (!wanted(input)) return;
        InputStats& s = at(input);
        s.add(x.view());
        if (s.sample.empty()) s.sample = Matrix(sequences_.rows(), x.cols());
        int64_t to = filled;
        for (const SamplePiece& p : here) {
          std::copy_n(x.row(p.row), p.count * x.cols(), s.sample.row(to));
          to += p.count;
        }
      };
      const MatrixView stream{job_.r.row(c.row), n, config.hidden, config.hidden};
      Matrix x(n, config.hidden), r, m;
      QZ_TRY(attention_input(job_.fast, block_, stream, x.data()));
      keep(Input::kAttention, x);
      for (const auto& [input, role] : {std::pair(Input::kQueryLatent, Role::kQB), {Input::kKeyLatent, Role::kKvB}}) {
        if (!wanted(input)) continue;
        Matrix latent(n, block_.at(role).cols);
        QZ_TRY(latent_input(job_.fast, block_, role, x.view(), latent.data(), progress_));
        keep(input, latent);
      }
      if (mixes) {
        Matrix a(n, block_.o.cols);
        QZ_TRY(attention_mix(job_.fast, block_, job_.rope, c.sequences, x.view(), nullptr, a.data(), progress_));
        keep(Input::kMixed, a);
        if (feeds && !config.parallel) {
          r = Matrix(n, config.hidden);
          std::copy_n(stream.data, n * config.hidden, r.data());
          QZ_TRY(attention_output(job_.fast, block_, a.view(), r.data(), progress_));
        }
      }
      if (feeds) {
        QZ_TRY(mlp_input(job_.fast, block_, r.empty() ? stream : r.view(), x.data()));
        keep(Input::kMlp, x);
      }
      if (wanted(Input::kInner)) {
        m = Matrix(n, block_.mlp.down.cols);
        QZ_TRY(mlp_mix(job_.fast, block_, x.view(), m.data(), progress_));
        keep(Input::kInner, m);
      }
      for (const SamplePiece& p : here) filled += p.count;
    }
    return {};
  }

  // What the part of the block that reads this input gives for it.
  Result<Matrix> output(const FoldPlace& place, MatrixView x) {
    const Context& context = model_.context();
    const bool latent = place.input == Input::kQueryLatent || place.input == Input::kKeyLatent;
    const Linear& last = latent ? linear(place.readers.front()) : block_.o;
    Matrix y(x.rows, last.rows);
    const auto feed = [&](bool add) -> Status {
      Matrix m(x.rows, block_.mlp.down.cols);
      QZ_TRY(mlp_mix(model_, block_, x, m.data(), progress_));
      return block_.mlp.down.apply(context, m.view(), add, y.data(), progress_);
    };
    switch (place.input) {
      case Input::kAttention: {
        Matrix a(x.rows, block_.o.cols);
        QZ_TRY(attention_mix(model_, block_, job_.rope, sequences_, x, nullptr, a.data(), progress_));
        QZ_TRY(block_.o.apply(context, a.view(), false, y.data(), progress_));
        const bool both = std::any_of(place.readers.begin(), place.readers.end(), [&](size_t i) {
          const Role role = model_.modules()[i].role;
          return role == Role::kUp || role == Role::kGateUp;
        });
        if (both) QZ_TRY(feed(true));
        break;
      }
      case Input::kMlp:
        QZ_TRY(feed(false));
        break;
      case Input::kInner:
        QZ_TRY(block_.mlp.down.apply(context, x, false, y.data(), progress_));
        break;
      default:
        QZ_TRY(last.apply(context, x, false, y.data(), progress_));
    }
    return y;
  }

  // The squared error of the place's output with columns times s rounded. The readers are put back afterwards.
  Result<double> error(const FoldPlace& place, const std::vector<Matrix>& weights, const Matrix& want,
                       const Scales& s) {
    const InputStats& in = at(place.input);
    release_heap();  // the codes that were tried before
    Matrix x = in.sample;
    for (int64_t t = 0; t < x.rows(); ++t)
      for (int64_t c = 0; c < x.cols(); ++c) x.row(t)[c] /= s[static_cast<size_t>(c)];
    float most = 0;
    for (size_t c = 0; c < s.size(); ++c) most = std::max(most, in.most[c] / s[c]);
    std::vector<Linear> plain;
    for (size_t i = 0; i < place.readers.size(); ++i) {
      const size_t module = place.readers[i];
      Matrix up = weights[i];
      multiply_columns(s, &up);
      QZ_ASSIGN(QMatrix q, rtn(model_.context(), up.view(), job_.plans[module].scheme, job_.format.min_zero));
      if (q.scheme.activations == Activations::kTensor) q.input_scale = input_scale_for(q.scheme, most);
      plain.push_back(linear(module));
      linear(module).set_matrix(std::make_shared<const QMatrix>(std::move(q)));
    }
    const auto y = output(place, x.view());
    for (size_t i = 0; i < plain.size(); ++i) linear(place.readers[i]) = std::move(plain[i]);
    QZ_TRY(y.status());
    double sum = 0;
    for (int64_t i = 0; i < want.rows() * want.cols(); ++i) {
      const double d = static_cast<double>(y->data()[i] - want.data()[i]);
      sum += d * d;
    }
    if (progress_) QZ_TRY(progress_->poll());
    return sum;
  }

  static void multiply_columns(const Scales& s, Matrix* w) {
    for (int64_t r = 0; r < w->rows(); ++r)
      for (int64_t c = 0; c < w->cols(); ++c) w->row(r)[c] *= s[static_cast<size_t>(c)];
  }

  Status rescale(const FoldPlace& p) {
    const InputStats& in = at(p.input);
    std::vector<Matrix> weights;
    for (const size_t i : p.readers) weights.push_back(linear(i).to_f32());
    QZ_ASSIGN(const Matrix want, output(p, in.sample.view()));
    const int64_t tokens = job_.r.rows();
    Place place;
    for (size_t i = 0; i < p.readers.size(); ++i) {
      place.linears.push_back(weights[i].view());
      const Scheme& s = job_.plans[p.readers[i]].scheme;
      place.groups.push_back(s.group > 0 ? s.group : weights[i].cols());
    }
    for (const double sum : in.sum) place.mean.push_back(static_cast<float>(sum / static_cast<double>(tokens)));
    place.most = in.most;
    if (p.norm.empty()) place.shared = source_rows(p);
    const std::vector<int64_t> rows = place.shared;
    if (p.input == Input::kInner) place.shared.clear();  // a row each
    share_mean(place.shared, &place.mean);
    share_most(place.shared, &place.most);
    place.error = [&](const Scales& s) { return error(p, weights, want, s); };
    QZ_ASSIGN(Scales s, find_transform(p.transform.kind)->scales(place, p.transform));
    if (std::all_of(s.begin(), s.end(), [](float v) { return v == 1; })) return {};
    if (p.norm.empty()) {
      divide_rows(p.source, rows, s);
    } else {
      divide_norm(p, &s);
    }
    for (size_t i = 0; i < p.readers.size(); ++i) {
      multiply_columns(s, &weights[i]);
      linear(p.readers[i]).set_f32(std::move(weights[i]));
    }
    return {};
  }

  // Which row of the source makes each column of the reader.
  std::vector<int64_t> source_rows(const FoldPlace& p) {
    const Role source = model_.modules()[p.source].role;
    std::vector<int64_t> rows(static_cast<size_t>(linear(p.readers.front()).cols));
    const ModelConfig& config = model_.config();
    const HeadLayout layout = head_layout(model_, block_);
    for (size_t c = 0; c < rows.size(); ++c) {
      const auto column = static_cast<int64_t>(c);
      if (p.input == Input::kInner) {
        rows[c] = column + (source == Role::kGateUp ? static_cast<int64_t>(rows.size()) : 0);
        continue;
      }
      const int64_t head = column / config.value_dim, i = column % config.value_dim;
      const int64_t kv = head / (config.heads / config.kv_heads);
      rows[c] = source == Role::kQkv   ? layout.v(kv) + i
                : source == Role::kKvB ? head * (config.latent.plain + config.value_dim) + config.latent.plain + i
                                       : kv * config.value_dim + i;
    }
    return rows;
  }

  // What the file's type makes of the values.
  void store(const std::string& name, std::vector<float>* values) {
    const TensorInfo* tensor = model_.checkpoint()->find(name);
    for (float& v : *values) v = round_to(v, tensor->dtype);
    out_.vectors[name] = *values;
  }

  void divide_rows(size_t module, const std::vector<int64_t>& rows, const Scales& s) {
    Linear& source = linear(module);
    std::vector<float> by(static_cast<size_t>(source.rows), 1.0f);
    for (size_t c = 0; c < rows.size(); ++c) by[static_cast<size_t>(rows[c])] = s[c];
    Matrix w = source.to_f32();
    for (int64_t r = 0; r < w.rows(); ++r)
      for (int64_t c = 0; c < w.cols(); ++c) w.row(r)[c] /= by[static_cast<size_t>(r)];
    source.set_f32(std::move(w));
    for (size_t r = 0; r < source.bias.size(); ++r) source.bias[r] /= by[r];
    if (!source.bias.empty()) store(model_.modules()[module].name + ".bias", &source.bias);
    out_.divided[module] = std::move(by);
  }

  // s becomes what the norm was divided by in truth: after its rounding, or one where it cannot be divided.
  void divide_norm(const FoldPlace& p, Scales* s) {
    const ArchDesc& arch = model_.arch();
    const bool block_norm = p.input == Input::kAttention || p.input == Input::kMlp;
    NormWeights* norm = p.input == Input::kAttention ? &block_.attn_norm : &block_.mlp_norm;
    std::vector<float>& weight = block_norm                       ? norm->weight
                                 : p.input == Input::kQueryLatent ? block_.q_a_norm
                                                                  : block_.kv_a_norm;
    const auto offset = block_norm ? static_cast<float>(arch.norm_offset) : 0.0f;
    const std::string name = p.norm + ".weight";
    const DType dtype = model_.checkpoint()->find(name)->dtype;
    std::vector<float> stored(weight.size());
    for (size_t j = 0; j < weight.size(); ++j) {
      float& by = (*s)[j];
      stored[j] = round_to(weight[j] / by - offset, dtype);
      const float now = stored[j] + offset;
      if (now == 0 || !std::isfinite(now)) {
        stored[j] = weight[j] - offset;
        by = 1;
      } else {
        by = weight[j] / now;
        weight[j] = now;
      }
    }
    store(name, &stored);
    if (!block_norm) return;
    for (size_t j = 0; j < norm->bias.size(); ++j) norm->bias[j] /= (*s)[j];
    if (!norm->bias.empty()) store(p.norm + ".bias", &norm->bias);
    if (model_.config().parallel && arch.mlp_norm.empty()) block_.mlp_norm = block_.attn_norm;
  }

  const TransformJob& job_;
  const Model& model_;
  Block& block_;
  Progress* const progress_;
  std::array<bool, kInputs> wanted_ = {};
  std::array<InputStats, kInputs> inputs_;
  Sequences sequences_;  // of the sample
  Rescaled out_;
};

}  // namespace

Result<Rescaled> transform_block(const TransformJob& job, Block* block, Progress* progress) {
  return Transformer(job, block, progress).run();
}

}  // namespace qz
