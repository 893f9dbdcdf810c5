// Calibration text without a text: the model writes it (LLM-QAT, arXiv 2305.17888, section 2.1, found that such data
// serve as well as the training set).
#include <algorithm>

#include "eval/generate.h"

namespace qz {
namespace {

constexpr int64_t kBatch = 128;
constexpr int64_t kCacheBytes = int64_t{1} << 30;
// So many rows are a product of many rows.
constexpr int64_t kManyRows = 32;

// The sequences that advance together. A product of a few rows is summed in another order than one of many, so which of
// the two it is must not depend on how many sequences are wanted: where many fit, a batch has at least kManyRows, and
// the last one is filled up.
int64_t batch_size(const ModelConfig& c, int64_t sequences, int64_t length) {
  const int64_t bytes = 2 * c.layers * c.kv_heads * c.head_dim * length * static_cast<int64_t>(sizeof(float));
  const int64_t fit = std::clamp(kCacheBytes / std::max<int64_t>(1, bytes), int64_t{1}, kBatch);
  return fit < kManyRows ? fit : std::clamp(sequences, kManyRows, fit);
}

}  // namespace

Result<TokenSet> write_itself(ModelPtr model, int64_t sequences, int64_t length, uint64_t seed, Progress* progress) {
  const ModelConfig& c = model->config();
  if (sequences < 1 || length < 1 || length > c.max_seq) {
    return error(Code::kInvalidArgument, "sequences must be at least 1 and length from 1 to %lld, found %lld and %lld",
                 static_cast<long long>(c.max_seq), static_cast<long long>(sequences), static_cast<long long>(length));
  }
  if (!c.causal) return error(Code::kUnsupported, "an encoder does not write text: calibrate it with a user's");
  const Context& context = model->context();
  const int64_t batch = batch_size(c, sequences, length);
  // Fast products: the text is the model's own either way.
  const ModelPtr fast = Model::with_context(*model, with_products(model->context_ptr(), Products::kFast));
  QZ_ASSIGN(const std::unique_ptr<Session> session, Session::create(fast, length, batch));
  if (progress != nullptr) progress->info.phase = "sample";
  TokenSet set;
  std::vector<float> logits(static_cast<size_t>(batch * c.vocab));
  std::vector<int32_t> last(static_cast<size_t>(batch));
  const SampleOptions options;
  const std::vector<int32_t> no_penalty;
  for (int64_t first = 0; first < sequences; first += batch) {
    const int64_t kept = std::min(batch, sequences - first);
    for (int64_t b = 0; b < batch; ++b) {
      const double u = uniform(seed, static_cast<uint64_t>(first + b), 0);
      const auto drawn = static_cast<int32_t>(u * static_cast<double>(c.vocab));
      last[static_cast<size_t>(b)] = c.bos >= 0 ? static_cast<int32_t>(c.bos) : drawn;
      if (b < kept) set.sequences.push_back({last[static_cast<size_t>(b)]});
    }
    session->reset();
    for (int64_t t = 1; t < length; ++t) {
      QZ_TRY(session->step(last.data(), 1, false, logits.data(), progress));
      const auto sample = [&](uint32_t b, uint32_t) {
        const double u = uniform(seed, static_cast<uint64_t>(first) + b, static_cast<uint64_t>(t));
        last[b] = sample_token(logits.data() + b * c.vocab, c.vocab, options, no_penalty, u);
        return Status();
      };
      QZ_TRY(parallel_for(context, static_cast<uint32_t>(batch), sample, progress));
      for (int64_t b = 0; b < kept; ++b) {
        set.sequences[static_cast<size_t>(first + b)].push_back(last[static_cast<size_t>(b)]);
      }
      if (progress == nullptr) continue;
      const double done = static_cast<double>(first) + static_cast<double>(kept * t) / static_cast<double>(length);
      progress->info.fraction = done / static_cast<double>(sequences);
      QZ_TRY(progress->poll());
    }
  }
  if (progress != nullptr) QZ_TRY(progress->force());
  return set;
}

}  // namespace qz
