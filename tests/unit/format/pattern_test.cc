#include "format/pattern.h"

#include <gtest/gtest.h>

namespace qz {
namespace {

constexpr const char* kNames[] = {"model.layers.0.self_attn.q_proj", "model.layers.10.mlp.down_proj",
                                  "model.layers.1.mlp.gate",         "lm_head",
                                  "model.visual.blocks.3.attn.qkv",  "modelxlayers"};

TEST(Pattern, AgreesWithPython) {
  // Whether each pattern matches each name: bool(re.match(pattern, name)) of Python 3.11.
  struct {
    const char* pattern;
    const char* matches;
  } const cases[] = {
      {R"(^model\.layers\.0\.self_attn\.q_proj$)", "100000"},
      {R"(model\.layers\.1)", "011000"},
      {R"(model\.layers\.1\.)", "001000"},
      {R"(.*down_proj)", "010000"},
      {R"(.*\.(q|k|v|o)_proj$)", "100000"},
      {R"(model\.layers\.[0-9]+\.mlp\..*)", "011000"},
      {R"(model\.layers\.\d+\.(?:self_attn|mlp)\.)", "111000"},
      {R"(.*mlp.gate$)", "001000"},
      {R"(lm_head)", "000100"},
      {R"(.*lm_head)", "000100"},
      {R"(^(lm_head|model\.layers\.0\..*)$)", "100100"},
      {R"(model.layers)", "111001"},
      {R"(model\.layers\.(1|10)\.mlp)", "011000"},
      {R"((a|b|)model)", "111011"},
      {R"([^.]+\.visual)", "000010"},
      {R"(model\.[a-z]*\.blocks\.[0-3]\.)", "000010"},
      {R"((model\.)?(layers\.)*x?)", "111111"},
      {R"(.*?gate$)", "001000"},
      {R"(model\.(layers\.(0|1\w*)\.)+self)", "100000"},
      {"", "111111"},
      {R"(^$)", "000000"},
      {R"($)", "000000"},
      {R"(x*lm_h[ae])", "000100"},
      {R"(lm_head.+)", "000000"},
      {R"(.*[\d]\.mlp)", "011000"},
      {R"([]m]odel)", "111011"},
      {R"(\w+$)", "000101"},
  };
  for (const auto& c : cases)
    for (size_t i = 0; i < std::size(kNames); ++i) {
      Result<bool> match = match_pattern(c.pattern, kNames[i]);
      ASSERT_TRUE(match.ok()) << match.status().text();
      EXPECT_EQ(*match, c.matches[i] == '1') << c.pattern << " on " << kNames[i];
    }
}

TEST(Pattern, WhatIsNotUnderstoodIsNamed) {
  for (const char* p :
       {"(?!model)", "(?=a)", "(?i)model", "(?P<x>a)", "a{2}", "a{2,3}b", "\\bmodel",    "(a)\\1", "(a",  "a)",
        "[a",        "[z-a]", "*a",        "a**",      "a+*",  "a\\",     "[[:alpha:]]", "a|*b",   "\\Z", "^*"}) {
    Result<bool> match = match_pattern(p, "model");
    ASSERT_FALSE(match.ok()) << p;
    EXPECT_EQ(match.status().code(), Code::kUnsupported);
    EXPECT_NE(match.status().text().find(p), std::string::npos) << match.status().text();
  }
}

TEST(Pattern, HostilePatternsTakeLinearTime) {
  // Backtracking engines need 2^n steps for the first two, and recurse n times for the others.
  const std::string many_a(4000, 'a');
  Result<bool> match = match_pattern("(a*)*b", many_a);
  ASSERT_TRUE(match.ok());
  EXPECT_FALSE(*match);
  std::string options, letters;
  for (int i = 0; i < 1000; ++i) options += "a?", letters += "a";
  match = match_pattern(options + letters + "$", letters);
  ASSERT_TRUE(match.ok());
  EXPECT_TRUE(*match);
  EXPECT_FALSE(match_pattern(std::string(100000, '('), "a").ok());
  EXPECT_FALSE(match_pattern(std::string(100000, '.'), "a").ok());
  EXPECT_FALSE(match_pattern(std::string(65, '(') + std::string(65, ')'), "a").ok());
}

TEST(Pattern, EscapedNamesMatchThemselvesOnly) {
  for (const char* name : {"model.layers.0.mlp.up_proj", "a+b", "x[0].y{1}", "a^b$c|d(e)f*g?\\", "lm_head", "a-b c"}) {
    const std::string pattern = std::string("^").append(escape_pattern(name)).append("$");
    Result<bool> match = match_pattern(pattern, name);
    ASSERT_TRUE(match.ok()) << match.status().text();
    EXPECT_TRUE(*match) << pattern;
    EXPECT_FALSE(*match_pattern(pattern, std::string(name) + "x"));
  }
  EXPECT_EQ(escape_pattern("model.layers"), "model\\.layers");
  EXPECT_FALSE(*match_pattern("^model\\.layers$", "modelxlayers"));
}

}  // namespace
}  // namespace qz
