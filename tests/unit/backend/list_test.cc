#include "backend/list.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace qz {
namespace {

const std::string kToys = QZ_TOYS;

TEST(BackendList, OpensWhatItCanAndSaysWhyNotTheRest) {
  std::vector<std::string> logged;
  const BackendList list = open_backends(
      {{"", true}, {kToys + "/works", false}, {kToys + "/fails", true}, {kToys + "/junk", true}},
      [&](int32_t level, const std::string& text) { logged.push_back(std::to_string(level) + " " + text); });
  ASSERT_EQ(list.backends.size(), 1u);
  EXPECT_EQ(list.backends[0]->file(), kToys + "/works/libqz_toy_works.so");
  ASSERT_EQ(list.failed.size(), 2u);
  EXPECT_EQ(list.failed[0].why.code(), Code::kDevice);
  EXPECT_EQ(list.failed[1].file, kToys + "/junk/libqz_toy_junk.so");
  ASSERT_EQ(logged.size(), 3u);
  EXPECT_EQ(logged[1].substr(0, 2), "3 ");  // no device is no trouble
  EXPECT_EQ(logged[2].substr(0, 2), "2 ");  // a broken file is
}

TEST(BackendList, AFileNameIsOpenedOnce) {
  const BackendList list = open_backends({{kToys + "/works", true}, {kToys + "/works", true}}, {});
  EXPECT_EQ(list.backends.size(), 1u);
}

TEST(BackendList, OnlyAFolderThatHasToBeThereIsMissed) {
  EXPECT_TRUE(open_backends({{kToys + "/nowhere", false}}, {}).failed.empty());
  const BackendList list = open_backends({{kToys + "/nowhere", true}}, {});
  ASSERT_EQ(list.failed.size(), 1u);
  EXPECT_EQ(list.failed[0].why.code(), Code::kIo);
  EXPECT_NE(list.failed[0].why.text().find("nowhere: No such file"), std::string::npos) << list.failed[0].why.text();
}

TEST(BackendList, TheFolderOfThisProgram) {
  EXPECT_EQ(own_folder(), std::filesystem::canonical("/proc/self/exe").parent_path().string());
}

}  // namespace
}  // namespace qz
