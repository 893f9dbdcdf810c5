// Small matrices and plans for the tests of the formats.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "base/json.h"
#include "format/format.h"

namespace qz {

// Codes, scales (exact in F16 and BF16) and zero points that differ everywhere; zero points of at least 1.
inline QMatrix sample_matrix(const Scheme& scheme, int64_t rows, int64_t cols) {
  QMatrix q;
  q.rows = rows;
  q.cols = cols;
  q.scheme = scheme;
  for (int64_t i = 0; i < rows * cols; ++i)
    q.codes.push_back(static_cast<uint8_t>((i * 37 + i / 11) & scheme.max_code()));
  const int64_t n = scheme.group == kGroupTensor ? 1 : rows * q.groups();
  for (int64_t i = 0; i < n; ++i) {
    q.scales.push_back(static_cast<float>(i % 101 + 1) / 1024.0f * (i % 3 == 0 ? -1.0f : 1.0f));
    if (!scheme.symmetric) q.zeros.push_back(static_cast<uint8_t>(1 + i * 7 % scheme.max_code()));
  }
  return q;
}

inline void expect_equal(const QMatrix& a, const QMatrix& b) {
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.cols, b.cols);
  EXPECT_EQ(a.scheme, b.scheme);
  EXPECT_EQ(a.codes, b.codes);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.zeros, b.zeros);
  EXPECT_EQ(a.g_idx, b.g_idx);
}

// encode, compare with layout, decode, compare with the matrix.
inline void expect_round_trip(const Format& f, const QMatrix& q) {
  SCOPED_TRACE(std::string(f.name) + " " + scheme_name(q.scheme));
  const Status can = f.can_store(q.scheme, q.rows, q.cols, !q.g_idx.empty());
  ASSERT_TRUE(can.ok()) << can.text();
  Result<Parts> parts = f.encode(q);
  ASSERT_TRUE(parts.ok()) << parts.status().text();
  const std::vector<PartSpec> layout = f.layout(q.scheme, q.rows, q.cols, !q.g_idx.empty());
  ASSERT_EQ(parts->size(), layout.size());
  for (size_t i = 0; i < layout.size(); ++i) {
    EXPECT_EQ((*parts)[i].name, layout[i].name);
    EXPECT_EQ((*parts)[i].dtype, layout[i].dtype);
    EXPECT_EQ((*parts)[i].shape, layout[i].shape);
    EXPECT_NE(std::find(f.part_names.begin(), f.part_names.end(), layout[i].name), f.part_names.end());
  }
  StoredScheme stored;
  stored.scheme = q.scheme;
  stored.scheme.scale = DType::kNone;
  stored.g_idx = !q.g_idx.empty();
  Result<QMatrix> back = f.decode(*parts, stored, q.rows, q.cols);
  ASSERT_TRUE(back.ok()) << back.status().text();
  expect_equal(*back, q);
  EXPECT_EQ(hash_qmatrix(*back), hash_qmatrix(q));
}

inline PlannedModule planned(const std::string& name, const char* preset, bool in_block = true) {
  PlannedModule m;
  m.name = name;
  m.in_block = in_block;
  m.quantized = preset[0] != '\0';
  if (m.quantized) m.scheme = *scheme_preset(preset);
  return m;
}

inline Json parsed(const std::string& text) {
  Result<Json> json = parse_json(text, "test");
  EXPECT_TRUE(json.ok()) << json.status().text();
  return json.ok() ? *json : Json();
}

// What a configuration says of a module: "w4g128", "w4g64 g_idx", "kept", or "error: <words>".
inline std::string scheme_of(const Format& f, const Json& config, const std::string& module) {
  auto stored = f.stored_scheme(config, module, 128, 128);
  if (!stored.ok()) return "error: " + stored.status().text();
  if (!*stored) return "kept";
  return scheme_name((*stored)->scheme) + ((*stored)->g_idx ? " g_idx" : "");
}

}  // namespace qz
