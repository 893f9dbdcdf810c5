// How authors publish originals that are not in 16 bits. Such weights are read as plain ones and never written.
#pragma once
#include "format/format.h"

namespace qz {

// The reader for a quantization_config that describes an original: can_store, layout, encode, config and extra_files
// are null. nullptr: it describes a quantized model, or nothing that is known.
const Format* find_source_format(const Json& quantization_config);

}  // namespace qz
