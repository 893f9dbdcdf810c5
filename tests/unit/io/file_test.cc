#include "io/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "temp_dir.h"

namespace qz {
namespace {

TEST(File, ReadsAtOffsets) {
  const TempDir dir;
  const auto file = File::open(dir.write("f", "0123456789"));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*file)->size(), 10u);
  char out[4] = {};
  EXPECT_TRUE((*file)->read_at(3, out, 4).ok());
  EXPECT_EQ(std::string(out, 4), "3456");
  EXPECT_TRUE((*file)->read_at(10, out, 0).ok());
  EXPECT_EQ((*file)->read_at(7, out, 4).code(), Code::kBadFile);
  EXPECT_EQ((*file)->read_at(~0ull, out, 2).code(), Code::kBadFile);
  EXPECT_TRUE((*file)->check_unchanged().ok());
}

TEST(File, HintsChangeNothing) {
  TempDir dir;
  const auto file = *File::open(dir.write("f", "0123456789"));
  file->will_need(2, 4);
  file->will_need(8, 1000);  // past the end
  file->will_need(~uint64_t{0}, ~uint64_t{0});
  char read[4] = {};
  ASSERT_TRUE(file->read_at(2, read, sizeof read).ok());
  EXPECT_EQ(std::string(read, sizeof read), "2345");
}

TEST(File, RefusesWhatIsNotARegularFile) {  // ST21: and does not hang on the FIFO
  const TempDir dir;
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  for (const std::string& path : {dir / "fifo", dir.path(), std::string("/dev/zero")}) {
    const auto file = File::open(path);
    ASSERT_FALSE(file.ok()) << path;
    EXPECT_EQ(file.status().code(), Code::kIo);
    EXPECT_NE(file.status().text().find("not a regular file"), std::string::npos) << file.status().text();
  }
  EXPECT_EQ(File::open(dir / "none").status().text(), dir / "none" + ": cannot open: No such file or directory");
}

TEST(File, NoticesThatItChanged) {  // ST19
  const TempDir dir;
  const std::string path = dir.write("f", "0123456789");
  char out[10];
  auto file = *File::open(path);
  ASSERT_EQ(::truncate(path.c_str(), 4), 0);
  const Status shrunk = file->read_at(0, out, 10);
  EXPECT_EQ(shrunk.code(), Code::kIo);
  EXPECT_NE(shrunk.text().find("changed while it was read: it had 10 bytes and now ends at byte 4"), std::string::npos)
      << shrunk.text();
  EXPECT_EQ(file->check_unchanged().code(), Code::kIo);

  dir.write("f", "0123456789");
  file = *File::open(path);
  dir.write("g", "abcdefghij");
  ASSERT_EQ(::rename((dir / "g").c_str(), path.c_str()), 0);
  EXPECT_EQ(file->check_unchanged().code(), Code::kIo) << "replaced";

  file = *File::open(path);
  const timespec times[2] = {{1, 0}, {1, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  EXPECT_EQ(file->check_unchanged().code(), Code::kIo) << "another modification time";

  file = *File::open(path);
  ASSERT_EQ(::unlink(path.c_str()), 0);
  EXPECT_EQ(file->check_unchanged().code(), Code::kIo) << "removed";
}

TEST(File, LimitsSmallFiles) {
  const TempDir dir;
  const std::string path = dir.write("f", "12345");
  EXPECT_EQ(*read_small_file(path, 5), "12345");
  EXPECT_EQ(read_small_file(path, 4).status().code(), Code::kBadFile);
  EXPECT_EQ(read_small_file(dir / "none", 4).status().code(), Code::kIo);
  EXPECT_EQ(*read_small_file(dir.write("empty", ""), 4), "");
}

}  // namespace
}  // namespace qz
