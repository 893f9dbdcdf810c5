#include "io/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "temp_dir.h"

namespace qz {
namespace {

const char kGolden[] = "tests/data/goldens/models/qwen2-bias-2shards/";

Result<SafetensorsHeader> read(const std::string& path, const Limits& limits = {}) {
  QZ_ASSIGN(const auto file, File::open(path));
  return read_safetensors_header(*file, limits);
}

class Safetensors : public ::testing::Test {
 protected:
  Result<SafetensorsHeader> parse(const std::string& bytes, const Limits& limits = {}) {
    return read(dir_.write("t.safetensors", bytes), limits);
  }
  // The file is refused, with words that name it and hold `words`.
  void refused(const std::string& bytes, const std::string& words, const Limits& limits = {}) {
    const auto r = parse(bytes, limits);
    ASSERT_FALSE(r.ok()) << "accepted; expected: " << words;
    EXPECT_EQ(r.status().code(), Code::kBadFile);
    EXPECT_EQ(r.status().text().rfind(dir_ / "t.safetensors: ", 0), 0u) << r.status().text();
    EXPECT_NE(r.status().text().find(words), std::string::npos)
        << "expected: " << words << "\n   found: " << r.status().text();
  }
  void header_refused(const std::string& header, const std::string& words, const std::string& data = "12345678") {
    refused(safetensors(header, data), words);
  }
  // A file with the one tensor "a", whose entry is given.
  void entry_refused(const std::string& entry, const std::string& words) {
    header_refused("{\"a\":" + entry + "}", words);
  }
  void accepted(const std::string& header, const std::string& data) {
    const auto r = parse(safetensors(header, data));
    EXPECT_TRUE(r.ok()) << header << "\n" << r.status().text();
  }

  TempDir dir_;
};

const std::string kGood = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

TEST_F(Safetensors, ReadsWhatTheReferenceWrote) {
  const auto r = read(std::string(kGolden) + "model-00001-of-00002.safetensors");
  ASSERT_TRUE(r.ok()) << r.status().text();
  EXPECT_EQ(r->metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  // Listed with json and struct of Python's library.
  ASSERT_EQ(r->tensors.size(), 17u);
  EXPECT_EQ(r->data_start, 8u + 1736);
  const TensorInfo& first = r->tensors[0];
  EXPECT_EQ(first.name, "model.embed_tokens.weight");
  EXPECT_EQ(first.dtype, DType::kF16);
  EXPECT_EQ(first.dtype_name, "F16");
  EXPECT_EQ(first.shape, (std::vector<int64_t>{256, 72}));
  EXPECT_EQ(first.offset, r->data_start);
  EXPECT_EQ(first.bytes, 36864u);
  const TensorInfo& v_proj = r->tensors[12];
  EXPECT_EQ(v_proj.name, "model.layers.0.self_attn.v_proj.weight");
  EXPECT_EQ(v_proj.shape, (std::vector<int64_t>{24, 72}));
  EXPECT_EQ(v_proj.offset, r->data_start + 113424);
  EXPECT_EQ(v_proj.bytes, 3456u);
}

TEST_F(Safetensors, WritesHeadersLikeTheReference) {
  for (const char* name : {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}) {
    const std::string bytes = slurp(std::string(kGolden) + name);
    const auto r = read(std::string(kGolden) + name);
    ASSERT_TRUE(r.ok());
    std::vector<TensorSpec> specs;
    for (auto it = r->tensors.rbegin(); it != r->tensors.rend(); ++it)  // backwards: the sort must put them right
      specs.push_back({it->name, it->dtype_name, it->shape, it->bytes});
    sort_like_reference(&specs);
    EXPECT_EQ(make_safetensors_header(specs, {}), bytes.substr(0, r->data_start)) << name;
  }
}

TEST_F(Safetensors, RoundTripsAnyName) {
  const std::vector<TensorSpec> specs = {{"plain", "F64", {1, 1}, 8},
                                         {"quote\" back\\ tab\t é \x01", "BF16", {3}, 6},
                                         {"", "U8", {}, 1},
                                         {"empty", "F16", {0, 5}, 0},
                                         {"sub-byte", "F4", {2, 3}, 3}};
  const std::string header = make_safetensors_header(specs, {{"format", "pt"}, {"a", "\"b\""}});
  EXPECT_EQ(header.size() % 8, 0u);
  const auto r = parse(header + std::string(18, 'x'));
  ASSERT_TRUE(r.ok()) << r.status().text();
  EXPECT_EQ(r->data_start, header.size());
  EXPECT_EQ(r->metadata, (std::map<std::string, std::string>{{"format", "pt"}, {"a", "\"b\""}}));
  uint64_t offset = header.size();
  ASSERT_EQ(r->tensors.size(), specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    const TensorInfo& t = r->tensors[i];
    EXPECT_EQ(t.name, specs[i].name);
    EXPECT_EQ(t.dtype_name, specs[i].dtype_name);
    EXPECT_EQ(t.shape, specs[i].shape);
    EXPECT_EQ(t.offset, offset);
    EXPECT_EQ(t.bytes, specs[i].bytes);
    offset += t.bytes;
  }
  EXPECT_EQ(r->tensors[4].dtype, DType::kOther);
}

TEST_F(Safetensors, AcceptsWhatTheFormatAllows) {
  accepted(kGood, "12345678");
  accepted(kGood + "     ", "12345678");
  accepted("{}", "");
  accepted(R"({"__metadata__":{}})", "");
  accepted(R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})", "1");
  // Named in another order than the data, with an empty tensor between.
  accepted(
      R"({"b":{"data_offsets":[4,8],"shape":[4],"dtype":"U8"},"e":{"dtype":"F64","shape":[0],"data_offsets":[4,4]},)"
      R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      "12345678");
  // Fields of a later version.
  accepted(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"crc":1.5,"z":null,"l":[1,true,"x"],"o":{}}})", "1");
}

