// tokenizer.json as GGUF's keys. Byte-level BPE (GPT-2 and its descendants) and SentencePiece's BPE with byte fallback
// (Llama 2); what llama.cpp cannot be told is left out with a line in the log.
#pragma once
#include "io/gguf.h"
#include "model/model.h"

namespace qz {

// Reads tokenizer.json, tokenizer_config.json and config.json's ids from the model's directory. A model without a
// tokenizer gets tokenizer.ggml.model "none": llama.cpp then takes token ids only. kBadFile: files that contradict
// themselves or the vocabulary.
Status add_tokenizer(const Model& model, GgufBuilder* out);

}  // namespace qz
