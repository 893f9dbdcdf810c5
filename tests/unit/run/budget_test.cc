// The assignment of a budget against all assignments, and what a plan becomes.
#include "run/budget.h"

#include "run/options_json.h"
#include "unit/run/models.h"

namespace qz {
namespace {

std::vector<Choices> random_choices(uint32_t seed, size_t units, size_t candidates) {
  std::mt19937 random(seed);
  std::vector<Choices> out(units);
  for (Choices& c : out) {
    double loss = 1 + static_cast<double>(random() % 100);
    uint64_t bytes = 20 + random() % 10;
    for (size_t i = 0; i < candidates; ++i) {
      c.loss.push_back(loss);
      c.bytes.push_back(bytes);
      loss *= 0.1 + 0.01 * static_cast<double>(random() % 60);
      bytes += 1 + random() % 12;
    }
  }
  return out;
}

double loss_of(const std::vector<Choices>& units, const std::vector<size_t>& chosen, uint64_t* bytes) {
  double loss = 0;
  *bytes = 0;
  for (size_t i = 0; i < units.size(); ++i) loss += units[i].loss[chosen[i]], *bytes += units[i].bytes[chosen[i]];
  return loss;
}

TEST(Budget, IsKeptAndNearTheBestOfAllAssignments) {
  double ours = 0, best = 0;
  for (uint32_t seed = 1; seed <= 40; ++seed) {
    const auto units = random_choices(seed, 6, 4);
    uint64_t least = 0, bytes = 0;
    for (const Choices& c : units) least += c.bytes[0];
    for (const uint64_t budget : {least, least + 10, least + 40, least + 90}) {
      const auto chosen = assign(units, budget);
      ASSERT_EQ(chosen.size(), units.size());
      ours += loss_of(units, chosen, &bytes);
      EXPECT_LE(bytes, budget);
      double all = INFINITY;
      for (size_t code = 0; code < 4096; ++code) {
        std::vector<size_t> other;
        for (size_t i = 0, rest = code; i < 6; ++i, rest /= 4) other.push_back(rest % 4);
        const double loss = loss_of(units, other, &bytes);
        if (bytes <= budget) all = std::min(all, loss);
      }
      best += all;
    }
    EXPECT_TRUE(assign(units, least - 1).empty());
  }
  EXPECT_LT(ours, 1.05 * best);
}

TEST(Budget, FusedLayersShareAScheme) {
  const ModelPtr model = golden("llama-128");
  const TokenSet tokens = random_tokens(*model, 5, 40);
  Plan plan = plan_of(model, {rule("*", Method::kRtn, "w4g32a")});
  const size_t before = plan.rules().size();
  BudgetOptions options;
  for (const char* name : {"w2g32a", "w3g32a", "w4g32a", "w8g32a"}) options.candidates.push_back(*scheme_preset(name));
  std::string first;
  for (const double bits : {4.5, 3.5, 4.5}) {
    options.bits_per_weight = bits;
    const auto* known = plan.sensitivity.get();
    const auto measured = known ? known->units : std::vector<Choices>();
    const Status set = set_budget(&plan, tokens, options);
    ASSERT_TRUE(set.ok()) << set.text();
    const auto modules = *resolve_plan(plan, FormatId::kCompressed, true);
    for (size_t i = 0; i + 6 < modules.size(); i += 7) {
      EXPECT_EQ(modules[i].scheme, modules[i + 1].scheme);
      EXPECT_EQ(modules[i].scheme, modules[i + 2].scheme);
      EXPECT_EQ(modules[i + 4].scheme, modules[i + 5].scheme);
      EXPECT_EQ(modules[i].method, Method::kRtn);
    }
    EXPECT_EQ(plan.rules().size(), before + modules.size() - 1);  // the head has none
    for (size_t u = 0; u < measured.size(); ++u) EXPECT_EQ(measured[u].loss, plan.sensitivity->units[u].loss);
    const std::string text = dump_json(plan.to_json());
    if (bits == 4.5 && first.empty()) first = text;
    EXPECT_EQ(text == first, bits == 4.5);
  }
  options.format = FormatId::kAwq;
  options.candidates.clear();
  EXPECT_EQ(set_budget(&plan, tokens, options).code(), Code::kUnsupported);
  Plan experts = plan_of(golden("mixtral"), {rule("*", Method::kRtn)});
  expect_failure(set_budget(&experts, random_tokens(*experts.model(), 5, 40), {}), Code::kUnsupported, {"experts"});
}

}  // namespace
}  // namespace qz