TEST_F(Safetensors, ST01_TooSmall) {
  refused("", "too small for safetensors: 0 bytes");
  refused("1234567", "too small for safetensors: 7 bytes");
  refused(length_word(0), "header length is 0");
}

TEST_F(Safetensors, ST02_HeaderLength) {
  refused(length_word(0) + kGood, "header length is 0; expected at least 2");
  refused(length_word(1) + kGood, "header length is 1");
  refused(length_word(kGood.size() + 1) + kGood, "bytes follow (incomplete download?)");
  refused(length_word(100'000'001) + kGood, "at most 100000000 bytes");
  refused(length_word(1ull << 63) + kGood, "header length is 9223372036854775808");
  refused(length_word(~0ull) + kGood, "header length is 18446744073709551615");
  Limits limits;
  limits.header_bytes = kGood.size() - 1;
  refused(safetensors(kGood, "12345678"), "bytes are allowed", limits);
  EXPECT_TRUE(parse(safetensors(kGood, "12345678")).ok());
}

TEST_F(Safetensors, ST03_Encoding) {
  header_refused("{\"a\xff\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}", "UTF-8");
  header_refused("{\"\xc0\xaf\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}", "UTF-8");
  header_refused(R"({"\ud800":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})", "surrogate");
  header_refused(R"({"a\u0000b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})", "NUL");
  header_refused(std::string("{\"a\0\":1}", 9), "NUL");
}

TEST_F(Safetensors, ST04_FirstByte) {
  header_refused(" " + kGood, "begins with byte 0x20; expected '{'");
  header_refused("\xEF\xBB\xBF" + kGood, "begins with byte 0xef");
  header_refused("[]", "begins with byte 0x5b");
}

TEST_F(Safetensors, ST05_TrailingBytes) {
  header_refused(kGood + "\n", "byte 0x0a after the header's JSON");
  header_refused(kGood + " \t ", "byte 0x09");
  header_refused(kGood + kGood, "not valid JSON");
  header_refused(kGood + "x", "not valid JSON");
  header_refused(kGood + std::string("\0", 1), "NUL");
  header_refused(kGood + std::string("\0}", 2), "NUL");
}

