#include "api/handles.h"
#include "eval/generate.h"

using qz::Code;
using qz::error;
using qz::Status;

extern "C" {

qz_status qz_calib_create(const qz_context* ctx, qz_calib** out) {
  return qz::guard("qz_calib_create", [&]() -> Status {
    QZ_TRY(qz::require(out, "out"));
    *out = nullptr;
    QZ_TRY(qz::require(ctx, "ctx"));
    *out = new qz_calib{ctx->context, {}};
    return {};
  });
}

qz_status qz_calib_add_tokens(qz_calib* calib, const int32_t* ids, size_t count) {
  return qz::guard("qz_calib_add_tokens", [&]() -> Status {
    QZ_TRY(qz::require(calib, "calib"));
    QZ_TRY(qz::require(ids, "ids"));
    if (count == 0) return error(Code::kInvalidArgument, "a sequence needs at least one token");
    for (size_t i = 0; i < count; i++)
      if (ids[i] < 0) return error(Code::kInvalidArgument, "token %zu is %d", i, ids[i]);
    calib->tokens.sequences.emplace_back(ids, ids + count);
    return {};
  });
}

qz_status qz_calib_add_embeddings(qz_calib* calib, const qz_tensor* x) {
  return qz::guard("qz_calib_add_embeddings", [&]() -> Status {
    QZ_TRY(qz::require(calib, "calib"));
    QZ_TRY(qz::require(x, "x"));
    QZ_ASSIGN(qz::Matrix rows, qz::matrix_from(*x, "x"));
    calib->tokens.embeddings.push_back(std::move(rows));
    return {};
  });
}

qz_status qz_calib_add_generated(qz_calib* calib, const qz_model* model, int64_t sequences, int64_t length,
                                 uint64_t seed, qz_progress_fn progress, void* user) {
  return qz::guard("qz_calib_add_generated", [&]() -> Status {
    QZ_TRY(qz::require(calib, "calib"));
    QZ_TRY(qz::require(model, "model"));
    qz::Progress p = qz::make_progress(progress, user);
    QZ_ASSIGN(qz::TokenSet written, qz::write_itself(model->model, sequences, length, seed, &p));
    for (auto& s : written.sequences) calib->tokens.sequences.push_back(std::move(s));
    return {};
  });
}

int64_t qz_calib_sequences(const qz_calib* calib) { return calib ? calib->tokens.count() : 0; }

int64_t qz_calib_tokens(const qz_calib* calib) { return calib ? calib->tokens.tokens() : 0; }

qz_status qz_calib_get(const qz_calib* calib, int64_t i, const int32_t** ids, size_t* count) {
  return qz::guard("qz_calib_get", [&]() -> Status {
    QZ_TRY(qz::require(calib, "calib"));
    QZ_TRY(qz::require(ids, "ids"));
    QZ_TRY(qz::require(count, "count"));
    const auto& all = calib->tokens.sequences;
    if (i < 0 || i >= static_cast<int64_t>(all.size()))
      return error(Code::kInvalidArgument, "sequence %lld of %zu that are token ids", static_cast<long long>(i),
                   all.size());
    *ids = all[static_cast<size_t>(i)].data();
    *count = all[static_cast<size_t>(i)].size();
    return {};
  });
}

qz_status qz_calib_load(const qz_context* ctx, const char* path, qz_calib** out) {
  return qz::guard("qz_calib_load", [&]() -> Status {
    QZ_TRY(qz::require(out, "out"));
    *out = nullptr;
    QZ_TRY(qz::require(ctx, "ctx"));
    QZ_TRY(qz::require(path, "path"));
    QZ_ASSIGN(qz::TokenSet tokens, qz::load_tokens(path));
    *out = new qz_calib{ctx->context, std::move(tokens)};
    return {};
  });
}

qz_status qz_calib_save(const qz_calib* calib, const char* path) {
  return qz::guard("qz_calib_save", [&]() -> Status {
    QZ_TRY(qz::require(calib, "calib"));
    QZ_TRY(qz::require(path, "path"));
    return qz::save_tokens(calib->tokens, path);
  });
}

void qz_calib_free(qz_calib* calib) { delete calib; }

}  // extern "C"
