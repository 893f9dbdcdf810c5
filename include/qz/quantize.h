/* qz/quantize.h - scheme x method, per module; one engine. */
#ifndef QZ_QUANTIZE_H
#define QZ_QUANTIZE_H
#include "calib.h"
#include "model.h"
#ifdef __cplusplus
extern "C" {
#endif

/* What may be stored for one matrix. */
typedef struct qz_scheme {
  uint32_t struct_size;
  qz_code code;
  int32_t bits;       /* 2, 3, 4, 8, with float_zero also 1; 0 = 4, or the width that the code has */
  int32_t group;      /* weights that share a scale: 16 ... 1024, multiple of 8; of NF4 and FP4 32 ... 4096, a power of two;
                         -1 = row, -2 = tensor; 0 = 128, of NF4 and FP4 64, of the others -1 */
  int32_t asymmetric; /* 1: zero points are stored */
  qz_dtype scale;     /* NONE = what the format stores for the model: BF16 or F16 */
  int32_t float_zero; /* 1: zero points are floats (HQQ) */
  qz_grouping grouping;
  int32_t nested; /* scales are codes themselves, in blocks of so many (double quantization: 256); 0 = they are not */
  qz_activations activations;
} qz_scheme;

/* In which order columns are solved. */
typedef int32_t qz_order;
enum {
  QZ_ORDER_DEFAULT = 0, /* STATIC */
  QZ_ORDER_NONE = 1,    /* natural */
  QZ_ORDER_STATIC = 2,  /* by falling diag(H); groups stay natural, nothing to pay at run time */
  QZ_ORDER_GIDX = 3     /* by falling diag(H), groups over the permuted columns: g_idx is stored (GPTQ's desc_act) */
};

/* Tri-states: 0 = default, 1 = on, -1 = off. The defaults are what measured best (docs/accuracy.md). */
typedef struct qz_gptq_options {
  uint32_t struct_size;
  int32_t block; /* columns updated lazily together; 0 = 128 */
  qz_order order;
  int32_t sweeps;             /* coordinate-descent sweeps over the codes; 0 = default, -1 = none */
  int32_t search;             /* range search weighted by diag(H) and the size of the weights instead of min-max */
  int32_t signed_grid;        /* symmetric scales may be negative, so that the larger extreme meets the longer end of the grid */
  int32_t refit;              /* least-squares refit of the scales after the sweeps */
  int32_t allow_rtn_fallback; /* 1: a Hessian that no damping repairs means RTN for that module, recorded as fell_back; 0: an error */
  int32_t metric;             /* calibration sequences whose gradients say which outputs matter: the solver then minimizes the
                                 Kronecker approximation of the loss instead of the layer's own error; 0 = default, -1 = off */
  int32_t reserved;
  double metric_ridge; /* added to the metric's diagonal, of its mean; 0 = default */
  double damp;         /* of mean diag(H); 0 = default */
  double drift;        /* strength of the target's correction for the drift of the inputs; 0 = default, -1 = off */
  double residual;     /* strength of its correction for the error already in the residual stream; 0 = default, -1 = off */
} qz_gptq_options;

/* A rescaling that leaves the function of the model unchanged, before codes are chosen: input columns of some layers are divided in
 * what comes before them (a norm; with AWQ also v for o, up for down), the columns of their weights multiplied. Where nothing can
 * take the scales, qz_plan_check and the report's events say so. Calibration tokens are needed. */
typedef int32_t qz_transform;
enum {
  QZ_TRANSFORM_NONE = 0,
  QZ_TRANSFORM_AWQ = 1,        /* columns that see large inputs are scaled up */
  QZ_TRANSFORM_SMOOTHQUANT = 2 /* what is hard to round in 8-bit inputs moves into the weights */
};

typedef struct qz_awq_options {
  uint32_t struct_size;
  int32_t grid;        /* ratios that are tried; 0 = 20 */
  int32_t duo_scaling; /* the weights' magnitudes count too; 0 = default (on), 1 = on, -1 = off */
  int32_t search_clip; /* rounding to nearest searches clipped ranges; the same */
} qz_awq_options;

typedef struct qz_smooth_options {
  uint32_t struct_size;
  int32_t fixed; /* 1: alpha is used everywhere; 0: an alpha is searched for each input */
  double alpha;  /* 0 ... 1: how much moves from the inputs into the weights */
} qz_smooth_options;

/* What to do with the modules that a rule's glob matches. */
typedef struct qz_rule {
  uint32_t struct_size;
  qz_method method;
  const qz_scheme *scheme;     /* NULL = 4 bit, group 128, symmetric */
  const qz_gptq_options *gptq; /* NULL = defaults; read for QZ_METHOD_GPTQ and _DEFAULT */
  qz_transform transform;
  int32_t reserved;
  const qz_awq_options *awq;       /* NULL = defaults; read for QZ_TRANSFORM_AWQ */
  const qz_smooth_options *smooth; /* NULL = defaults; read for QZ_TRANSFORM_SMOOTHQUANT */
} qz_rule;

typedef struct qz_run_options {
  uint32_t struct_size;
  qz_format format;        /* what the result will be stored as: decides scale types and what can be stored */
  const char *stream_to;   /* write the directory while the layers finish and drop them from memory; NULL = keep all in memory */
  int32_t overwrite;       /* 1: stream_to may exist */
  int32_t strict;          /* 1: warnings that mean a worse result (too few tokens for a Hessian) are errors */
  uint64_t shard_bytes;    /* 0 = 5 GB; of GGUF one file */
  uint64_t seed;           /* of the split into solving and judging tokens */
  qz_progress_fn progress; /* may be NULL */
  void *user;
  /* Sums and factors the Hessians and runs the loops over columns of GPTQ, through the backend that computes on it (docs/backends.md);
   * zeros or (1, 0): the CPU. As qz_device_get lists it. What the backend refuses, or has no memory for, the CPU does; events of the report
   * say what and why, and at the end how much was done where. QZ_STATUS_UNSUPPORTED: no backend computes on it; QZ_STATUS_DEVICE: it failed
   * at what it took. */
  qz_device device;
} qz_run_options;

/* One module of a finished run. Errors are mean squares over calibration tokens that the solver did not see, relative to the mean
 * square of the module's original output. */
typedef struct qz_module_report {
  uint32_t struct_size;
  qz_method method;
  int32_t fell_back;  /* 1: GPTQ failed and RTN stands in (allow_rtn_fallback) */
  int32_t damp_steps; /* how often the damping had to be raised */
  const char *name;
  int32_t bits, group, asymmetric, reserved;
  double weight_error;     /* |W - Wq|^2 / |W|^2 */
  double output_error;     /* of the method's result */
  double rtn_output_error; /* of rounding to nearest, same scheme */
  double damp;             /* that was used, of mean diag(H) */
  double drift, residual;  /* strengths that were used */
  double seconds;
  uint64_t tokens, bytes_before, bytes_after;
  qz_transform transform; /* that the plan asks for */
  int32_t reserved2;
} qz_module_report;

/* "w4g128" "w3g128" "w4g32a" (a = asymmetric) "w4g64f" (float zero points) "w8" "int8" (8 bit per row) "w8a8" (8-bit activations
 * per token) "nf4" "nf4-dq" (double quantization) "fp4" "fp8" "fp8b128" (tiles) "llm-int8" ... Unknown: QZ_STATUS_INVALID_ARGUMENT. */
QZ_API qz_status qz_scheme_preset(const char *name, qz_scheme *out);

/* Rounds every linear layer (the head excepted) to nearest. scheme and run may be NULL. */
QZ_API qz_status qz_rtn_run(const qz_model *model, const qz_scheme *scheme, const qz_run_options *run, qz_model **out);
/* GPTQ on every linear layer (the head excepted). scheme, opts and run may be NULL. */
QZ_API qz_status qz_gptq_run(const qz_model *model, const qz_calib *calib, const qz_scheme *scheme, const qz_gptq_options *opts,
                             const qz_run_options *run, qz_model **out);
/* AWQ: scales, then rounding to nearest within clipped ranges, on every linear layer (the head excepted). scheme, opts and run may be
 * NULL. AWQ before GPTQ is a plan. */
QZ_API qz_status qz_awq_run(const qz_model *model, const qz_calib *calib, const qz_scheme *scheme, const qz_awq_options *opts,
                            const qz_run_options *run, qz_model **out);
/* SmoothQuant, then rounding to nearest. scheme NULL = "w8a8"; opts and run may be NULL. */
QZ_API qz_status qz_smoothquant_run(const qz_model *model, const qz_calib *calib, const qz_scheme *scheme, const qz_smooth_options *opts,
                                    const qz_run_options *run, qz_model **out);

/* A plan says per module what to do. A new plan has one rule: "*", QZ_METHOD_DEFAULT; the head is kept unless a rule names it. */
QZ_API qz_status qz_plan_create(const qz_model *model, qz_plan **out);
/* {"rules": [{"glob": "*", "method": "gptq", "scheme": "w4g128", "gptq": {"damp": 0.01, ...}}, ...]} replaces all rules. */
QZ_API qz_status qz_plan_from_json(const qz_model *model, const char *json, size_t bytes, qz_plan **out);
/* Zero-terminated; *need with the zero. */
QZ_API qz_status qz_plan_to_json(const qz_plan *plan, char *buf, size_t cap, size_t *need);
/* glob over full module names: * any characters, ? one, [...] one of a set. The last match wins. The rule is copied. A glob that
 * matches no module is QZ_STATUS_INVALID_ARGUMENT. */
QZ_API qz_status qz_plan_add_rule(qz_plan *plan, const char *glob, const qz_rule *rule);
typedef struct qz_budget_options {
  uint32_t struct_size;
  qz_format format;       /* that the run will have: decides what a module takes and what can be stored */
  double bits_per_weight; /* codes, scales and zero points of the linear layers in blocks that the plan quantizes */
  const char *candidates; /* names of schemes, separated by spaces; NULL = from 2 bit to 8 bit, groups of 32 to 128 */
  uint64_t seed;
  qz_progress_fn progress; /* may be NULL */
  void *user;
} qz_budget_options;

/* Mixed precision: adds a rule for each linear layer in a block that the plan quantizes, with the candidate that makes the model lose
 * least at this size. What each layer loses with each candidate is measured once, as long as neither plan nor question change. */
QZ_API qz_status qz_plan_set_budget(qz_plan *plan, const qz_calib *calib, const qz_budget_options *opts);
/* llama.cpp's importance matrix of a text: for each linear layer the mean square of each of its inputs, under GGUF's names. path: a file,
 * replaced when it is complete. model: in 16 bits, of a family that llama.cpp has (else QZ_STATUS_UNSUPPORTED). */
QZ_API qz_status qz_imatrix_write(const qz_model *model, const qz_calib *calib, const char *path, qz_progress_fn progress, void *user);
/* From now on, where the plan rounds to GGUF's block codes (method RTN), errors of a layer's inputs count by that file's numbers: GGUF, or
 * llama.cpp's older *.dat. Layers that it does not hold are rounded as before. QZ_STATUS_BAD_FILE: it holds none of the model's layers,
 * or those of a model of another size. Not part of the plan's JSON. */
QZ_API qz_status qz_plan_set_imatrix(qz_plan *plan, const char *path);
/* calib may be NULL when no module needs it. With stream_to, *out is the directory that was written, opened. */
QZ_API qz_status qz_plan_run(const qz_plan *plan, const qz_calib *calib, const qz_run_options *run, qz_model **out);
QZ_API void qz_plan_free(qz_plan *plan);

/* The report travels with a quantized model and lies in its directory as qz_report.json. 0 if there is none. */
QZ_API size_t qz_report_count(const qz_model *quantized);
QZ_API qz_status qz_report_get(const qz_model *quantized, size_t i, qz_module_report *out);
/* Zero-terminated; *need with the zero. QZ_STATUS_UNSUPPORTED if the model carries no report. */
QZ_API qz_status qz_report_to_json(const qz_model *quantized, char *buf, size_t cap, size_t *need);

#ifdef __cplusplus
}
#endif
#endif
