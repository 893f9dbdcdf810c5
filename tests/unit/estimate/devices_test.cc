// Devices with tests/unit/estimate/fake_nvml.c in place of NVIDIA's library (LD_LIBRARY_PATH says so).
#include "estimate/devices.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/json.h"

namespace qz {
namespace {

DeviceReport read(const char* fake) {
  if (fake)
    setenv("FAKE_NVML", fake, 1);
  else
    unsetenv("FAKE_NVML");
  return read_devices(*make_context(2), "ref");
}

Support ability(const DeviceInfo& d, std::string_view name) {
  for (const Ability& a : d.abilities)
    if (a.name == name) return a.support;
  return Support::kUnknown;
}

TEST(Devices, CardsAreReadThroughNvml) {
  const DeviceReport report = read(nullptr);
  ASSERT_EQ(report.devices.size(), 3u);
  EXPECT_EQ(report.driver, "580.95");
  EXPECT_TRUE(report.missing.empty());
  EXPECT_EQ(report.devices[0].kind, 1);
  EXPECT_EQ(report.devices[0].units, 2);

  const DeviceInfo& h100 = report.devices[1];
  EXPECT_EQ(h100.kind, 2);
  EXPECT_EQ(h100.name, "NVIDIA H100 80GB HBM3");
  EXPECT_EQ(h100.arch, "sm_90");
  EXPECT_EQ(h100.units, 16896);
  EXPECT_EQ(h100.memory_total, 85520809984u);
  EXPECT_EQ(h100.memory_free, 85520809984u - (600u << 20) - (1u << 30));  // the driver's reserve is not free
  EXPECT_EQ(h100.bandwidth, 3'350'000'000'000u);                          // the data sheet's
  EXPECT_EQ(ability(h100, "int4"), Support::kNo);
  EXPECT_EQ(ability(h100, "fp8"), Support::kYes);

  const DeviceInfo& unknown = report.devices[2];
  EXPECT_EQ(unknown.index, 1);
  EXPECT_EQ(unknown.memory_free, 0u);              // more in use than there is: nothing is free, nothing wraps
  EXPECT_EQ(unknown.bandwidth, 128'000'000'000u);  // 2 x 1 GHz x 64 bytes
  for (const Ability& a : unknown.abilities) {
    EXPECT_EQ(a.support, Support::kUnknown);
    EXPECT_NE(a.why.find("13.0"), std::string::npos) << a.why;
  }
}

TEST(Devices, WhatIsMissingIsSaidInWords) {
  DeviceReport report = read("none");
  ASSERT_EQ(report.devices.size(), 1u);
  ASSERT_EQ(report.missing.size(), 1u);
  EXPECT_NE(report.missing[0].why.find("no GPU"), std::string::npos);
  report = read("broken");
  ASSERT_EQ(report.missing.size(), 1u);
  EXPECT_NE(report.missing[0].why.find("Driver Not Loaded (9)"), std::string::npos) << report.missing[0].why;
  EXPECT_NE(report.missing[0].get.find("nvidia-driver"), std::string::npos);
}

TEST(Devices, JsonSaysWhyNot) {
  const Json json = devices_to_json(read(nullptr));
  EXPECT_EQ(json["devices"][1]["abilities"]["int4"]["support"], "no");
  EXPECT_NE(json["devices"][1]["abilities"]["int4"]["why"].get<std::string>().find("Hopper"), std::string::npos);
  for (const Json& device : json["devices"])
    for (const Json& cell : device["abilities"]) EXPECT_FALSE(cell["why"].get<std::string>().empty());
  EXPECT_GT(json["known_gpus"].size(), 10u);
}

}  // namespace
}  // namespace qz
