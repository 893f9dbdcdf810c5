// What ggml and gguf-py wrote: the container with every type of key, and one tensor of every block code, quantized with
// and without an importance, and of random bytes.
#include "golden.h"
#include "io/gguf.h"
#include "method/blocks.h"
#include "packed/block_code.h"

namespace qz {
namespace {

constexpr char kDir[] = "tests/data/goldens/formats/";

struct Gguf {
  std::shared_ptr<File> file;
  GgufHeader header;
};

Gguf open_golden(const std::string& name) {
  Gguf out;
  auto file = File::open(kDir + name);
  EXPECT_TRUE(file.ok()) << file.status().text();
  out.file = *file;
  auto header = read_gguf_header(*out.file, {});
  EXPECT_TRUE(header.ok()) << header.status().text();
  out.header = *header;
  return out;
}

TEST(GgufGolden, KeysOfEveryTypeAndTensorsOfOddShapes) {
  const Gguf g = open_golden("gguf-container.gguf");
  auto text = read_small_file(std::string(kDir) + "gguf-container.json", 1 << 20);
  ASSERT_TRUE(text.ok());
  const Json expected = Json::parse(*text);
  for (const auto& [key, value] : expected.items()) {
    if (key == "t.empty") continue;  // gguf-py leaves empty text out
    ASSERT_TRUE(g.header.metadata.contains(key)) << key;
    EXPECT_EQ(g.header.metadata[key], value) << key;
  }
  EXPECT_EQ(g.header.metadata.size(), expected.size());  // without t.empty, with general.architecture
  const Tensors tensors = read_tensors(std::string(kDir) + "gguf-container.safetensors");
  EXPECT_EQ(g.header.tensors.size(), tensors.size());
  for (const GgufTensor& t : g.header.tensors) {
    const Part& want = tensors.at(t.name);
    EXPECT_EQ(t.type->dtype, want.dtype) << t.name;
    EXPECT_EQ(t.shape, want.shape) << t.name;
    std::vector<uint8_t> bytes(t.bytes);
    ASSERT_TRUE(g.file->read_at(t.offset, bytes.data(), bytes.size()).ok());
    EXPECT_TRUE(bytes == want.bytes) << t.name;
  }
}

QMatrix matrix_of(const Gguf& g, const GgufTensor& t, const BlockCode& block) {
  QMatrix q;
  q.rows = t.shape[0], q.cols = t.shape[1];
  q.scheme = block_scheme(block);
  q.codes.resize(t.bytes);
  EXPECT_TRUE(g.file->read_at(t.offset, q.codes.data(), t.bytes).ok());
  return q;
}

const BlockCode* block_of(const GgufTensor& t) {
  return find_block_code(static_cast<CodeKind>(kFirstBlock + static_cast<int32_t>(t.type->id)));
}

// Squares of the errors as the fit weighs them (method/error_weight.h): the column's importance times
// sqrt(times m + w^2), m the mean of w^2 in the block.
double weighted_error(const std::vector<float>& source, const std::vector<float>* importance, const Matrix& w,
                      const BlockCode& code) {
  const double times = std::pow(2, std::max(code.bits, 2) - 2) - 0.99;
  const size_t block = static_cast<size_t>(code.elements);
  double total = 0, mean = 0;
  for (size_t i = 0; i < source.size(); ++i) {
    const double x = static_cast<double>(source[i]), d = x - static_cast<double>(w.data()[i]);
    if (i % block == 0) {
      mean = 0;
      for (size_t j = i; j < i + block; ++j) mean += std::pow(static_cast<double>(source[j]), 2);
      mean /= static_cast<double>(block);
    }
    const double h = importance ? static_cast<double>((*importance)[i % static_cast<size_t>(w.cols())]) : 1;
    total += h * std::sqrt(times * mean + x * x) * d * d;
  }
  return total;
}

TEST(GgufGolden, BlocksDecodeExactlyAndComeBackByteForByte) {
  const Gguf g = open_golden("gguf-types.gguf");
  const Tensors tensors = read_tensors(std::string(kDir) + "gguf-types.safetensors");
  size_t found = 0;
  for (const GgufTensor& t : g.header.tensors) {
    const BlockCode* block = block_of(t);
    if (!block) continue;
    SCOPED_TRACE(t.name);
    EXPECT_EQ(t.type->elements, static_cast<uint32_t>(block->elements));
    EXPECT_EQ(t.type->bytes, static_cast<uint32_t>(block->bytes));
    const QMatrix q = matrix_of(g, t, *block);
    ASSERT_TRUE(check_qmatrix(q).ok()) << check_qmatrix(q).text();
    const std::vector<float> want = values<float>(tensors.at(t.name + ".dequantized"));
    const Matrix w = dequantize(q);
    size_t wrong = 0;
    for (size_t i = 0; i < want.size(); ++i) wrong += w.data()[i] != want[i];
    EXPECT_EQ(wrong, 0u);
    for (size_t b = 0; b < q.codes.size() / static_cast<size_t>(block->bytes); ++b) {
      const uint8_t* at = q.codes.data() + b * static_cast<size_t>(block->bytes);
      BlockFields fields;
      block->unpack(at, &fields);
      std::vector<uint8_t> again(static_cast<size_t>(block->bytes), 0x55);
      block->pack(fields, again.data());
      EXPECT_TRUE(std::equal(again.begin(), again.end(), at)) << "block " << b;
    }
    ++found;
  }
  EXPECT_EQ(found, 35u);  // 12 codes, rounded, with importance (but for Q8_0) and random
}

// ggml's own quantizers, with and without importance: never a smaller error than ours on the same matrix.
TEST(GgufGolden, OurBlocksAreNoWorseThanThoseOfTheTool) {
  const Gguf g = open_golden("gguf-types.gguf");
  const Tensors tensors = read_tensors(std::string(kDir) + "gguf-types.safetensors");
  const std::vector<float> source = values<float>(tensors.at("source"));
  const std::vector<float> importance = values<float>(tensors.at("imatrix"));
  size_t compared = 0;
  for (const GgufTensor& t : g.header.tensors) {
    const BlockCode* block = block_of(t);
    if (!block || t.name.find("random") != std::string::npos) continue;
    SCOPED_TRACE(t.name);
    const std::vector<float>* weights = t.name.find("imatrix") != std::string::npos ? &importance : nullptr;
    const QMatrix theirs = matrix_of(g, t, *block);
    const MatrixView w = {source.data(), theirs.rows, theirs.cols, theirs.cols};
    auto ours = round_to_blocks(*make_context(1), w, weights ? weights->data() : nullptr, theirs.scheme);
    ASSERT_TRUE(ours.ok()) << ours.status().text();
    const double mine = weighted_error(source, weights, dequantize(*ours), *block);
    const double other = weighted_error(source, weights, dequantize(theirs), *block);
    EXPECT_LE(mine, other * 1.0005);
    std::printf("%-16s %.4f of ggml's error\n", t.name.c_str(), mine / other);
    ++compared;
  }
  EXPECT_EQ(compared, 23u);
}

}  // namespace
}  // namespace qz
