// The regular expressions that quantization configurations use for module names, matched in time proportional to the
// product of the two lengths whatever the pattern: they come from untrusted files (std::regex backtracks, recurses and
// throws).
#pragma once
#include <string>
#include <string_view>

#include "base/status.h"

namespace qz {

// Python's re.match: the pattern must match at the beginning of `text`, not necessarily to its end. Understood:
// literals, escaped punctuation, . \d \w \s [sets] (groups) (?:groups) | * + ? and their lazy forms, ^ $. Anything else
// (look-around, {m,n}, \b, back-references) is kUnsupported, with the pattern.
Result<bool> match_pattern(std::string_view pattern, std::string_view text);

// A pattern that matches `name` and nothing else, for a name between ^ and $: punctuation that has a meaning gets a
// backslash.
std::string escape_pattern(std::string_view name);

}  // namespace qz
