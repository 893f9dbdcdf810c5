// A plug-in opened by nothing but dlopen, and problems for it made by nothing but the layout's formulas: the programs
// here build with one call of a compiler, on a machine that has a GPU and little else (tools/gpu/run.sh).
#pragma once
#include <dlfcn.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "packed/layout.h"
#include "qz/backend.h"

namespace qz::check {

inline std::string& failure() {
  static std::string text;
  return text;
}

struct Plugin {
  qz_host_api host = {};
  qz_backend_api api = {};
  qz_device_info info = {};

  // False with failure() in words; the first device is the one that is used.
  bool open(const char* file) {
    void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    const auto entry = library ? reinterpret_cast<qz_backend_open_fn>(dlsym(library, "qz_backend_open")) : nullptr;
    if (!entry) {
      failure() = dlerror();
      return false;
    }
    host.struct_size = sizeof host;
    host.log = [](void*, int32_t, const char* text) { std::fprintf(stderr, "%s\n", text); };
    host.fail = [](void*, qz_status status, const char* text) {
      failure() = text;
      return status;
    };
    api.struct_size = sizeof api;
    info.struct_size = sizeof info;
    return entry(QZ_BACKEND_ABI, &host, &api) == QZ_STATUS_OK && api.device_count(api.self) > 0 &&
           api.device_info(api.self, 0, &info) == QZ_STATUS_OK;
  }
};

// Device memory that is given back.
class Array {
 public:
  Array(const Plugin& plugin, uint64_t bytes) : plugin_(plugin), bytes_(bytes) {
    if (plugin.api.alloc(plugin.api.self, plugin.info.device.index, bytes, &data_) != QZ_STATUS_OK) data_ = nullptr;
  }
  template <class T>
  Array(const Plugin& plugin, const std::vector<T>& from) : Array(plugin, from.size() * sizeof(T)) {
    if (bytes_) put(from.data());
  }
  ~Array() { plugin_.api.release(plugin_.api.self, plugin_.info.device.index, data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  void* data() const { return data_; }
  bool put(const void* from) {
    return move(tensor(data_, plugin_.info.device), tensor(const_cast<void*>(from), {1, 0}));
  }
  bool get(void* to) const { return move(tensor(to, {1, 0}), tensor(data_, plugin_.info.device)); }
  bool zero() {
    return plugin_.api.fill_zero(plugin_.api.self, nullptr, plugin_.info.device.index, data_, bytes_) == QZ_STATUS_OK;
  }

 private:
  qz_tensor tensor(void* data, qz_device device) const {
    qz_tensor t = {};
    t.data = data;
    t.shape[0] = static_cast<int64_t>(bytes_), t.stride[0] = 1;
    t.ndim = 1;
    t.dtype = QZ_DTYPE_U8;
    t.device = device;
    return t;
  }
  bool move(const qz_tensor& to, const qz_tensor& from) const {
    const qz_backend_api& api = plugin_.api;
    return api.copy(api.self, nullptr, &to, &from) == QZ_STATUS_OK &&
           api.synchronize(api.self, nullptr, plugin_.info.device.index) == QZ_STATUS_OK;
  }
  const Plugin& plugin_;
  uint64_t bytes_;
  void* data_ = nullptr;
};

inline size_t width_of(qz_dtype t) { return t == QZ_DTYPE_F32 || t == QZ_DTYPE_I32 ? 4 : t == QZ_DTYPE_U8 ? 1 : 2; }
inline const char* name_of(qz_dtype t) { return t == QZ_DTYPE_F32 ? "f32" : t == QZ_DTYPE_F16 ? "f16" : "bf16"; }

// Rounds to nearest even, as IEEE 754 says; the compiler's own F16, bits for BF16.
inline void store(float f, qz_dtype t, void* at) {
  if (t == QZ_DTYPE_F32) std::memcpy(at, &f, 4);
  if (t == QZ_DTYPE_F16) {
    const auto h = static_cast<_Float16>(f);
    std::memcpy(at, &h, 2);
  }
  if (t == QZ_DTYPE_BF16) {
    uint32_t u;
    std::memcpy(&u, &f, 4);
    const auto h = static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
    std::memcpy(at, &h, 2);
  }
}
inline float load(const void* at, qz_dtype t) {
  if (t == QZ_DTYPE_F16) {
    _Float16 h;
    std::memcpy(&h, at, 2);
    return static_cast<float>(h);
  }
  uint32_t u = 0;
  if (t == QZ_DTYPE_F32) std::memcpy(&u, at, 4);
  if (t == QZ_DTYPE_BF16) {
    uint16_t h;
    std::memcpy(&h, at, 2);
    u = uint32_t{h} << 16;
  }
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
inline float rounded(float f, qz_dtype t) {
  char bytes[4];
  store(f, t, bytes);
  return load(bytes, t);
}

// Random 4-bit weights: in bricks for the device, and the numbers that they stand for.
struct Matrix {
  int64_t rows, cols;
  int32_t group;  // 0: the row
  qz_dtype scale;
  bool asymmetric;
  std::vector<uint32_t> codes;
  std::vector<char> scales;
  std::vector<uint8_t> zeros;
  std::vector<float> weights;  // [rows][cols]

  Matrix(int64_t r, int64_t c, int32_t g, qz_dtype s, bool a, uint32_t seed)
      : rows(r), cols(c), group(g), scale(s), asymmetric(a) {
    std::mt19937 random(seed);
    const int64_t stripes = bricks_of(rows), groups = brick_groups(cols, group);
    codes.assign(static_cast<size_t>(stripes * bricks_of(cols) * kBrickWords), 0);
    scales.assign(static_cast<size_t>(stripes * groups * kBrickSide) * width_of(scale), 0);
    if (asymmetric) zeros.assign(static_cast<size_t>(stripes * groups * kBrickSide), 0);
    weights.resize(static_cast<size_t>(rows * cols));
    std::uniform_real_distribution<float> size(0.001f, 0.02f);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t q = 0; q < groups; ++q) {
        const int64_t place = brick_scale_place(row, q, groups);
        const float value = rounded(size(random), scale);
        const uint32_t zero = asymmetric ? random() % 16 : 8;
        store(value, scale, scales.data() + static_cast<size_t>(place) * width_of(scale));
        if (asymmetric) zeros[static_cast<size_t>(place)] = static_cast<uint8_t>(zero);
        const int64_t end = q + 1 < groups ? (q + 1) * group : bricks_of(cols) * kBrickSide;
        for (int64_t col = q * group; col < end; ++col) {
          const uint32_t code = col < cols ? random() % 16 : zero;
          const BrickPlace at = brick_place(row, col, cols);
          codes[static_cast<size_t>(at.word)] |= code << at.shift;
          if (col < cols)
            weights[static_cast<size_t>(row * cols + col)] =
                value * static_cast<float>(static_cast<int32_t>(code) - static_cast<int32_t>(zero));
        }
      }
    }
  }
};

// The same on the device.
struct OnDevice {
  Array codes, scales, zeros;
  qz_bricks view = {};
  OnDevice(const Plugin& p, const Matrix& m) : codes(p, m.codes), scales(p, m.scales), zeros(p, m.zeros) {
    view.struct_size = sizeof view;
    view.code = QZ_CODE_INT;
    view.bits = 4;
    view.group = m.group;
    view.zero = 8;
    view.scale = m.scale;
    view.rows = m.rows, view.cols = m.cols;
    view.codes = codes.data(), view.scales = scales.data();
    view.zeros = m.asymmetric ? static_cast<const uint8_t*>(zeros.data()) : nullptr;
  }
};

// On `count` operands, which must live as long as it does.
inline qz_op op_of(qz_op_kind kind, const qz_tensor* operands, size_t count) {
  qz_op op = {};
  op.struct_size = sizeof op;
  op.kind = kind;
  op.operands = operands, op.count = count;
  return op;
}

inline qz_tensor matrix_of(const Plugin& p, void* data, int64_t rows, int64_t cols, int64_t stride, qz_dtype dtype) {
  qz_tensor t = {};
  t.data = data;
  t.shape[0] = rows, t.shape[1] = cols;
  t.stride[0] = stride, t.stride[1] = 1;
  t.ndim = 2;
  t.dtype = dtype;
  t.device = p.info.device;
  return t;
}

}  // namespace qz::check
