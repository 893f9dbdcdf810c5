// One matrix per file in the formats of other codes than GPTQ's integers: AWQ, bitsandbytes, HQQ, compressed-tensors
// with plain codes. Decoded with no more than a configuration says, compared with what the tool says is stored, written
// back.
#include "golden.h"

#include "method/rtn.h"
#include "packed/codebook.h"
#include "tensor/convert.h"

namespace qz {
namespace {

struct Golden {
  const char* file;
  FormatId id;
  int64_t rows, cols;
  const char* scheme;  // as a configuration tells it
  bool strided;        // HQQ's axis 0
};

constexpr Golden kFiles[] = {
    {"awq-gemm-4bit-asym-g128", FormatId::kAwq, 32, 256, "w4g128a", false},
    {"awq-gemm-4bit-asym-g32-bias", FormatId::kAwq, 64, 128, "w4g32a", false},
    {"awq-gemm-4bit-sym-g64", FormatId::kAwq, 64, 128, "w4g64", false},
    {"bnb-nf4-b64", FormatId::kBitsandbytes, 64, 128, "nf4", false},
    {"bnb-nf4-b128", FormatId::kBitsandbytes, 64, 128, "nf4", false},  // the block size is in quant_state only
    {"bnb-nf4-b64-dq", FormatId::kBitsandbytes, 48, 384, "nf4-dq", false},
    {"bnb-fp4-b64", FormatId::kBitsandbytes, 64, 128, "fp4", false},
    {"bnb-fp4-b64-dq", FormatId::kBitsandbytes, 64, 128, "fp4-dq", false},
    {"bnb-int8", FormatId::kBitsandbytes, 64, 128, "llm-int8", false},
    {"hqq-4bit-g64-axis1", FormatId::kHqq, 64, 128, "w4g64f", false},
    {"hqq-4bit-g64-axis0", FormatId::kHqq, 64, 128, "w4g64f", true},
    {"hqq-3bit-g64-axis1", FormatId::kHqq, 64, 128, "w3g64f", false},
    {"hqq-2bit-g32-axis1", FormatId::kHqq, 64, 128, "w2g32f", false},
    {"hqq-8bit-g128-axis1", FormatId::kHqq, 32, 128, "w8g128f", false},
    {"eetq-int8", FormatId::kEetq, 128, 192, "w8", false},
    {"ct-int-w8a8-channel", FormatId::kCompressed, 64, 128, "w8a8", false},
    {"ct-float-fp8-channel", FormatId::kCompressed, 64, 128, "fp8-a8", false},
};

StoredScheme stored_of(const Golden& g) {
  StoredScheme stored;
  stored.scheme = *scheme_preset(g.scheme);
  if (g.strided) stored.scheme.grouping = Grouping::kStrided;
  return stored;
}

Tensors read_golden(const Golden& g) {
  return read_tensors("tests/data/goldens/formats/" + std::string(g.file) + ".safetensors");
}

// quant_state is followed by spaces with double quantization: its length is promised before its numbers are known.
std::vector<uint8_t> without_spaces(std::vector<uint8_t> bytes) {
  while (!bytes.empty() && bytes.back() == ' ') bytes.pop_back();
  return bytes;
}

TEST(CodesGolden, DecodeToTheNumbersOfTheTool) {
  for (const Golden& g : kFiles) {
    SCOPED_TRACE(g.file);
    const Tensors tensors = read_golden(g);
    const Format& f = *find_format(g.id);
    Result<QMatrix> q = f.decode(parts_of(tensors, f, ""), stored_of(g), g.rows, g.cols);
    ASSERT_TRUE(q.ok()) << q.status().text();
    EXPECT_TRUE(check_qmatrix(*q).ok()) << check_qmatrix(*q).text();
    const std::vector<float> expected = values<float>(tensors.at("dequantized"));
    const Matrix w = dequantize(*q);
    size_t wrong = 0;
    for (size_t i = 0; i < expected.size(); ++i) wrong += w.data()[i] != expected[i];
    EXPECT_EQ(wrong, 0u);
    if (tensors.count("codes")) {
      EXPECT_TRUE(q->codes == tensors.at("codes").bytes);
    }
    if (auto it = tensors.find("absmax_f32"); it != tensors.end()) {
      EXPECT_TRUE(q->scales == values<float>(it->second));
    }
  }
}

TEST(CodesGolden, ComeBackByteForByte) {
  for (const Golden& g : kFiles) {
    SCOPED_TRACE(g.file);
    const Tensors tensors = read_golden(g);
    const Format& f = *find_format(g.id);
    Result<QMatrix> q = f.decode(parts_of(tensors, f, ""), stored_of(g), g.rows, g.cols);
    ASSERT_TRUE(q.ok()) << q.status().text();
    Result<Parts> parts = f.encode(*q);
    ASSERT_TRUE(parts.ok()) << parts.status().text();
    size_t compared = 0;
    for (const Part& part : *parts) {
      SCOPED_TRACE(part.name);
      const Part& expected = tensors.at(std::string(part.name));
      EXPECT_EQ(part.dtype, expected.dtype);
      ++compared;
      const bool state = part.name.find("quant_state") != std::string_view::npos;
      if (state) {
        EXPECT_TRUE(without_spaces(part.bytes) == expected.bytes);
        continue;
      }
      EXPECT_EQ(part.shape, expected.shape);
      EXPECT_TRUE(part.bytes == expected.bytes);
    }
    EXPECT_EQ(compared, parts_of(tensors, f, "").size());  // nothing is left out
  }
}

// What bitsandbytes chose for `source`: our rounding to nearest chooses the same.
TEST(CodesGolden, RoundingIsThatOfTheTool) {
  for (const Golden& g : kFiles) {
    if (g.id != FormatId::kBitsandbytes) continue;
    SCOPED_TRACE(g.file);
    const Tensors tensors = read_golden(g);
    const Format& f = *find_format(g.id);
    const QMatrix theirs = *f.decode(parts_of(tensors, f, ""), stored_of(g), g.rows, g.cols);
    const Part& source = tensors.at("source");
    Matrix w(g.rows, g.cols);
    to_f32(source.bytes.data(), source.dtype, static_cast<size_t>(g.rows * g.cols), w.data());
    Result<QMatrix> ours = rtn(*make_context(1), w.view(), theirs.scheme, 0);
    ASSERT_TRUE(ours.ok()) << ours.status().text();
    EXPECT_TRUE(check_qmatrix(*ours).ok()) << check_qmatrix(*ours).text();
    if (theirs.scheme.code == CodeKind::kFp4) {  // ties by rounding noise, two codes for zero: by value
      size_t other = 0;
      for (size_t i = 0; i < theirs.codes.size(); ++i)
        other += codebook(CodeKind::kFp4)[theirs.codes[i]] != codebook(CodeKind::kFp4)[ours->codes[i]];
      EXPECT_LE(other, theirs.codes.size() / 1000);
    } else {
      EXPECT_TRUE(ours->codes == theirs.codes);
    }
    if (theirs.scheme.nested == 0) {
      EXPECT_TRUE(ours->scales == theirs.scales);
      continue;
    }
    size_t other = 0;
    for (size_t i = 0; i < theirs.nested.codes.size(); ++i) other += theirs.nested.codes[i] != ours->nested.codes[i];
    EXPECT_LE(other, 1u);  // a tie
    EXPECT_NEAR(ours->nested.offset, theirs.nested.offset, 1e-6f);
  }
}

// Wrong by one in every dimension, one byte short, another type, absent: refused, never read out of bounds.
TEST(CodesGolden, EveryPartIsChecked) {
  for (const Golden& g : kFiles) {
    SCOPED_TRACE(g.file);
    const Format& f = *find_format(g.id);
    const Parts good = parts_of(read_golden(g), f, "");
    const auto decodes = [&](const Parts& parts) { return f.decode(parts, stored_of(g), g.rows, g.cols).ok(); };
    for (size_t i = 0; i < good.size(); ++i) {
      SCOPED_TRACE(good[i].name);
      if (good[i].shape.empty() || good[i].dtype == DType::kU8) continue;  // settings and texts: hostile tests
      for (size_t d = 0; d < good[i].shape.size(); ++d)
        for (int64_t step : {-1, 1}) {
          Parts bad = good;
          bad[i].shape[d] += step;
          EXPECT_FALSE(decodes(bad)) << "dimension " << d;
        }
      Parts bad = good;
      bad[i].bytes.pop_back();
      EXPECT_FALSE(decodes(bad)) << "one byte short";
      bad = good;
      bad[i].dtype = DType::kI16;
      EXPECT_FALSE(decodes(bad)) << "as I16";
      if (good[i].name == "shape") continue;  // HQQ does without
      bad = good;
      bad.erase(bad.begin() + static_cast<std::ptrdiff_t>(i));
      EXPECT_FALSE(decodes(bad)) << "absent";
    }
    EXPECT_FALSE(f.decode(good, stored_of(g), g.rows + 1, g.cols).ok());
    EXPECT_FALSE(f.decode(good, stored_of(g), g.rows, g.cols + 128).ok());
  }
}

}  // namespace
}  // namespace qz
