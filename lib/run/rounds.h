// Modules one after the other, none of which needs the one before: reading the next and putting the last away overlap.
#pragma once
#include <functional>
#include <vector>

#include "base/context.h"
#include "run/solve.h"
#include "tensor/matrix.h"

namespace qz {

struct Rounds {
  std::function<Result<Matrix>(size_t module)> load;
  std::function<void(size_t module)> will_need;                                    // a hint: it is loaded next
  std::function<Result<ModuleResult>(size_t module, const Matrix& weight)> solve;  // uses all threads
  std::function<Status(size_t module, ModuleResult result)> keep;                  // uses one; in order
};

// At most one weight and two results exist at a time.
Status run_rounds(const Context& context, const std::vector<size_t>& modules, const Rounds& rounds);

}  // namespace qz
