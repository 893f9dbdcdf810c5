#include "io/staging.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <vector>

#include "temp_dir.h"

namespace qz {
namespace {

class Staging : public ::testing::Test {
 protected:
  Result<std::unique_ptr<StagingDir>> create(bool overwrite = false, uint64_t bytes = 0) {
    return StagingDir::create(target_, source_, overwrite, bytes);
  }
  void refused(Code code, const std::string& words, bool overwrite = false, uint64_t bytes = 0) {
    const auto r = create(overwrite, bytes);
    ASSERT_FALSE(r.ok()) << "accepted; expected: " << words;
    EXPECT_EQ(r.status().code(), code);
    EXPECT_NE(r.status().text().find(words), std::string::npos)
        << "expected: " << words << "\n   found: " << r.status().text();
  }
  // Everything beside and under the target.
  std::set<std::string> tree() const {
    std::set<std::string> names;
    for (const auto& e : std::filesystem::recursive_directory_iterator(dir_.path()))
      names.insert(e.path().string().substr(dir_.path().size() + 1));
    return names;
  }
  using Names = std::set<std::string>;

  TempDir dir_;
  std::string target_ = dir_ / "out", source_;
};

TEST_F(Staging, CommitPublishesAndLeavesNothingElse) {
  auto staging = create();
  ASSERT_TRUE(staging.ok()) << staging.status().text();
  EXPECT_EQ(tree(), (Names{"out.qz-lock", "out.qz-partial"}));
  ASSERT_TRUE((*staging)->write_file("config.json", "{}").ok());
  auto file = (*staging)->create_file("data", 10);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->write_at(5, "56789", 5).ok());
  ASSERT_TRUE((*file)->write_at(0, "01234", 5).ok());
  ASSERT_TRUE((*file)->close().ok());
  EXPECT_TRUE((*file)->close().ok()) << "closing twice";
  ASSERT_TRUE((*staging)->copy_file(dir_.write("side", "side text"), "side").ok());
  EXPECT_FALSE(exists(target_));
  ASSERT_TRUE((*staging)->commit().ok());
  EXPECT_EQ((*staging)->commit().code(), Code::kInternal);
  staging->reset();
  EXPECT_EQ(tree(), (Names{"out", "out/config.json", "out/data", "out/side", "side"}));
  EXPECT_EQ(slurp(target_ + "/data"), "0123456789");
  EXPECT_EQ(slurp(target_ + "/side"), "side text");
}

TEST_F(Staging, AbortLeavesNothing) {
  {
    auto staging = create();
    ASSERT_TRUE(staging.ok());
    ASSERT_TRUE((*staging)->write_file("config.json", "{}").ok());
    auto open_file = (*staging)->create_file("data", 100);
    std::filesystem::create_directories((*staging)->path() + "/deep/er");
  }
  EXPECT_EQ(tree(), Names{});
}

TEST_F(Staging, EN06_ExistingTarget) {
  dir_.write("out/config.json", "old");
  dir_.write("out/old-shard", "old");
  refused(Code::kInvalidArgument, "output directory exists already");
  auto staging = create(true);
  ASSERT_TRUE(staging.ok()) << staging.status().text();
  ASSERT_TRUE((*staging)->write_file("config.json", "new").ok());
  EXPECT_EQ(slurp(target_ + "/config.json"), "old") << "replaced before the commit";
  ASSERT_TRUE((*staging)->commit().ok());
  staging->reset();
  EXPECT_EQ(tree(), (Names{"out", "out/config.json"}));
  EXPECT_EQ(slurp(target_ + "/config.json"), "new");
}

TEST_F(Staging, EN06_AbortedOverwriteKeepsTheOldOutput) {
  dir_.write("out/config.json", "old");
  {
    auto staging = create(true);
    ASSERT_TRUE(staging.ok());
    ASSERT_TRUE((*staging)->write_file("config.json", "new").ok());
  }
  EXPECT_EQ(tree(), (Names{"out", "out/config.json"}));
  EXPECT_EQ(slurp(target_ + "/config.json"), "old");
}

TEST_F(Staging, OverwritesOnlyWhatLooksLikeAModel) {
  dir_.write("out/thesis.tex", "precious");
  refused(Code::kInvalidArgument, "holds no config.json", true);
  EXPECT_EQ(slurp(target_ + "/thesis.tex"), "precious");
  std::filesystem::remove_all(target_);
  dir_.write("out", "a file");
  refused(Code::kInvalidArgument, "is not a directory", true);
  std::filesystem::remove_all(target_);
  std::filesystem::create_directory(dir_ / "elsewhere");
  ASSERT_EQ(::symlink("elsewhere", target_.c_str()), 0);
  refused(Code::kInvalidArgument, "is not a directory", true);
  std::filesystem::remove(target_);
  std::filesystem::create_directory(target_);
  EXPECT_TRUE(create(true).ok()) << "an empty directory";
}

TEST_F(Staging, ATargetThatAppearsMeanwhileIsNotReplaced) {
  auto staging = create();
  ASSERT_TRUE(staging.ok());
  std::filesystem::create_directory(target_);
  EXPECT_EQ((*staging)->commit().code(), Code::kInvalidArgument);
  staging->reset();
  EXPECT_EQ(tree(), Names{"out"});
}

TEST_F(Staging, IX10_InputAndOutputApart) {
  source_ = dir_ / "in";
  std::filesystem::create_directory(source_);
  const std::string link = dir_ / "link";
  ASSERT_EQ(::symlink("in", link.c_str()), 0);
  for (const std::string& target :
       {source_, source_ + "/", dir_ / "in/inner", link + "/inner", dir_ / "./in", dir_.path()}) {
    target_ = target;
    refused(Code::kInvalidArgument, "must not be the same or one in the other", true);
  }
  target_ = dir_ / "in2";  // begins alike, lies apart
  EXPECT_TRUE(create().ok());
  source_ = dir_ / "none";
  refused(Code::kIo, "cannot resolve the input directory");
}

TEST_F(Staging, BadTargets) {
  for (const char* target : {"", "/", ".", "..", "/tmp/."}) {
    target_ = target;
    refused(Code::kInvalidArgument, "has no name of its own");
  }
  target_ = dir_ / "none/out";
  refused(Code::kIo, "No such file or directory");
  target_ = "/proc/out";
  refused(Code::kIo, "/proc/out.qz-lock: cannot create the lock file");
}

TEST_F(Staging, RelativeTargetsAndTrailingSlashes) {
  const std::string before = std::filesystem::current_path();
  std::filesystem::current_path(dir_.path());
  target_ = "out//";
  {
    auto staging = create();
    std::filesystem::current_path(before);  // the host may go elsewhere meanwhile
    ASSERT_TRUE(staging.ok());
    ASSERT_TRUE((*staging)->write_file("config.json", "{}").ok());
    ASSERT_TRUE((*staging)->commit().ok());
  }
  EXPECT_EQ(tree(), (Names{"out", "out/config.json"}));
}

TEST_F(Staging, EN01_TooLittleSpace) {
  refused(Code::kIo, "are free", false, uint64_t{1} << 62);
  refused(Code::kIo, "are free", false, ~uint64_t{0});
  EXPECT_EQ(tree(), Names{}) << "checked after something was made";
}

TEST_F(Staging, EN01_AFailingWriteIsReported) {
  auto staging = create();
  ASSERT_TRUE(staging.ok());
  struct rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const struct rlimit small = {4096, before.rlim_max};
  ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string text(10'000, 'x');
  const Status reserved = (*staging)->write_file("a", text);
  auto file = (*staging)->create_file("b", 0);
  const Status written = file.ok() ? (*file)->write_at(0, text.data(), text.size()) : file.status();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(reserved.text(), (*staging)->path() + "/a: cannot reserve space: File too large");
  EXPECT_EQ(written.text(), (*staging)->path() + "/b: cannot write: File too large");
  EXPECT_EQ(written.code(), Code::kIo);
}

TEST_F(Staging, EN05_SecondRunIsBusy) {
  auto first = create();
  ASSERT_TRUE(first.ok());
  refused(Code::kBusy, "another run is writing this output directory");
  EXPECT_TRUE(exists((*first)->path())) << "the second run removed the first one's work";
  const pid_t child = ::fork();
  if (child == 0) ::_exit(StagingDir::create(target_, "", false, 0).status().code() == Code::kBusy ? 0 : 1);
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << "from another process";
  first->reset();
  EXPECT_TRUE(create().ok());
}

// Many processes that come and go: one at a time gets in, the others are told so, and nobody sees the files of another.
TEST_F(Staging, EN05_ManyRuns) {
  std::vector<pid_t> children;
  for (int c = 0; c < 4; ++c) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int round = 0; round < 100; ++round) {
        auto staging = StagingDir::create(target_, "", false, 0);
        if (!staging.ok() && staging.status().code() != Code::kBusy) ::_exit(1);
        if (staging.ok() && !(*staging)->write_file("f", "x").ok()) ::_exit(2);
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(tree(), Names{});
}

TEST_F(Staging, EN03_ADeadRunIsCleanedUp) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto staging = StagingDir::create(target_, "", false, 0);
    if (staging.ok()) static_cast<void>((*staging)->write_file("half", "x"));
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(tree(), (Names{"out.qz-lock", "out.qz-partial", "out.qz-partial/half"}));
  auto staging = create();
  ASSERT_TRUE(staging.ok()) << staging.status().text();
  ASSERT_TRUE((*staging)->write_file("config.json", "{}").ok());
  ASSERT_TRUE((*staging)->commit().ok());
  staging->reset();
  EXPECT_EQ(tree(), (Names{"out", "out/config.json"}));
}

TEST_F(Staging, EN03_DeathBetweenTheTwoRenamesIsUndone) {
  dir_.write("out.qz-old/config.json", "old");
  dir_.write("out.qz-partial/config.json", "new");
  refused(Code::kInvalidArgument, "exists already");
  EXPECT_EQ(tree(), (Names{"out", "out/config.json", "out.qz-partial", "out.qz-partial/config.json"}));
  EXPECT_EQ(slurp(target_ + "/config.json"), "old");
  auto staging = create(true);
  ASSERT_TRUE(staging.ok());
  staging->reset();
  EXPECT_EQ(tree(), (Names{"out", "out/config.json"}));
}

TEST_F(Staging, EN07_ModesFollowTheUmask) {
  const mode_t before = ::umask(027);
  auto staging = create();
  ASSERT_TRUE(staging.ok());
  ASSERT_TRUE((*staging)->write_file("config.json", "{}").ok());
  ASSERT_TRUE((*staging)->commit().ok());
  ::umask(before);
  struct stat s;
  ASSERT_EQ(::stat(target_.c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 07777, 0750u);
  ASSERT_EQ(::stat((target_ + "/config.json").c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 07777, 0640u);
}

TEST_F(Staging, FilesAreMadeOnceAndInside) {
  auto staging = create();
  ASSERT_TRUE(staging.ok());
  ASSERT_TRUE((*staging)->write_file("a", "1").ok());
  EXPECT_EQ((*staging)->write_file("a", "2").code(), Code::kIo);
  for (const char* name : {"../escape", "/abs", "", ".", "..", "d/e"})
    EXPECT_EQ((*staging)->write_file(name, "x").code(), Code::kInternal) << name;
  EXPECT_EQ((*staging)->copy_file(dir_ / "none", "b").code(), Code::kIo);
  EXPECT_EQ((*staging)->copy_file("/dev/zero", "c").code(), Code::kIo);
}

TEST_F(Staging, LeftoverLinksAreRemovedNotFollowed) {
  dir_.write("precious/file", "x");
  std::filesystem::create_directory(dir_ / "out.qz-partial");
  ASSERT_EQ(::symlink("../precious", (dir_ / "out.qz-partial/link").c_str()), 0);
  ASSERT_TRUE(create().ok());
  EXPECT_EQ(tree(), (Names{"precious", "precious/file"}));
}

}  // namespace
}  // namespace qz
