/* qz/calib.h - token sequences, for calibration and for evaluation. The core takes token ids; text is the caller's business. */
#ifndef QZ_CALIB_H
#define QZ_CALIB_H
#include "context.h"
#ifdef __cplusplus
extern "C" {
#endif

QZ_API qz_status qz_calib_create(const qz_context *ctx, qz_calib **out);
/* Appends one sequence (copied). Ids are checked against the vocabulary when they are used. count >= 1. */
QZ_API qz_status qz_calib_add_tokens(qz_calib *calib, const int32_t *ids, size_t count);
/* Appends one sequence that is not token ids but what the embedding makes of them, with pictures in their places: x is F32, F16 or BF16,
 * [tokens, hidden], copied. What transformers calls inputs_embeds. Sequences of embeddings come after all those of ids; they calibrate,
 * but cannot be evaluated, looked at or saved. */
QZ_API qz_status qz_calib_add_embeddings(qz_calib *calib, const qz_tensor *x);
/* Appends text that the model writes itself: `sequences` texts of `length` tokens, temperature 1, from its beginning-of-text token.
 * Sequence i depends on the weights, seed and i only. progress may be NULL. */
QZ_API qz_status qz_calib_add_generated(qz_calib *calib, const qz_model *model, int64_t sequences, int64_t length, uint64_t seed,
                                        qz_progress_fn progress, void *user);
QZ_API int64_t qz_calib_sequences(const qz_calib *calib);
QZ_API int64_t qz_calib_tokens(const qz_calib *calib);
/* Sequence i, which must be of token ids: *ids lives until the next change of calib. */
QZ_API qz_status qz_calib_get(const qz_calib *calib, int64_t i, const int32_t **ids, size_t *count);
/* One file: compressed, with a checksum, so that a run can be repeated without the tokenizer. */
QZ_API qz_status qz_calib_load(const qz_context *ctx, const char *path, qz_calib **out);
QZ_API qz_status qz_calib_save(const qz_calib *calib, const char *path);
QZ_API void qz_calib_free(qz_calib *calib);

#ifdef __cplusplus
}
#endif
#endif
