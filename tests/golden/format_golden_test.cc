// One packed matrix per file, written by GPTQModel 7.7.0 and compressed-tensors 0.19.0 and 0.12.2, with the codes, zero
// points and weights that the same tools unpacked from it.
#include "golden.h"

#include "format/bits.h"

namespace qz {
namespace {

struct Golden {
  const char* file;
  FormatId id;
  int64_t rows, cols;
  int32_t bits, group;
  bool symmetric;
  DType scale;
  bool g_idx;
};

constexpr Golden kGptqFiles[] = {
    {"gptq-v1-2bit-sym-g64", FormatId::kGptq, 64, 128, 2, 64, true, DType::kF16, false},
    {"gptq-v1-3bit-sym-g64", FormatId::kGptq, 64, 128, 3, 64, true, DType::kF16, false},
    {"gptq-v1-4bit-asym-g64", FormatId::kGptq, 64, 128, 4, 64, false, DType::kF16, false},
    {"gptq-v1-4bit-asym-g64-zero0", FormatId::kGptq, 64, 128, 4, 64, false, DType::kF16, false},
    {"gptq-v1-4bit-sym-channel", FormatId::kGptq, 64, 128, 4, kGroupRow, true, DType::kF16, false},
    {"gptq-v1-4bit-sym-g128", FormatId::kGptq, 32, 256, 4, 128, true, DType::kF16, false},
    {"gptq-v1-4bit-sym-g32-bias", FormatId::kGptq, 64, 128, 4, 32, true, DType::kF16, false},
    {"gptq-v1-4bit-sym-g64-descact", FormatId::kGptq, 64, 128, 4, 64, true, DType::kF16, true},
    {"gptq-v1-8bit-sym-g128", FormatId::kGptq, 64, 128, 8, 128, true, DType::kF16, false},
    {"gptq-v2-3bit-asym-g32", FormatId::kGptqV2, 64, 128, 3, 32, false, DType::kF16, false},
    {"gptq-v2-4bit-asym-g32", FormatId::kGptqV2, 64, 128, 4, 32, false, DType::kF16, false},
    {"gptq-v2-4bit-sym-g64", FormatId::kGptqV2, 64, 128, 4, 64, true, DType::kF16, false},
    {"gptq-v2-8bit-asym-g32", FormatId::kGptqV2, 64, 128, 8, 32, false, DType::kF16, false},
    {"gptq-p-3bit-asym-g64", FormatId::kGptqPlanar, 64, 128, 3, 64, false, DType::kF16, false},
    {"gptq-p-5bit-sym-g64", FormatId::kGptqPlanar, 64, 128, 5, 64, true, DType::kF16, false},
};

constexpr Golden kCompressedFiles[] = {
    {"ct-pack-int3-sym-g64-dense", FormatId::kCompressed, 64, 128, 3, 64, true, DType::kBF16, false},
    {"ct-pack-int4-asym-g32", FormatId::kCompressed, 64, 128, 4, 32, false, DType::kF16, false},
    {"ct-pack-int4-sym-g128", FormatId::kCompressed, 32, 256, 4, 128, true, DType::kBF16, false},
    {"ct-pack-int8-sym-channel", FormatId::kCompressed, 64, 128, 8, kGroupRow, true, DType::kBF16, false},
    {"ct012-pack-int3-sym-g64-padded", FormatId::kCompressed, 64, 128, 3, 64, true, DType::kBF16, false},
    {"ct012-pack-int4-sym-g32-gidx", FormatId::kCompressed, 64, 128, 4, 32, true, DType::kBF16, true},
};

Tensors read_golden(const Golden& g) {
  return read_tensors("tests/data/goldens/formats/" + std::string(g.file) + ".safetensors");
}

// Decodes with no more than a configuration says, and compares with what the tool says is stored.
Result<QMatrix> decode_golden(const Golden& g, const Tensors& tensors) {
  const Format& f = *find_format(g.id);
  const StoredScheme stored = {{CodeKind::kInt, g.bits, g.group, g.symmetric, DType::kNone}, g.g_idx, true};
  Result<QMatrix> q = f.decode(parts_of(tensors, f, ""), stored, g.rows, g.cols);
  EXPECT_TRUE(q.ok()) << q.status().text();
  if (!q.ok()) return q;
  EXPECT_TRUE(check_qmatrix(*q).ok());
  EXPECT_EQ(q->scheme.scale, g.scale);
  EXPECT_EQ(q->g_idx.empty(), !g.g_idx);
  const std::vector<float> expected = values<float>(tensors.at("dequantized"));
  const Matrix w = dequantize(*q);
  EXPECT_EQ(std::memcmp(w.data(), expected.data(), expected.size() * sizeof(float)), 0);
  const std::vector<uint8_t>& codes = tensors.at("codes").bytes;  // compressed-tensors: signed
  const int offset = g.id == FormatId::kCompressed ? q->scheme.mid_code() : 0;
  for (size_t i = 0; i < codes.size(); ++i)
    EXPECT_EQ(q->codes[i], offset ? static_cast<int8_t>(codes[i]) + offset : codes[i]) << "code " << i;
  if (auto it = tensors.find("zero_points"); it != tensors.end()) {
    const std::vector<int32_t> zeros = values<int32_t>(it->second);  // [groups][rows]
    for (int64_t r = 0; r < g.rows; ++r)
      for (int64_t group = 0; group < q->groups(); ++group)
        EXPECT_EQ(q->zero(r, group), zeros[static_cast<size_t>(group * g.rows + r)])
            << "row " << r << " group " << group;
  }
  return q;
}

void expect_same_parts(const Parts& parts, const Tensors& tensors) {
  for (const Part& part : parts) {
    const Part& expected = tensors.at(std::string(part.name));
    EXPECT_EQ(part.dtype, expected.dtype) << part.name;
    EXPECT_EQ(part.shape, expected.shape) << part.name;
    EXPECT_TRUE(part.bytes == expected.bytes) << part.name << " differs";
  }
}

TEST(FormatGolden, GptqFilesComeBackByteForByte) {
  for (const Golden& g : kGptqFiles) {
    SCOPED_TRACE(g.file);
    const Tensors tensors = read_golden(g);
    Result<QMatrix> q = decode_golden(g, tensors);
    ASSERT_TRUE(q.ok());
    Result<Parts> parts = find_format(g.id)->encode(*q);
    ASSERT_TRUE(parts.ok()) << parts.status().text();
    EXPECT_EQ(parts->size(), 4u);
    expect_same_parts(*parts, tensors);
  }
}

TEST(FormatGolden, CompressedFilesComeBackByteForByte) {
  const Format& f = *find_format(FormatId::kCompressed);
  for (const Golden& g : kCompressedFiles) {
    SCOPED_TRACE(g.file);
    Tensors tensors = read_golden(g);
    Result<QMatrix> q = decode_golden(g, tensors);
    ASSERT_TRUE(q.ok());
    if (g.g_idx) {  // read, never written: the rest must still be the same
      EXPECT_EQ(values<int32_t>(tensors.at("weight_g_idx")), q->g_idx);
      EXPECT_EQ(f.encode(*q).status().code(), Code::kUnsupported);
      q->g_idx.clear();
    }
    Result<Parts> parts = f.encode(*q);
    ASSERT_TRUE(parts.ok()) << parts.status().text();
    EXPECT_EQ(parts->size(), g.symmetric ? 3u : 4u);
    Part& stored = tensors.at("weight_packed");
    if (stored.shape !=
        parts->front().shape) {  // the layout before 0.17 is read; written are the same codes as a dense stream
      std::vector<uint8_t> padded(stored.bytes.size());
      for (int64_t r = 0; r < g.rows; ++r)
        pack(Packing::kPadded, q->codes.data() + r * g.cols, g.cols, g.bits, padded.data() + r * stored.shape[1] * 4);
      EXPECT_TRUE(padded == stored.bytes);
      stored = parts->front();
    }
    expect_same_parts(*parts, tensors);
  }
}

// Wrong by one in every dimension, one byte short, another type: refused, never read out of bounds.
TEST(FormatGolden, EveryPartIsCheckedInEverySize) {
  for (const Golden* g : {&kGptqFiles[7], &kGptqFiles[2], &kCompressedFiles[1], &kCompressedFiles[5]}) {
    SCOPED_TRACE(g->file);
    const Format& f = *find_format(g->id);
    const StoredScheme stored = {{CodeKind::kInt, g->bits, g->group, g->symmetric, DType::kNone}, g->g_idx, true};
    const Parts good = parts_of(read_golden(*g), f, "");
    auto refused = [&](const Parts& parts) {
      return f.decode(parts, stored, g->rows, g->cols).status().code() == Code::kBadFile;
    };
    ASSERT_FALSE(refused(good));
    for (size_t i = 0; i < good.size(); ++i) {
      for (size_t d = 0; d < good[i].shape.size(); ++d)
        for (int64_t step : {-1, 1}) {
          Parts bad = good;
          bad[i].shape[d] += step;
          EXPECT_TRUE(refused(bad)) << good[i].name << " dimension " << d;
        }
      Parts bad = good;
      bad[i].bytes.pop_back();
      EXPECT_TRUE(refused(bad)) << good[i].name << " one byte short";
      bad = good;
      bad[i].dtype = DType::kU8;
      EXPECT_TRUE(refused(bad)) << good[i].name << " as U8";
      if (good[i].name == "g_idx" && !g->g_idx) continue;
      bad = good;
      bad.erase(bad.begin() + static_cast<std::ptrdiff_t>(i));
      EXPECT_TRUE(refused(bad)) << good[i].name << " absent";
    }
    for (const auto& [rows, cols] : {std::pair{g->rows + 1, g->cols}, std::pair{g->rows, g->cols + g->group}})
      EXPECT_FALSE(f.decode(good, stored, rows, cols).ok());
  }
}

}  // namespace
}  // namespace qz
