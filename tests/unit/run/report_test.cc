#include "run/report.h"

#include <cmath>
#include <limits>

#include "unit/run/models.h"

namespace qz {
namespace {

TEST(Report, ComesBack) {
  RunReport report;
  report.format = "gptq";
  report.calibration_sequences = 7;
  report.calibration_tokens = 7000;
  report.calibration_hash = "abc";
  report.events = {"one", "t\"w\no"};
  ModuleReport m;
  m.name = "model.layers.0.mlp.up_proj";
  m.method = Method::kGptq;
  m.scheme = *scheme_preset("w3g64a");
  m.order = Order::kGidx;
  m.fell_back = true;
  m.damp_steps = 2;
  m.dead_columns = 5;
  m.weight_error = 0.125;
  m.output_error = std::numeric_limits<double>::quiet_NaN();
  m.rtn_output_error = 1e-30;
  m.damp = 0.01;
  m.drift = 0.3;
  m.residual = 1;
  m.seconds = 3.5;
  m.tokens = 1u << 31;
  m.bytes_before = 5'000'000'000;
  m.bytes_after = 17;
  m.sha256 = "ff00";
  report.modules = {m};
  report.seconds.total = 8;
  report.seconds.cpu = 12.5;
  report.seconds.phases = {0.5, 2, 0, 3, 1.25, 1};
  const auto back = report_from_json(Json::parse(dump_json(report_to_json(report))));
  ASSERT_TRUE(back.ok()) << back.status().text();
  EXPECT_EQ(back->format, "gptq");
  EXPECT_EQ(back->calibration_sequences, 7);
  EXPECT_EQ(back->calibration_tokens, 7000);
  EXPECT_EQ(back->calibration_hash, "abc");
  EXPECT_EQ(back->events, report.events);
  EXPECT_EQ(back->seconds.total, 8);
  EXPECT_EQ(back->seconds.cpu, 12.5);
  EXPECT_EQ(back->seconds.phases, report.seconds.phases);
  ASSERT_EQ(back->modules.size(), 1u);
  const ModuleReport& b = back->modules[0];
  EXPECT_EQ(b.name, m.name);
  EXPECT_EQ(b.method, m.method);
  EXPECT_EQ(scheme_name(b.scheme), "w3g64a");
  EXPECT_EQ(b.order, Order::kGidx);
  EXPECT_TRUE(b.fell_back);
  EXPECT_EQ(b.damp_steps, 2);
  EXPECT_EQ(b.dead_columns, 5);
  EXPECT_EQ(b.weight_error, 0.125);
  EXPECT_TRUE(std::isnan(b.output_error));
  EXPECT_EQ(b.rtn_output_error, 1e-30);
  EXPECT_EQ(b.damp, 0.01);
  EXPECT_EQ(b.drift, 0.3);
  EXPECT_EQ(b.residual, 1);
  EXPECT_EQ(b.seconds, 3.5);
  EXPECT_EQ(b.tokens, 1u << 31);
  EXPECT_EQ(b.bytes_before, 5'000'000'000u);
  EXPECT_EQ(b.bytes_after, 17u);
  EXPECT_EQ(b.sha256, "ff00");
}

TEST(Report, ForeignOnesAreReadAsFarAsTheyGo) {
  const auto later = report_from_json(Json::parse(
      R"({"version": 9, "new": {}, "modules": [{"name": "a", "scheme": "w4", "later": [1], "damp": "x"}]})"));
  ASSERT_TRUE(later.ok()) << later.status().text();
  EXPECT_EQ(later->modules[0].name, "a");
  for (const char* text : {"[]", "{}", R"({"modules": 3})", R"({"modules": [3]})", R"({"modules": [{"name": "a"}]})",
                           R"({"modules": [{"name": "a", "scheme": "gold"}]})"})
    expect_failure(report_from_json(Json::parse(text)).status(), Code::kBadFile, {"qz_report.json"});
}

}  // namespace
}  // namespace qz