TEST_F(Safetensors, ST06_Depth) {
  entry_refused(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":[[1]]})", "nested deeper than 3");
  entry_refused(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":{"y":{}}})", "nested deeper than 3");
  entry_refused(R"({"dtype":"U8","shape":[[8]],"data_offsets":[0,8]})", "nested deeper than 3");
  entry_refused("{\"x\":" + std::string(1'000'000, '['), "nested deeper than 3");
}

TEST_F(Safetensors, ST07_Duplicates) {
  header_refused(
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
      "tensor 'a' occurs twice, at bytes 4 and 56");
  entry_refused(R"({"dtype":"U8","dtype":"U8","shape":[8],"data_offsets":[0,8]})", "dtype: the field occurs twice");
  entry_refused(R"({"dtype":"U8","shape":[8],"shape":[8],"data_offsets":[0,8]})", "shape: the field occurs twice");
  entry_refused(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8],"data_offsets":[0,8]})",
                "data_offsets: the field occurs twice");
  entry_refused(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":1,"x":1})", "field 'x' occurs twice");
  header_refused(R"({"__metadata__":{},"__metadata__":{}})", "__metadata__ occurs twice");
  header_refused(R"({"__metadata__":{"k":"1","k":"2"}})", "key 'k': the key occurs twice");
}

TEST_F(Safetensors, ST08_MissingFieldsAndWrongTypes) {
  entry_refused(R"({"shape":[8],"data_offsets":[0,8]})", "tensor 'a': dtype is missing");
  entry_refused(R"({"dtype":"U8","data_offsets":[0,8]})", "shape is missing");
  entry_refused(R"({"dtype":"U8","shape":[8]})", "data_offsets is missing");
  entry_refused("{}", "is missing");
  entry_refused("5", "tensor 'a': expected a tensor's object, found a number");
  entry_refused("[]", "expected a tensor's object, found an array");
  entry_refused(R"("x")", "expected a tensor's object, found a string");
  entry_refused(R"({"dtype":1,"shape":[8],"data_offsets":[0,8]})", "dtype: expected a string, found a number");
  entry_refused(R"({"dtype":["U8"],"shape":[8],"data_offsets":[0,8]})", "dtype: expected a string, found an array");
  entry_refused(R"({"dtype":"U8","shape":8,"data_offsets":[0,8]})",
                "shape: expected an array of integers, found a number");
  entry_refused(R"({"dtype":"U8","shape":null,"data_offsets":[0,8]})",
                "shape: expected an array of integers, found null");
  entry_refused(R"({"dtype":"U8","shape":{"0":8},"data_offsets":[0,8]})",
                "shape: expected an array of integers, found an object");
  entry_refused(R"({"dtype":"U8","shape":["8"],"data_offsets":[0,8]})",
                "expected an integer from 0 to 2^48, found a string");
  entry_refused(R"({"dtype":"U8","shape":[true],"data_offsets":[0,8]})", "found a boolean");
  entry_refused(R"({"dtype":"U8","shape":[8],"data_offsets":[8]})", "expected two numbers, found 1");
  entry_refused(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8,8]})", "expected two numbers, found more");
  entry_refused(R"({"dtype":"","shape":[8],"data_offsets":[0,8]})", "not a dtype's name");
  header_refused("{\"a\"}", "not valid JSON");
}

