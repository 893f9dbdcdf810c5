#include "run/rounds.h"

#include <optional>

#include "base/pages.h"
#include "base/pool.h"

namespace qz {

Status run_rounds(const Context& context, const std::vector<size_t>& modules, const Rounds& rounds) {
  std::optional<ModuleResult> last;
  for (size_t i = 0; i <= modules.size(); i++) {
    release_heap();
    const bool more = i < modules.size();
    if (i + 1 < modules.size()) rounds.will_need(modules[i + 1]);
    Matrix weight;
    QZ_TRY(parallel_for(context, 2, [&](uint32_t task, uint32_t) -> Status {
      if (task == 0 && last) {
        ModuleResult result = std::move(*last);
        last.reset();
        return rounds.keep(modules[i - 1], std::move(result));
      }
      if (task == 1 && more) {
        QZ_ASSIGN(weight, rounds.load(modules[i]));
      }
      return {};
    }));
    if (!more) break;
    release_heap();  // what the two threads freed
    QZ_ASSIGN(ModuleResult result, rounds.solve(modules[i], weight));
    last = std::move(result);
  }
  return {};
}

}  // namespace qz
