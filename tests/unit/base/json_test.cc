#include "base/json.h"

#include <gtest/gtest.h>

#include <clocale>

namespace qz {
namespace {

std::string failure(const std::string& text, const JsonLimits& limits = {}) {
  const Result<Json> r = parse_json(text, "f.json", limits);
  if (r.ok()) return "accepted as " + r->dump();
  EXPECT_EQ(r.status().code(), Code::kBadFile) << text;
  EXPECT_EQ(r.status().text().rfind("f.json: ", 0), 0u) << r.status().text();
  return r.status().text();
}

void expect_words(const std::string& text, const char* words) {
  const std::string found = failure(text);
  EXPECT_NE(found.find(words), std::string::npos) << "for " << text << "\n  found: " << found;
}

TEST(Json, KeepsValuesAndTheOrderOfKeys) {
  const auto r =
      parse_json(R"( {"z":[1,-2,3.5,true,null,"\u00e9"],"a":{"y":{},"b":[]},"m":18446744073709551615} )", "f");
  ASSERT_TRUE(r.ok()) << r.status().text();
  EXPECT_EQ(r->dump(), R"({"z":[1,-2,3.5,true,null,"é"],"a":{"y":{},"b":[]},"m":18446744073709551615})");
  EXPECT_TRUE((*r)["m"].is_number_unsigned());
  EXPECT_TRUE((*r)["z"][1].is_number_integer());
}

TEST(Json, BuildsEveryNesting) {
  for (const char* text : {"1", "\"s\"", "null", "[]", "{}", "[[],[[]],{}]", R"({"a":{"b":{"c":1}},"d":2})",
                           R"([{"a":1},{"a":2}])", R"({"a":[{"b":[1,{"c":[]}]},3],"e":"f"})"}) {
    const auto r = parse_json(text, "f");
    ASSERT_TRUE(r.ok()) << text;
    EXPECT_EQ(r->dump(), text);
  }
}

TEST(Json, RefusesDuplicateKeysAndSaysWhere) {
  expect_words(R"({"a":1,"b":{"a":2},"a":3})", "key 'a' occurs twice in one object, at bytes 4 and 22");
  expect_words(R"({"a":1,"\u0061":3})", "key 'a' occurs twice");
  expect_words(R"([{"x":{"k":0,"k":0}}])", "key 'k' occurs twice");
}

TEST(Json, RefusesWhatIsNotStrictJson) {
  expect_words("", "byte 1");
  expect_words("\xEF\xBB\xBF{}", "byte-order mark");
  expect_words("{} {}", "byte 4");
  expect_words("{}x", "not valid JSON");
  expect_words("[1,]", "not valid JSON");
  expect_words("{\"a\":1,}", "not valid JSON");
  expect_words("[NaN]", "not valid JSON");
  expect_words("[Infinity]", "not valid JSON");
  expect_words("[-Infinity]", "not valid JSON");
  expect_words("[01]", "not valid JSON");
  expect_words("[1 /* one */]", "not valid JSON");
  expect_words("['a']", "not valid JSON");
  expect_words("[\"a\nb\"]", "control character");
  expect_words("[\"\xff\"]", "UTF-8");
  expect_words("[\"\xc0\xaf\"]", "UTF-8");      // overlong '/'
  expect_words("[\"\xed\xa0\x80\"]", "UTF-8");  // a surrogate
  expect_words(R"(["\ud800"])", "surrogate");
  expect_words(R"(["\udc00"])", "not valid JSON");
  expect_words("{\"a\"", "not valid JSON");
  expect_words(std::string("[1]\0", 4), "byte 4: NUL");
  expect_words(std::string("{}\0{}", 5), "byte 3: NUL");
}

TEST(Json, RefusesNumbersThatItCannotKeep) {
  expect_words("[1e999]", "number overflow");
  expect_words("[18446744073709551616]", "does not fit 64 bits");
  expect_words("[-9223372036854775809]", "does not fit 64 bits");
}

TEST(Json, KeepsToItsLimits) {
  JsonLimits limits;
  limits.depth = 3;
  limits.values = 10;
  EXPECT_TRUE(parse_json("[[[1]]]", "f", limits).ok());
  EXPECT_NE(failure("[[[[1]]]]", limits).find("deeper than 3"), std::string::npos);
  EXPECT_NE(failure(R"({"a":{"a":{"a":{}}}})", limits).find("deeper than 3"), std::string::npos);
  EXPECT_TRUE(parse_json("[1,2,3,4,5,6,7,8,9]", "f", limits).ok());
  EXPECT_NE(failure("[1,2,3,4,5,6,7,8,9,0]", limits).find("more than 10 values"), std::string::npos);
  EXPECT_NE(failure(std::string(5'000'000, '[')).find("deeper than 64"), std::string::npos);
}

TEST(Json, NamesNoBytesOfAHostileFile) {
  const std::string words = failure("[\"" + std::string(1'000'000, 'x') + "\xff\"]");
  EXPECT_LT(words.size(), 300u);
  for (char c : words) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << words;
}

TEST(Json, TakesManyKeysInLinearTime) {  // quadratic insertion would take minutes here
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += (i ? ",\"k" : "\"k") + std::to_string(i) + "\":\"v\"";
  const auto r = parse_json(text + "}", "f");
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->size(), 200'000u);
}

TEST(Json, DumpsAsciiInOrder) {
  Json j;
  j["z"] = "\xc3\xa9";
  j["a"] = {1, 2.5};
  EXPECT_EQ(dump_json(j), "{\n  \"z\": \"\\u00e9\",\n  \"a\": [\n    1,\n    2.5\n  ]\n}\n");
  j["bad"] = "\xff";  // not UTF-8: replaced, not thrown
  EXPECT_NE(dump_json(j).find("\\ufffd"), std::string::npos);
  const auto again = parse_json(dump_json(j), "f");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->begin().key(), "z");
}

TEST(Json, DoesNotDependOnTheLocale) {
  if (!std::setlocale(LC_ALL, "de_DE.UTF-8") && !std::setlocale(LC_ALL, "fr_FR.UTF-8"))
    GTEST_SKIP() << "no such locale here";
  const auto r = parse_json("[1.5]", "f");
  const std::string out = r.ok() ? r->dump() : "";
  std::setlocale(LC_ALL, "C");
  EXPECT_EQ(out, "[1.5]");
}

}  // namespace
}  // namespace qz
