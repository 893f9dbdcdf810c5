// A GGUF file, or the parts of a split one, as a checkpoint: tensors under the names that the family has in config.json
// style, and a config.json made from the metadata.
#pragma once
#include <memory>
#include <string>

#include "base/context.h"
#include "io/checkpoint.h"

namespace qz {

// The file to open for `path`: itself if it is a .gguf file, the first one of a directory that has no safetensors; ""
// if it is neither. kInvalidArgument: a directory with several models.
Result<std::string> find_gguf(const std::string& path);

// path: what the user gave; file: what find_gguf made of it. config_only: tensors() stays empty.
Result<std::shared_ptr<const Checkpoint>> open_gguf(const Context& context, const std::string& path,
                                                    const std::string& file, bool config_only);

}  // namespace qz
