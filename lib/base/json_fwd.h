// `Json` by name, for headers that only mention it: the library's own header costs a compiler two seconds.
#pragma once
#include <nlohmann/json_fwd.hpp>

namespace qz {

using Json = nlohmann::ordered_json;

}  // namespace qz
