#include "base/pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <new>
#include <vector>

namespace qz {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kOwnHeap = false;  // a sanitizer's heap keeps what is freed and refuses what is too large in its own way
#else
constexpr bool kOwnHeap = true;
#endif

using Floats = std::vector<float, PageAllocator<float>>;

size_t resident_pages() {
  size_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident;
}

TEST(Pages, NewElementsAreZeroWhateverWasThereBefore) {
  for (const size_t n : {size_t{0}, size_t{1}, size_t{1000}, kOwnPages / 4 - 1, kOwnPages / 4, size_t{1} << 20}) {
    for (int again = 0; again < 3; again++) {
      Floats x(n);
      EXPECT_EQ(std::count(x.begin(), x.end(), 0.0f), static_cast<int64_t>(n));
      std::fill(x.begin(), x.end(), 7.0f);
      const Floats copy = x;
      EXPECT_EQ(std::count(copy.begin(), copy.end(), 7.0f), static_cast<int64_t>(n));
    }
  }
}

TEST(Pages, GoBackToTheSystem) {
  release_unused();
  const size_t before = resident_pages();
  size_t during = 0;
  for (int again = 0; again < 4; again++) {
    Floats x(size_t{16} << 20, 1.0f);
    during = std::max(during, resident_pages());
  }
  EXPECT_GT(during, before + 16000);  // 64 MiB of 4 KiB pages
  EXPECT_LT(during, before + 17400);  // the same ones each time
  release_unused();
  EXPECT_LT(resident_pages(), before + 1000);
}

// However sizes change, what is kept never adds to what was in use at once.
TEST(Pages, KeepNoMoreThanWasInUse) {
  release_unused();
  const size_t before = resident_pages();
  {
    Floats a(size_t{8} << 20, 1.0f), b(size_t{4} << 20, 1.0f);  // 48 MiB
  }
  for (size_t n = size_t{1} << 20; n < size_t{12} << 20; n += size_t{1} << 20) {
    const Floats x(n, 1.0f);
    EXPECT_LT(resident_pages(), before + 12288 + 1000) << n;
  }
  release_unused();
}

TEST(Pages, UnspecifiedOnesComeBackAsTheyWere) {
  const size_t bytes = size_t{2} << 20;
  auto* first = static_cast<char*>(take_any(bytes));
  first[bytes - 1] = 'x';
  give_back(first, bytes);
  auto* second = static_cast<char*>(take_zeroed(bytes));
  EXPECT_EQ(second[bytes - 1], 0);
  give_back(second, bytes);
}

TEST(Pages, TheHeapsUnusedOnesToo) {
  if (!kOwnHeap) GTEST_SKIP();
  std::vector<std::vector<char>> many(1000, std::vector<char>(64000, 'x'));
  std::vector<char> last(1000, 'x');  // above them: the heap cannot shrink from its end
  const size_t during = resident_pages();
  many.clear();
  release_unused();
  EXPECT_LT(resident_pages(), during - 10000);
  EXPECT_EQ(last[999], 'x');
}

TEST(Pages, NoMemoryIsAnException) {
  if (!kOwnHeap) GTEST_SKIP();
  PageAllocator<float> pages;
  EXPECT_THROW(pages.deallocate(pages.allocate(size_t{1} << 58), size_t{1} << 58), std::bad_alloc);
}

}  // namespace
}  // namespace qz
