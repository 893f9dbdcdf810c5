// The toys of tests/abi/backend1, compiled with the headers of the first interface.
#include "backend/plugin.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

namespace qz {
namespace {

std::string toy(const std::string& kind) { return QZ_TOYS "/" + kind + "/libqz_toy_" + kind + ".so"; }

qz_tensor dense(void* data, int64_t rows, int64_t cols, qz_dtype dtype, int32_t kind) {
  qz_tensor t = {};
  t.data = data;
  t.shape[0] = rows, t.shape[1] = cols;
  t.stride[0] = cols, t.stride[1] = 1;
  t.ndim = 2;
  t.dtype = dtype;
  t.device = {kind, 0};
  return t;
}

TEST(Backend, AnOldPluginComputes) {
  std::string logged;
  const auto opened = Backend::open(toy("works"), [&](int32_t level, const std::string& text) {
    EXPECT_EQ(level, 3);
    logged += text;
  });
  ASSERT_TRUE(opened.ok()) << opened.status().text();
  const Backend& b = **opened;
  EXPECT_EQ(b.name(), "toy");
  EXPECT_TRUE(logged.ends_with("libqz_toy_works.so: a toy was opened")) << logged;
  ASSERT_EQ(b.devices().size(), 1u);
  EXPECT_STREQ(b.devices()[0].name, "Toy");
  EXPECT_EQ(b.devices()[0].units, 7);
  ASSERT_TRUE(b.computes());

  const Result<void*> memory = b.alloc(0, 6 * sizeof(float));
  ASSERT_TRUE(memory.ok());
  const qz_tensor on_device = dense(*memory, 2, 3, QZ_DTYPE_F32, b.devices()[0].device.kind);
  qz_bricks w = {};
  w.struct_size = sizeof w;
  w.bits = 4, w.zero = 8, w.rows = 2, w.cols = 3;
  qz_op op = {};
  op.struct_size = sizeof op;
  op.kind = QZ_OP_DEQUANTIZE;
  op.w = &w;
  op.operands = &on_device;
  op.count = 1;
  EXPECT_EQ(b.supports(op), 1);
  EXPECT_EQ(b.workspace(op), 0u);
  ASSERT_TRUE(b.run(nullptr, op).ok());
  float back[6] = {};
  ASSERT_TRUE(b.copy(nullptr, dense(back, 2, 3, QZ_DTYPE_F32, 1), on_device).ok());
  ASSERT_TRUE(b.synchronize(nullptr, 0).ok());
  EXPECT_TRUE(std::all_of(back, back + 6, [](float v) { return v == 8; }));
  ASSERT_TRUE(b.fill_zero(nullptr, 0, *memory, sizeof back).ok());
  ASSERT_TRUE(b.copy(nullptr, dense(back, 2, 3, QZ_DTYPE_F32, 1), on_device).ok());
  EXPECT_EQ(back[5], 0);

  op.kind = QZ_OP_GEMM;
  EXPECT_EQ(b.supports(op), 0);
  const Status refused = b.run(nullptr, op);
  EXPECT_EQ(refused.code(), Code::kUnsupported);
  EXPECT_TRUE(refused.text().ends_with("libqz_toy_works.so: a toy does not do that")) << refused.text();
  EXPECT_EQ(b.alloc(1, 8).status().code(), Code::kOutOfMemory);
  b.release(0, *memory);
}

TEST(Backend, AShorterTableOnlyLists) {
  const auto opened = Backend::open(toy("lists"), {});
  ASSERT_TRUE(opened.ok()) << opened.status().text();
  EXPECT_EQ((*opened)->devices().size(), 1u);
  EXPECT_FALSE((*opened)->computes());
}

TEST(Backend, WhatDoesNotOpenSaysWhy) {
  const struct {
    const char* toy;
    Code code;
    const char* words;
  } kCases[] = {
      {"fails", Code::kDevice, "no toy is plugged in"},
      {"newer", Code::kUnsupported, "speaks none of the versions 1 to 1 of the backend interface"},
      {"nameless", Code::kUnsupported, "is no backend: it has no qz_backend_open"},
      {"breaks", Code::kIo, "broken device"},
      {"empty", Code::kUnsupported, "its table lacks name, device_count or device_info"},
      {"junk", Code::kIo, "cannot be opened"},
      {"absent", Code::kIo, "cannot be opened"},
  };
  for (const auto& c : kCases) {
    const Status status = Backend::open(toy(c.toy), {}).status();
    EXPECT_EQ(status.code(), c.code) << c.toy;
    EXPECT_NE(status.text().find(toy(c.toy)), std::string::npos) << status.text();
    EXPECT_NE(status.text().find(c.words), std::string::npos) << status.text();
    EXPECT_EQ(status.text().find('\n'), std::string::npos) << status.text();
    EXPECT_LT(status.text().size(), 1000u) << c.toy;
  }
}

TEST(Backend, CudaSaysWhyItIsNotUsed) {
#ifdef QZ_CUDA_PLUGIN
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  const auto opened = Backend::open(QZ_CUDA_PLUGIN, {});
  if (driver) {
    EXPECT_TRUE(opened.ok() || opened.status().code() == Code::kDevice) << opened.status().text();
  } else {
    EXPECT_EQ(opened.status().code(), Code::kDevice);
    EXPECT_EQ(opened.status().text(), QZ_CUDA_PLUGIN ": no driver: libcuda.so.1 is not there");
  }
#else
  GTEST_SKIP() << "libqz_cuda.so was not built: there is no CUDA compiler";
#endif
}

}  // namespace
}  // namespace qz
