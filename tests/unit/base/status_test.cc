#include "base/status.h"

#include <gtest/gtest.h>

namespace qz {
namespace {

Result<int> half(int v) {
  if (v % 2 != 0) return error(Code::kInvalidArgument, "%d is odd", v);
  return v / 2;
}

Status quarter(int v, int* out) {
  QZ_ASSIGN(const int h, half(v));
  QZ_ASSIGN(*out, half(h));
  return {};
}

TEST(Status, CarriesTheFirstFailure) {
  int q = 0;
  EXPECT_TRUE(quarter(12, &q).ok());
  EXPECT_EQ(q, 3);
  const Status s = quarter(6, &q);
  EXPECT_EQ(s.code(), Code::kInvalidArgument);
  EXPECT_EQ(s.text(), "3 is odd");
  EXPECT_EQ(q, 3) << "written on failure";
  EXPECT_EQ(s.with_prefix("file").text(), "file: 3 is odd");
}

TEST(Status, IsOneLineWhateverANameHolds) { EXPECT_EQ(error(Code::kIo, "a%sb", "\n\r\x1b[31m").text(), "a???[31mb"); }

TEST(Status, IsNotCut) { EXPECT_EQ(error(Code::kIo, "%s", std::string(5000, 'x').c_str()).text().size(), 5000u); }

}  // namespace
}  // namespace qz