TEST_F(Safetensors, ST09_Metadata) {
  header_refused(R"({"__metadata__":{"a":1}})", "__metadata__, key 'a': expected a string, found a number");
  header_refused(R"({"__metadata__":{"a":{}}})", "__metadata__, key 'a': expected a string, found an object");
  header_refused(R"({"__metadata__":{"a":null}})", "found null");
  header_refused(R"({"__metadata__":"x"})", "__metadata__");
  header_refused(R"({"__metadata__":[]})", "__metadata__");
  std::string huge = R"({"__metadata__":{"k":"")";
  for (int i = 0; i < 70'000; ++i) huge += numbered(",\"", i) + "\":\"\"";
  header_refused(huge + "}}", "more than 65536 entries");
}

TEST_F(Safetensors, ST10_Numbers) {
  for (const char* bad : {"-1", "-0", "8.0", "1e3", "0.5", "281474976710657", "9007199254740993",
                          "18446744073709551615", "18446744073709551616", "1e999999"}) {
    const std::string n = bad;
    const auto shape =
        parse(safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[" + n + "],\"data_offsets\":[0,8]}}", "12345678"));
    EXPECT_FALSE(shape.ok()) << n;
    const auto offset =
        parse(safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0," + n + "]}}", "12345678"));
    EXPECT_FALSE(offset.ok()) << n;
  }
  entry_refused(R"({"dtype":"U8","shape":[08],"data_offsets":[0,8]})", "not valid JSON");
  entry_refused(R"({"dtype":"U8","shape":[-1],"data_offsets":[0,8]})",
                "shape: expected an integer from 0 to 2^48, found -1 (at byte 31 of the header)");
  entry_refused(R"({"dtype":"U8","shape":[281474976710657],"data_offsets":[0,8]})", "found 281474976710657");
}

TEST_F(Safetensors, ST11_Overflow) {
  entry_refused(R"({"dtype":"U8","shape":[281474976710656,281474976710656],"data_offsets":[0,8]})",
                "more than 2^48 elements");
  // 2^48 * 2^16 = 2^64 wraps to 0, and with one more factor to anything.
  entry_refused(R"({"dtype":"U8","shape":[281474976710656,65536],"data_offsets":[0,0]})", "more than 2^48 elements");
  // 2^61 elements fit 64 bits, their number of bits wraps to 0.
  entry_refused(R"({"dtype":"U8","shape":[281474976710656,8192],"data_offsets":[0,0]})", "more than 2^48 elements");
  entry_refused(R"({"dtype":"F64","shape":[281474976710656],"data_offsets":[0,8]})", "need 2251799813685248 bytes");
}

TEST_F(Safetensors, ST12_EmptyTensors) {
  accepted(R"({"a":{"dtype":"F32","shape":[0,281474976710656,281474976710656],"data_offsets":[0,0]}})", "");
  header_refused(R"({"a":{"dtype":"F32","shape":[281474976710656,281474976710656,0],"data_offsets":[0,0]}})",
                 "more than 2^48 elements", "");
  header_refused(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,8]}})", "need 0 bytes but data_offsets span 8");
}

TEST_F(Safetensors, ST13_Size) {
  entry_refused(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})",
                "tensor 'a': shape and dtype need 12 bytes but data_offsets span 8");
  entry_refused(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})", "end at 0 before they begin at 8");
}

TEST_F(Safetensors, ST14_Layout) {
  const auto two = [](const char* a, const char* b) {
    return std::string(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)") + a +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + b + "}}";
  };
  accepted(two("[0,4]", "[4,8]"), "12345678");
  accepted(two("[4,8]", "[0,4]"), "12345678");
  header_refused(two("[0,4]", "[0,4]"), "tensors overlap");
  header_refused(two("[0,4]", "[3,7]"),
                 "tensor 'b' begins at byte 3 of the data section; expected 4 (tensors overlap)");
  header_refused(two("[0,4]", "[5,9]"), "there is a hole before it", "123456789");
  header_refused(two("[1,5]", "[5,9]"), "tensor 'a' begins at byte 1 of the data section; expected 0", "123456789");
}

TEST_F(Safetensors, ST15_UnknownDType) {
  const auto r = parse(safetensors(R"({"a":{"dtype":"F5_NEW","shape":[3],"data_offsets":[0,8]}})", "12345678"));
  ASSERT_TRUE(r.ok()) << r.status().text();
  EXPECT_EQ(r->tensors[0].dtype, DType::kOther);
  EXPECT_EQ(r->tensors[0].dtype_name, "F5_NEW");
}

