/* qz/loading.h - will it load? What loaders are known to refuse, asked before hours of work or of anybody's directory. */
#ifndef QZ_LOADING_H
#define QZ_LOADING_H
#include "quantize.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct qz_check_options {
  uint32_t struct_size;
  int32_t tensor_parallel; /* 0 = 1 */
  int32_t capability;      /* of the GPU: 10 * major + minor; 0 = not known */
  qz_format format;        /* of a plan's result */
  const char *loader;      /* "vllm" "transformers" "llama.cpp" "bitsandbytes" */
} qz_check_options;

/* {"ok", "findings": [{"severity": "error" | "warning", "module", "text", "source"}]}: what the loader would refuse or do slowly if the
 * plan were run, each with the rule's source. Zero-terminated; *need with the zero. QZ_STATUS_UNSUPPORTED when a finding is an error
 * (buf is filled) or when the format cannot store the plan. */
QZ_API qz_status qz_plan_check(const qz_plan *plan, const qz_check_options *opts, char *buf, size_t cap, size_t *need);
/* The same of an opened directory, whoever wrote it. */
QZ_API qz_status qz_model_check(const qz_model *model, const qz_check_options *opts, char *buf, size_t cap, size_t *need);

#ifdef __cplusplus
}
#endif
#endif
