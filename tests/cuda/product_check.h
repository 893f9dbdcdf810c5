// A product by one of the kernels on the emulator against sums in double precision, twice, in different orders.
#pragma once
#include "plan.h"
#include "problem.h"

namespace qz::cuda {

struct Case {
  int64_t m, rows, cols;
  const char* scheme;
  DType type, y_type, scale;
  int32_t splits;
  bool bias;
  int32_t parts = 0;  // of the ring kernel; 0: the stream kernel, kWide: the wide one
  static constexpr int32_t kWide = -1;
};

inline std::vector<char> run(const Case& c, const Problem& p, const Tokens& x, const std::vector<float>& bias) {
  const int64_t stride = c.rows + 3, stripes = bricks_of(c.rows);
  const auto width = static_cast<int64_t>(dtype_bits(c.y_type) / 8);
  DeviceArray y(static_cast<size_t>(((c.m - 1) * stride + c.rows) * width));
  const uint64_t workspace = c.parts == Case::kWide ? 0
                             : c.parts              ? ring_workspace(c.rows, c.m, {c.splits, c.parts})
                                                    : stream_workspace(c.rows, c.m, c.splits);
  DeviceArray partial(workspace ? workspace - kCounterBytes : 0);
  DeviceArray arrived(static_cast<size_t>(stripes * 4), 0);
  const DeviceArray b(bias.data(), bias.size() * 4);
  ProductArgs args = {};
  args.w = p.view();
  args.x = x.memory->as<uint16_t>();
  args.y = y.as<void>();
  args.bias = bias.empty() ? nullptr : b.as<float>();
  args.partial = partial.as<float>();
  args.arrived = arrived.as<uint32_t>();
  args.x_stride = x.stride, args.y_stride = stride;
  args.m = static_cast<int32_t>(c.m), args.splits = c.splits, args.parts = c.parts;
  args.type = float_of(c.type), args.y_type = float_of(c.y_type);
  device().failure.clear();
  device().conflicts = 0;
  EXPECT_EQ((c.parts == Case::kWide ? launch_wide : c.parts ? launch_ring : launch_stream)(args, nullptr), 0);
  EXPECT_EQ(device().failure, "");
  EXPECT_EQ(device().conflicts, 0u) << "banks of shared memory are asked twice at once";
  for (int64_t s = 0; s < stripes; ++s) EXPECT_EQ(arrived.as<uint32_t>()[s], 0u) << "a counter is left dirty";
  return {y.as<char>(), y.as<char>() + y.bytes()};
}

inline void check(const Case& c, uint32_t seed) {
  SCOPED_TRACE(std::string(c.scheme) + " m " + std::to_string(c.m) + " rows " + std::to_string(c.rows) + " cols " +
               std::to_string(c.cols) + " splits " + std::to_string(c.splits) + " parts " + std::to_string(c.parts));
  Problem p(c.rows, c.cols, c.scheme, c.scale, seed);
  if (c.parts == Case::kWide)
    for (float& w : p.weights) w = round_to(w, c.type);
  const Tokens x(c.m, c.cols, c.type, seed + 1);
  std::vector<float> bias;
  for (int64_t r = 0; c.bias && r < c.rows; ++r) bias.push_back(static_cast<float>(r % 7) - 3);
  const std::vector<char> y = run(c, p, x, bias);
  EXPECT_LE(worst_error(p, x, bias, y.data(), c.y_type, c.rows + 3), 1.0);
  for (int64_t t = 0; t + 1 < c.m; ++t) {
    float beside;
    to_f32(y.data() + (t * (c.rows + 3) + c.rows) * static_cast<int64_t>(dtype_bits(c.y_type) / 8), c.y_type, 1,
           &beside);
    ASSERT_TRUE(std::isnan(beside)) << "written beside row " << t;
  }
  EXPECT_EQ(y, run(c, p, x, bias)) << "another order of threads and blocks, another result";
}

}  // namespace qz::cuda
