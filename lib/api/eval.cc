#include <functional>

#include "api/handles.h"
#include "eval/generate.h"
#include "eval/perplexity.h"

namespace qz {
namespace {

constexpr int32_t kDefaultTokens = 128;

// Marks a session as being inside a call, so that a callback that comes back to it is told instead of breaking it.
class Busy {
 public:
  explicit Busy(qz_session* session) : session_(session), mine_(!session->busy.exchange(true)) {}
  ~Busy() {
    if (mine_) session_->busy = false;
  }
  Status check() const {
    return mine_ ? Status() : error(Code::kBusy, "the session is in use: a callback may not call back into it");
  }

 private:
  qz_session* session_;
  bool mine_;
};

Result<Products> products_from(int32_t value) {
  if (value < QZ_PRODUCTS_EXACT || value > QZ_PRODUCTS_INT8)
    return error(Code::kInvalidArgument, "products is %d, expected a qz_products", value);
  return static_cast<Products>(value);
}
static_assert(static_cast<int32_t>(Products::kExact) == QZ_PRODUCTS_EXACT);
static_assert(static_cast<int32_t>(Products::kFast) == QZ_PRODUCTS_BF16);
static_assert(static_cast<int32_t>(Products::kBytes) == QZ_PRODUCTS_INT8);

// One step of `count` tokens into `logits`, which may be null. step(all, out) makes the logits of all tokens or of the
// last.
Status step_into(const Session& session, int64_t count, const qz_tensor* logits,
                 const std::function<Status(bool all, float* out)>& step) {
  const int64_t vocab = session.model().config().outputs;
  if (session.model().config().pooled) count = 1;
  if (!logits) {
    std::vector<float> last(static_cast<size_t>(vocab));
    return step(false, last.data());
  }
  QZ_TRY(check_tensor(logits, 2, "logits"));
  if (logits->dtype != QZ_DTYPE_F32) return error(Code::kInvalidArgument, "logits: must be F32");
  if (logits->shape[1] != vocab || (logits->shape[0] != count && logits->shape[0] != 1))
    return error(Code::kInvalidArgument, "logits is [%lld, %lld], expected [%lld, %lld] or [1, %lld]",
                 static_cast<long long>(logits->shape[0]), static_cast<long long>(logits->shape[1]),
                 static_cast<long long>(count), static_cast<long long>(vocab), static_cast<long long>(vocab));
  if (logits->stride[1] != 1 || logits->stride[0] != vocab)
    return error(Code::kInvalidArgument, "logits: must be contiguous");
  return step(logits->shape[0] == count, static_cast<float*>(logits->data));
}

}  // namespace
}  // namespace qz

using qz::Code;
using qz::error;
using qz::Status;

