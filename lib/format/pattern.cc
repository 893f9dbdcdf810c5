#include "format/pattern.h"

#include <bitset>
#include <optional>
#include <vector>

namespace qz {
namespace {

constexpr size_t kMaxPattern = 1u << 16;  // bytes
constexpr int kMaxDepth = 64;             // nested groups: the parser recurses
constexpr std::string_view kSpecial = "\\^$.|?*+()[]{}";

using Set = std::bitset<256>;

// One step of Thompson's automaton (Regular Expression Search Algorithm, CACM 11(6), 1968): all states that the text so
// far can lead to are followed at once, so no input makes it go back.
struct Step {
  enum Kind { kSet, kSplit, kJump, kBegin, kEnd, kMatch } kind;
  int32_t a = 0, b = 0;  // kSet: index of the set; kSplit, kJump: next steps
};

class Compiler {
 public:
  explicit Compiler(std::string_view pattern) : pattern_(pattern) {}
  bool compile() {
    if (pattern_.size() > kMaxPattern || !alternatives(0) || at_ != pattern_.size()) return false;
    add({Step::kMatch});
    return true;
  }
  std::vector<Step> steps;
  std::vector<Set> sets;

 private:
  bool more() const { return at_ < pattern_.size(); }
  char peek() const { return pattern_[at_]; }
  int32_t here() const { return static_cast<int32_t>(steps.size()); }
  int32_t add(Step s) {
    steps.push_back(s);
    return here() - 1;
  }
  // Puts a split in front of step `at`; jumps inside what follows move along.
  void insert_split(int32_t at) {
    for (size_t i = static_cast<size_t>(at); i < steps.size(); ++i)
      if (steps[i].kind == Step::kSplit || steps[i].kind == Step::kJump) {
        ++steps[i].a;
        ++steps[i].b;
      }
    steps.insert(steps.begin() + at, {Step::kSplit, at + 1, 0});
  }

  bool alternatives(int depth) {
    if (depth > kMaxDepth) return false;
    std::vector<int32_t> ends;
    int32_t begin = here();
    if (!sequence(depth)) return false;
    while (more() && peek() == '|') {
      ++at_;
      insert_split(begin);
      ends.push_back(add({Step::kJump}));
      begin = steps[static_cast<size_t>(begin)].b = here();
      if (!sequence(depth)) return false;
    }
    for (int32_t e : ends) steps[static_cast<size_t>(e)].a = here();
    return true;
  }

  bool sequence(int depth) {
    while (more() && peek() != '|' && peek() != ')')
      if (!repeated(depth)) return false;
    return true;
  }

  bool repeated(int depth) {
    const int32_t begin = here();
    bool repeatable = false;
    if (!atom(depth, &repeatable)) return false;
    if (!more() || (peek() != '*' && peek() != '+' && peek() != '?')) return true;
    if (!repeatable) return false;
    const char kind = pattern_[at_++];
    if (more() && peek() == '?') ++at_;  // lazy: takes the same texts
    if (more() && (peek() == '*' || peek() == '+' || peek() == '?')) return false;
    if (kind == '+') {
      const int32_t split = add({Step::kSplit, begin, 0});
      steps[static_cast<size_t>(split)].b = here();
      return true;
    }
    insert_split(begin);
    if (kind == '*') add({Step::kJump, begin, 0});
    steps[static_cast<size_t>(begin)].b = here();
    return true;
  }

  bool atom(int depth, bool* repeatable) {
    const char c = pattern_[at_++];
    if (c == '^' || c == '$') {
      add({c == '^' ? Step::kBegin : Step::kEnd});
      return true;
    }
    *repeatable = true;
    if (c == '(') {
      if (more() && peek() == '?') {
        if (pattern_.substr(at_, 2) != "?:") return false;
        at_ += 2;
      }
      if (!alternatives(depth + 1) || !more() || peek() != ')') return false;
      ++at_;
      return true;
    }
    Set set;
    if (c == '.') {
      set.set();
      set.reset('\n');
    } else if (c == '[') {
      if (!bracket(&set)) return false;
    } else if (c == '\\') {
      if (!escape(&set)) return false;
    } else if (kSpecial.find(c) != std::string_view::npos) {
      return false;
    } else {
      set.set(static_cast<uint8_t>(c));
    }
    sets.push_back(set);
    add({Step::kSet, static_cast<int32_t>(sets.size()) - 1, 0});
    return true;
  }

  static void add_range(Set* set, int low, int high) {
    for (int i = low; i <= high; ++i) set->set(static_cast<size_t>(i));
  }