TEST_F(Safetensors, ST16_SubByte) {
  header_refused(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", "3 elements of F4 do not fill whole bytes",
                 "12");
  accepted(R"({"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}})", "123");
}

TEST_F(Safetensors, ST17_Truncated) {
  header_refused(kGood, "tensor 'a' ends at byte 8 of the data section, which has 7 bytes (incomplete download?)",
                 "1234567");
}

TEST_F(Safetensors, ST18_TrailingData) {
  header_refused(kGood, "1 bytes follow the last tensor", "123456789");
  header_refused("{}", "8 bytes follow the last tensor");
}

TEST_F(Safetensors, Limits) {
  Limits limits;
  limits.dims = 2;
  limits.name_bytes = 3;
  limits.tensors_per_file = 1;
  refused(safetensors(R"({"a":{"dtype":"U8","shape":[2,2,2],"data_offsets":[0,8]}})", "12345678"),
          "more than 2 dimensions", limits);
  refused(safetensors(R"({"abcd":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})", "12345678"), "4 bytes; at most 3",
          limits);
  refused(
      safetensors(
          R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
          "12345678"),
      "more than 1 tensors", limits);
}

TEST_F(Safetensors, EveryTruncationIsRefused) {
  const std::string whole = make_safetensors_header({{"a", "F32", {2}, 8}, {"b", "U8", {3}, 3}}, {}) + "12345678abc";
  ASSERT_TRUE(parse(whole).ok());
  for (size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(parse(whole.substr(0, n)).ok()) << n;
}

// Every byte of the header replaced by others: never a crash, and what is accepted obeys the rules.
TEST_F(Safetensors, EveryMutationIsSafe) {
  const std::string whole = make_safetensors_header({{"a", "F32", {2}, 8}, {"b", "U8", {3}, 3}}, {}) + "12345678abc";
  const size_t header = whole.size() - 11;
  for (size_t at = 0; at < header; ++at) {
    for (const char c : {'\0', '"', '}', ']', '[', '{', ',', ':', '9', '0', '-', '.', 'e', ' ', '\\', '\x80', '\xff'}) {
      std::string bytes = whole;
      bytes[at] = c;
      const auto r = parse(bytes);
      if (!r.ok()) {
        EXPECT_EQ(r.status().code(), Code::kBadFile);
        continue;
      }
      uint64_t end = r->data_start;
      for (const TensorInfo& t : r->tensors) {
        EXPECT_EQ(t.offset, end);
        end += t.bytes;
      }
      EXPECT_EQ(end, bytes.size()) << "accepted at " << at;
    }
  }
}

TEST_F(Safetensors, ManyTensors) {
  std::vector<TensorSpec> specs;
  for (int i = 0; i < 100'000; ++i) specs.push_back({numbered("t", i), "U8", {1}, 1});
  const auto r = parse(make_safetensors_header(specs, {}) + std::string(100'000, 'x'));
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->tensors.size(), 100'000u);
}

TEST_F(Safetensors, ST26_LargeFiles) {  // sparse: nothing is stored
  const uint64_t bytes = uint64_t{5} << 30;
  const std::string path =
      dir_.write("big.safetensors", make_safetensors_header({{"a", "U8", {int64_t(bytes)}, bytes}}, {}));
  const uint64_t start = slurp(path).size();
  ASSERT_EQ(::truncate(path.c_str(), static_cast<off_t>(start + bytes)), 0);
  const auto file = *File::open(path);
  const auto r = read_safetensors_header(*file, {});
  ASSERT_TRUE(r.ok()) << r.status().text();
  EXPECT_EQ(r->tensors[0].bytes, bytes);
  char last = 1;
  EXPECT_TRUE(file->read_at(start + bytes - 1, &last, 1).ok());
  EXPECT_EQ(last, 0);
}

}  // namespace
}  // namespace qz