extern "C" {

qz_status qz_eval_perplexity(const qz_model* model, const qz_model* reference, const qz_calib* text,
                             const qz_eval_options* opts, qz_eval* out) {
  return qz::guard("qz_eval_perplexity", [&]() -> Status {
    QZ_TRY(qz::require(model, "model"));
    QZ_TRY(qz::require(text, "text"));
    QZ_TRY(qz::require(out, "out"));
    qz_eval_options o;
    QZ_TRY(qz::copy_options(opts, "qz_eval_options", &o));
    QZ_ASSIGN(const qz::Products products, qz::products_from(o.products));
    qz::EvalOptions options;
    options.window = o.window;
    options.stride = o.stride;
    qz::Progress progress = qz::make_progress(o.progress, o.user);
    const qz::ModelPtr judged =
        qz::Model::with_context(*model->model, qz::with_products(model->model->context_ptr(), products));
    QZ_ASSIGN(const qz::EvalResult r, qz::evaluate_perplexity(*judged, reference ? reference->model.get() : nullptr,
                                                              text->tokens, options, &progress));
    qz_eval e = {};
    e.struct_size = sizeof e;
    e.perplexity = r.perplexity;
    e.perplexity_error = r.perplexity_error;
    e.kl_to_reference = r.kl;
    e.kl_p99 = r.kl_p99;
    e.top1_agreement = r.top1;
    e.tokens_per_s = r.tokens_per_s;
    e.tokens = r.tokens;
    std::memcpy(e.protocol, r.protocol.data(), std::min(r.protocol.size(), sizeof e.protocol - 1));
    std::memcpy(e.token_hash, r.token_hash.data(), std::min(r.token_hash.size(), sizeof e.token_hash - 1));
    return qz::copy_out(e, "qz_eval", out);
  });
}

qz_status qz_session_create(const qz_model* model, int64_t max_seq, qz_session** out) {
  return qz::guard("qz_session_create", [&]() -> Status {
    QZ_TRY(qz::require(out, "out"));
    *out = nullptr;
    QZ_TRY(qz::require(model, "model"));
    QZ_ASSIGN(auto session, qz::Session::create(model->model, max_seq));
    auto handle = std::make_unique<qz_session>();
    handle->session = std::move(session);
    *out = handle.release();
    return {};
  });
}

qz_status qz_session_set_products(qz_session* session, qz_products products) {
  return qz::guard("qz_session_set_products", [&]() -> Status {
    QZ_TRY(qz::require(session, "session"));
    const qz::Busy busy(session);
    QZ_TRY(busy.check());
    QZ_ASSIGN(const qz::Products kind, qz::products_from(products));
    session->session->set_products(kind);
    return {};
  });
}

qz_status qz_session_logits(qz_session* session, const int32_t* ids, size_t n, const qz_tensor* logits) {
  return qz::guard("qz_session_logits", [&]() -> Status {
    QZ_TRY(qz::require(session, "session"));
    QZ_TRY(qz::require(ids, "ids"));
    const qz::Busy busy(session);
    QZ_TRY(busy.check());
    if (n == 0 || n > (size_t{1} << 31)) return error(Code::kInvalidArgument, "n is %zu", n);
    return qz::step_into(*session->session, static_cast<int64_t>(n), logits, [&](bool all, float* out) {
      return session->session->step(ids, static_cast<int64_t>(n), all, out);
    });
  });
}

qz_status qz_session_logits_embeddings(qz_session* session, const qz_tensor* x, const qz_tensor* logits) {
  return qz::guard("qz_session_logits_embeddings", [&]() -> Status {
    QZ_TRY(qz::require(session, "session"));
    QZ_TRY(qz::require(x, "x"));
    const qz::Busy busy(session);
    QZ_TRY(busy.check());
    QZ_ASSIGN(const qz::Matrix rows, qz::matrix_from(*x, "x"));
    const int64_t width = session->session->model().config().embed_dim;
    if (rows.cols() != width)
      return error(Code::kInvalidArgument, "x has %lld numbers a token, the model has %lld",
                   static_cast<long long>(rows.cols()), static_cast<long long>(width));
    return qz::step_into(*session->session, rows.rows(), logits, [&](bool all, float* out) {
      return session->session->step_embeddings(rows.data(), rows.rows(), all, out);
    });
  });
}

qz_status qz_session_generate(qz_session* session, const int32_t* prompt, size_t n, const qz_generate_options* opts,
                              qz_token_fn fn, void* user) {
  return qz::guard("qz_session_generate", [&]() -> Status {
    QZ_TRY(qz::require(session, "session"));
    QZ_TRY(qz::require(prompt, "prompt"));
    const qz::Busy busy(session);
    QZ_TRY(busy.check());
    if (n == 0)
      return error(Code::kInvalidArgument, "the prompt is empty; begin with the model's beginning-of-text token");
    qz_generate_options o;
    QZ_TRY(qz::copy_options(opts, "qz_generate_options", &o));
    if (o.max_tokens < 0 || o.top_k < 0 || !(o.temperature >= 0) || !(o.top_p >= 0 && o.top_p <= 1) ||
        !(o.repetition_penalty >= 0))
      return error(Code::kInvalidArgument,
                   "max_tokens, top_k, temperature, repetition_penalty must not be negative, top_p must be 0 ... 1");
    qz::SampleOptions s;
    s.greedy = o.greedy != 0;
    s.top_k = o.top_k;
    if (o.temperature != 0) s.temperature = o.temperature;
    if (o.top_p != 0) s.top_p = o.top_p;
    if (o.repetition_penalty != 0) s.repetition_penalty = o.repetition_penalty;
    s.seed = o.seed;
    return qz::generate(session->session.get(), std::vector<int32_t>(prompt, prompt + n),
                        o.max_tokens ? o.max_tokens : qz::kDefaultTokens, s,
                        [&](int32_t token) { return !fn || fn(user, token) == 0; });
  });
}

qz_status qz_session_reset(qz_session* session) {
  return qz::guard("qz_session_reset", [&]() -> Status {
    QZ_TRY(qz::require(session, "session"));
    const qz::Busy busy(session);
    QZ_TRY(busy.check());
    session->session->reset();
    return {};
  });
}

void qz_session_free(qz_session* session) { delete session; }

}  // extern "C"
