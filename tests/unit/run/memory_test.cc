// What a run is said to take (run/memory.h).
#include "run/memory.h"

#include "models.h"

namespace qz {
namespace {

// Beside the inputs of a chunk of tokens, their copy in bfloat16, rows at multiples of 16 bytes; nothing else changes.
TEST(RunMemory, CountsTheInputsThatADeviceIsGiven) {
  const ModelPtr model = golden("llama-128");
  ASSERT_NE(model, nullptr);
  const Plan plan = plan_of(model, {rule("*", Method::kGptq)});
  RunSize size;
  size.sequences = 6, size.length = 32;
  const auto plans = resolve_plan(plan, size.format, true);
  ASSERT_TRUE(plans.ok()) << plans.status().text();
  const std::vector<Moment> cpu = run_moments(*model, *plans, size, 0);
  size.device = true;
  const std::vector<Moment> device = run_moments(*model, *plans, size, 0);
  ASSERT_EQ(cpu.size(), device.size());
  int collecting = 0;
  for (size_t i = 0; i < cpu.size(); i++) {
    std::map<std::string, uint64_t> parts;
    for (const auto& [name, bytes] : device[i].parts) parts[name] = bytes.value();
    uint64_t inputs = 0;
    for (const auto& [name, bytes] : parts)
      if (name.find("bfloat16") != std::string::npos) inputs = bytes;
    EXPECT_EQ(device[i].total().value() - cpu[i].total().value(), inputs) << cpu[i].name;
    EXPECT_EQ(inputs > 0, cpu[i].name == "calibrating") << cpu[i].name;
    collecting += inputs > 0;
    EXPECT_EQ(inputs % (6 * 32 * 16), 0u);
  }
  EXPECT_GT(collecting, 0);
}

TEST(RunMemory, SaysThatADriverIsNotCounted) {
  const ModelPtr model = golden("llama-128");
  ASSERT_NE(model, nullptr);
  const Plan plan = plan_of(model, {rule("*", Method::kGptq)});
  RunSize size;
  size.sequences = 6, size.length = 32;
  for (const bool device : {false, true}) {
    size.device = device;
    const auto ledger = estimate_run(plan, size);
    ASSERT_TRUE(ledger.ok()) << ledger.status().text();
    bool said = false;
    for (const std::string& note : ledger->notes()) said = said || note.find("driver") != std::string::npos;
    EXPECT_EQ(said, device);
  }
}

}  // namespace
}  // namespace qz
