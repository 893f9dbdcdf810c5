#include "run/experts.h"

#include <algorithm>
#include <numeric>

namespace qz {
namespace {

// The rows of the share, and, where they are fewer than `least`, those for which the router's score of this expert is
// the highest of the others'. Ascending.
std::vector<int64_t> with_more(const Share& share, const Routes& routes, int64_t expert, int64_t least) {
  std::vector<int64_t> rows = share.rows;
  const int64_t all = routes.scores.rows(), missing = std::min(least, all) - static_cast<int64_t>(rows.size());
  if (missing <= 0) return rows;
  std::vector<int64_t> others;
  for (int64_t r = 0, at = 0; r < all; ++r) {
    if (at < static_cast<int64_t>(share.rows.size()) && share.rows[static_cast<size_t>(at)] == r) {
      ++at;
    } else {
      others.push_back(r);
    }
  }
  std::partial_sort(others.begin(), others.begin() + missing, others.end(), [&](int64_t a, int64_t b) {
    const float sa = routes.scores.row(a)[expert], sb = routes.scores.row(b)[expert];
    return sa != sb ? sa > sb : a < b;
  });
  rows.insert(rows.end(), others.begin(), others.begin() + missing);
  std::sort(rows.begin(), rows.end());
  return rows;
}

class OneExpert {
 public:
  OneExpert(const ExpertsJob& job, int64_t expert, Progress* progress)
      : job_(job), expert_(expert), progress_(progress) {}

  Status load() {
    const Clock::Timed reading(job_.clock, Phase::kRead);
    QZ_ASSIGN(original_, load_expert(job_.model, job_.current.layer, expert_));
    current_ = original_;
    return {};
  }
  const Feed& current() const { return current_; }
  const Feed& original() const { return original_; }

  Status solve(const std::vector<int64_t>& rows, int64_t routed) {
    rows_ = &rows;
    routed_ = routed;
    QZ_TRY(stage({Role::kGate, Role::kUp, Role::kGateUp}, job_.x.cols,
                 [&](const int64_t* row, int64_t count, bool plain, float* out) {
                   gather_rows(plain ? job_.x_original : job_.x, row, count, out);
                   return Status();
                 }));
    return stage({Role::kDown}, original_.down.cols, [&](const int64_t* row, int64_t count, bool plain, float* out) {
      Matrix in(count, job_.x.cols);
      gather_rows(plain ? job_.x_original : job_.x, row, count, in.data());
      return feed_mix(job_.model, plain ? original_ : current_, in.view(), out, progress_);
    });
  }

 private:
  Status stage(std::initializer_list<Role> roles, int64_t cols, const Streams::ProduceRows& produce) {
    const auto [first, end] = job_.model.block_modules(job_.current.layer);
    std::vector<size_t> modules;
    bool calibrates = false;
    for (size_t i = first; i < end; ++i) {
      const Module& m = job_.model.modules()[i];
      if (m.expert != expert_ || std::find(roles.begin(), roles.end(), m.role) == roles.end()) continue;
      if (!job_.quantizes(i)) continue;
      modules.push_back(i);
      calibrates = calibrates || job_.calibrates(i);
    }
    if (modules.empty()) return {};
    std::unique_ptr<StageSolver> solver;
    if (calibrates) {
      const Clock::Timed summing(job_.clock, Phase::kHessian);
      const auto timed = [&](const int64_t* row, int64_t count, bool plain, float* out) {
        const Clock::Timed running(job_.clock, Phase::kForward);
        return produce(row, count, plain, out);
      };
      QZ_ASSIGN(StageStats stats,
                job_.streams.collect_rows(job_.model.context(), *rows_, cols, timed, progress_, job_.device));
      solver = std::make_unique<StageSolver>(job_.model.context(), std::move(stats), job_.device);
    }
    for (const size_t i : modules) {
      const Role role = job_.model.modules()[i].role;
      QZ_TRY(job_.solve(i, original_.at(role).to_f32(), solver.get(), routed_, &current_.at(role)));
    }
    return {};
  }

  const ExpertsJob& job_;
  const int64_t expert_;
  Progress* const progress_;
  Feed original_, current_;
  const std::vector<int64_t>* rows_ = nullptr;
  int64_t routed_ = 0;
};

}  // namespace

Status solve_experts(const ExpertsJob& job, float* y, float* y_original, std::vector<std::string>* events,
                     Progress* progress) {
  const int64_t experts = job.model.config().moe.experts, layer = job.current.layer;
  const int64_t least = job.x.cols;  // fewer tokens than columns, and the Hessian rests on the damping
  Routes routes, original_routes;
  QZ_TRY(route(job.model, job.current, job.x, &routes, progress));
  const std::vector<Share> all = shares(routes, experts);
  std::vector<Share> original_all;
  if (y_original) {
    QZ_TRY(route(job.model, job.original, job.x_original, &original_routes, progress));
    original_all = shares(original_routes, experts);
  }
  int64_t few = 0, fewest = -1;
  for (int64_t e = 0; e < experts; ++e) {
    const Share& share = all[static_cast<size_t>(e)];
    const auto routed = static_cast<int64_t>(share.rows.size());
    if (routed < std::min(least, job.x.rows)) {
      ++few;
      const bool first = fewest < 0;
      if (first || share.rows.size() < all[static_cast<size_t>(fewest)].rows.size()) fewest = e;
    }
    OneExpert one(job, e, progress);
    QZ_TRY(one.load());
    QZ_TRY(one.solve(with_more(share, routes, e, least), routed));
    QZ_TRY(add_expert(job.model, one.current(), share, job.x, y, progress));
    if (y_original) {
      QZ_TRY(add_expert(job.model, one.original(), original_all[static_cast<size_t>(e)], job.x_original, y_original,
                        progress));
    }
  }
  if (few > 0) {
    events->push_back("layer " + std::to_string(layer) + ": " + std::to_string(few) + " of " + std::to_string(experts) +
                      " experts are reached by fewer than " + std::to_string(std::min(least, job.x.rows)) +
                      " calibration tokens (expert " + std::to_string(fewest) + " by " +
                      std::to_string(all[static_cast<size_t>(fewest)].rows.size()) +
                      "); they were solved with the tokens for which their router scores are highest added");
  }
  return {};
}

}  // namespace qz
