// The product for few tokens on the emulator against sums in double precision.
#include "stream.h"

#include <array>

#include "problem.h"

namespace qz::cuda {
namespace {

struct Case {
  int64_t m, rows, cols;
  const char* scheme;
  DType type, y_type, scale;
  int32_t splits;
  bool bias;
};

std::vector<char> run(const Case& c, const Problem& p, const Tokens& x, const std::vector<float>& bias) {
  const int64_t stride = c.rows + 3, stripes = bricks_of(c.rows);
  const auto width = static_cast<int64_t>(dtype_bits(c.y_type) / 8);
  DeviceArray y(static_cast<size_t>(((c.m - 1) * stride + c.rows) * width));
  DeviceArray partial(static_cast<size_t>(stripes * c.splits * kStreamTokens * kBrickSide * 4));
  DeviceArray arrived(static_cast<size_t>(stripes * 4), 0);
  const DeviceArray b(bias.data(), bias.size() * 4);
  StreamArgs args = {};
  args.w = p.view();
  args.x = x.memory->as<uint16_t>();
  args.y = y.as<void>();
  args.bias = bias.empty() ? nullptr : b.as<float>();
  args.partial = partial.as<float>();
  args.arrived = arrived.as<uint32_t>();
  args.x_stride = x.stride, args.y_stride = stride;
  args.m = static_cast<int32_t>(c.m), args.splits = c.splits;
  args.type = float_of(c.type), args.y_type = float_of(c.y_type);
  device().failure.clear();
  EXPECT_EQ(launch_stream(args, nullptr), 0);
  EXPECT_EQ(device().failure, "");
  for (int64_t s = 0; s < stripes; ++s) EXPECT_EQ(arrived.as<uint32_t>()[s], 0u) << "a counter is left dirty";
  return {y.as<char>(), y.as<char>() + y.bytes()};
}

void check(const Case& c, uint32_t seed) {
  SCOPED_TRACE(std::string(c.scheme) + " m " + std::to_string(c.m) + " rows " + std::to_string(c.rows) + " cols " +
               std::to_string(c.cols) + " splits " + std::to_string(c.splits));
  const Problem p(c.rows, c.cols, c.scheme, c.scale, seed);
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

TEST(StreamTest, GroupsTypesAndZeroPoints) {
  uint32_t seed = 0;
  for (const char* scheme : {"w4g16", "w4g32a", "w4g64", "w4g128", "w4g128a", "w4g1024", "w4row", "w4rowa", "w3g32"}) {
    for (const DType type : {DType::kF16, DType::kBF16}) {
      const DType scale = std::array{DType::kF16, DType::kBF16, DType::kF32}[++seed % 3];
      check({seed % 9 + 1, 64, 1088, scheme, type, seed % 2 ? type : DType::kF32, scale, 1, seed % 3 == 0}, seed);
    }
  }
}

TEST(StreamTest, EveryNumberOfTokens) {
  for (int64_t m = 1; m <= kStreamTokens; ++m)
    check({m, 64, 256, "w4g64a", DType::kBF16, DType::kF32, DType::kF16, 1, false}, static_cast<uint32_t>(m));
}

TEST(StreamTest, EdgesOfTheMatrix) {
  uint32_t seed = 100;
  for (const int64_t cols : {1, 7, 16, 63, 64, 65, 130, 321}) {
    for (const int64_t rows : {1, 17, 64, 70}) {
      const char* scheme = std::array{"w4g32a", "w4g128", "w4rowa"}[++seed % 3];
      check({seed % 16 + 1, rows, cols, scheme, DType::kF16, DType::kF16, DType::kF16, 1, true}, seed);
    }
  }
}

TEST(StreamTest, SharesOfColumnsAreAddedInOrder) {
  for (const int32_t splits : {2, 3, 8})
    for (const char* scheme : {"w4g32", "w4g128a", "w4row"})
      check({5, 130, 832, scheme, DType::kBF16, DType::kBF16, DType::kBF16, splits, true}, 7);
}

}  // namespace
}  // namespace qz::cuda
