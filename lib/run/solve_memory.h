// What finding one module's matrix takes (run/solve.cc), step by step.
#pragma once
#include "model/model.h"
#include "run/moment.h"
#include "run/plan.h"

namespace qz {

struct SolveSize {
  int64_t judges = 0;     // held-out tokens
  bool two = false;       // two streams: the drift of the inputs is known
  bool residual = false;  // the module writes to the residual stream
  int64_t chain = 0;      // rows that the output metric couples; 0: none
  Count last;             // without statistics: the last result and its bytes, while this weight is read
};

// Bytes of a canonical matrix (packed/qmatrix.h).
Count matrix_bytes(const Module& module, const Scheme& scheme);
// Bytes of a plain weight of the model's type.
Count dense_bytes(const ModelConfig& config, const Module& module);

// base with what each step of the module's solution adds, `stage`: after its statistics are there; else it is rounded
// without.
std::vector<Moment> solving_moments(const Moment& base, const ModelConfig& config, const Module& module,
                                    const ModulePlan& plan, const SolveSize& size, bool stage);

}  // namespace qz