  // What follows a backslash: a class, or punctuation that stands for itself. Letters and digits have other meanings.
  bool escape(Set* set) {
    if (!more()) return false;
    const char c = pattern_[at_++];
    if (c == 'd' || c == 'w') add_range(set, '0', '9');
    if (c == 'w') {
      add_range(set, 'a', 'z');
      add_range(set, 'A', 'Z');
      set->set('_');
    }
    if (c == 's')
      for (char space : {' ', '\t', '\n', '\r', '\f', '\v'}) set->set(static_cast<uint8_t>(space));
    if (set->any()) return true;
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (alphanumeric || static_cast<uint8_t>(c) >= 0x80) return false;
    set->set(static_cast<uint8_t>(c));
    return true;
  }

  // [abc] [a-z] [^.]: the text after '['.
  bool bracket(Set* set) {
    const bool negated = more() && peek() == '^';
    if (negated) ++at_;
    bool first = true;
    while (more() && (peek() != ']' || first)) {
      first = false;
      Set one;
      const char c = pattern_[at_++];
      if (c == '[') return false;  // Python warns of a future meaning
      if (c == '\\' && !escape(&one)) return false;
      if (c != '\\') one.set(static_cast<uint8_t>(c));
      if (at_ + 1 < pattern_.size() && peek() == '-' && pattern_[at_ + 1] != ']') {
        const char high = pattern_[at_ + 1];
        if (c == '\\' || high == '\\' || static_cast<uint8_t>(high) < static_cast<uint8_t>(c)) return false;
        add_range(&one, static_cast<uint8_t>(c), static_cast<uint8_t>(high));
        at_ += 2;
      }
      *set |= one;
    }
    if (!more()) return false;
    ++at_;
    if (negated) set->flip();
    return true;
  }

  std::string_view pattern_;
  size_t at_ = 0;
};

class Matcher {
 public:
  Matcher(const Compiler& program, std::string_view text)
      : program_(program), text_(text), seen_(program.steps.size(), ~size_t{0}) {}
  bool run() {
    std::vector<int32_t> open = {0}, ready;
    for (size_t at = 0; at <= text_.size() && !open.empty(); ++at) {
      ready.clear();
      if (follow(&open, at, &ready)) return true;
      open.clear();
      if (at == text_.size()) break;
      for (int32_t s : ready)
        if (program_
                .sets[static_cast<size_t>(program_.steps[static_cast<size_t>(s)].a)][static_cast<uint8_t>(text_[at])])
          open.push_back(s + 1);
    }
    return false;
  }

 private:
  // Follows every step that can be reached from `open` without a character, each once, and collects those that wait for
  // one in `ready`; true if the end of the pattern is among them.
  bool follow(std::vector<int32_t>* open, size_t at, std::vector<int32_t>* ready) {
    while (!open->empty()) {
      const int32_t s = open->back();
      open->pop_back();
      if (seen_[static_cast<size_t>(s)] == at) continue;
      seen_[static_cast<size_t>(s)] = at;
      const Step& step = program_.steps[static_cast<size_t>(s)];
      switch (step.kind) {
        case Step::kMatch:
          return true;
        case Step::kSplit:
          open->push_back(step.b);
          [[fallthrough]];
        case Step::kJump:
          open->push_back(step.a);
          break;
        case Step::kBegin:
          if (at == 0) open->push_back(s + 1);
          break;
        case Step::kEnd:
          if (at == text_.size()) open->push_back(s + 1);
          break;
        case Step::kSet:
          ready->push_back(s);
          break;
      }
    }
    return false;
  }

  const Compiler& program_;
  std::string_view text_;
  std::vector<size_t> seen_;  // per step: the last position at which it was followed
};

// "^model\.layers\.0$" and the like, which make up most of a long list: compared without compiling. nullopt if it is
// not so simple.
std::optional<bool> match_literal(std::string_view pattern, std::string_view text) {
  if (!pattern.empty() && pattern[0] == '^') pattern.remove_prefix(1);
  bool same = true;
  size_t t = 0;
  for (size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == '$' && i + 1 == pattern.size()) return same && t == text.size();
    if (c == '\\' && i + 1 < pattern.size() && pattern[i + 1] == '.')
      c = pattern[++i];
    else if (kSpecial.find(c) != std::string_view::npos)
      return std::nullopt;
    if (i + 1 < pattern.size() && std::string_view("*+?{").find(pattern[i + 1]) != std::string_view::npos)
      return std::nullopt;
    same = same && t < text.size() && text[t] == c;
    ++t;
  }
  return same;
}

}  // namespace

Result<bool> match_pattern(std::string_view pattern, std::string_view text) {
  if (const std::optional<bool> simple = match_literal(pattern, text)) return *simple;
  Compiler program(pattern);
  if (!program.compile())
    return error(Code::kUnsupported, "pattern '%.200s': not one of the regular expressions that are understood",
                 std::string(pattern).c_str());
  return Matcher(program, text).run();
}

std::string escape_pattern(std::string_view name) {
  std::string out;
  for (char c : name) {
    if (kSpecial.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace qz
