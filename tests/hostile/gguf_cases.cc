// Rows GG: GGUF files, broken one place at a time.
#include <cstring>

#include "hostile/place.h"

namespace hostile {
namespace {

constexpr char kGolden[] = "quantized/llama-128-gguf-q4_0";
constexpr char kFile[] = "model.gguf";
constexpr size_t kTensors = 8, kKeys = 16;  // where the counts are

template <class T>
std::string number(T v) {
  return std::string(reinterpret_cast<const char*>(&v), sizeof v);
}
std::string text(const std::string& v) { return number(uint64_t{v.size()}) + v; }

// Behind the name of a key or tensor.
size_t behind(const std::string& bytes, const std::string& name) {
  const size_t at = bytes.find(text(name));
  EXPECT_NE(at, std::string::npos) << name;
  return at == std::string::npos ? 0 : at + 8 + name.size();
}

using Break = std::function<void(std::string*)>;

Break put(size_t at, const std::string& value) {
  return [=](std::string* b) { b->replace(at, value.size(), value); };
}
// `offset` bytes behind a name.
Break put_behind(const std::string& name, size_t offset, const std::string& value) {
  return [=](std::string* b) { b->replace(behind(*b, name) + offset, value.size(), value); };
}
Break rename(const std::string& from, const std::string& to) {
  return [=](std::string* b) { b->replace(behind(*b, from) - from.size(), to.size(), to); };
}

}  // namespace

void add_gguf_cases(Cases* cases) {
  const auto add = [&](const char* id, const char* words, const Break& edit, qz_status status = QZ_STATUS_BAD_FILE,
                       bool forward = false) {
    cases->push_back({std::string("GG ") + id, status, words, [=](Place* place) {
                        ModelFiles files = ModelFiles::golden(kGolden);
                        const std::string before = files.files.at(kFile);
                        edit(&files.files.at(kFile));
                        EXPECT_NE(files.files.at(kFile), before);
                        return forward ? place->forward(files) : place->open(files);
                      }});
  };
  const qz_status unsupported = QZ_STATUS_UNSUPPORTED;
  const std::string q = "blk.0.attn_q.weight", norm = "blk.0.attn_norm.weight";

  // The container.
  add("empty file", "ends inside the magic number", [](std::string* b) { b->clear(); });
  add("another magic number", "does not begin with GGUF", put(0, "GGML"));
  add("version 1", "GGUF version 1, 2 and 3 are read", put(4, number(uint32_t{1})), unsupported);
  add("version 4", "GGUF version 4, 2 and 3 are read", put(4, number(uint32_t{4})), unsupported);
  add("big-endian", "is big-endian", put(4, std::string("\0\0\0\3", 4)), unsupported);
  add("cut after the version", "ends inside the number of tensors", [](std::string* b) { b->resize(8); });
  add("2^40 tensors", "says that it has 1099511627776 tensors", put(kTensors, number(uint64_t{1} << 40)));
  add("2^63 keys", "says that it has 9223372036854775808 keys", put(kKeys, number(uint64_t{1} << 63)));
  add("one tensor more than there are", "tensor 22 of 22 has a string of", put(kTensors, number(uint64_t{22})));
  add("one key less than there are", "tensor 'general.file_type' has", put(kKeys, number(uint64_t{27})));
  add("name of 2^60 bytes", "key 1 of 28 has a string of 1152921504606846976 bytes",
      put(24, number(uint64_t{1} << 60)));
  add("text of 2^62 bytes", "key 'general.name' has a string of 4611686018427387904 bytes",
      put_behind("general.name", 4, number(uint64_t{1} << 62)));
  add("value of type 13", "key 'llama.block_count' has values of type 13",
      put_behind("llama.block_count", 0, number(uint32_t{13})));
  add("list of lists", "key 'tokenizer.ggml.merges' is a list of lists",
      put_behind("tokenizer.ggml.merges", 4, number(uint32_t{9})), unsupported);
  add("list of 2^50 values", "key 'tokenizer.ggml.token_type' has 1125899906842624 values",
      put_behind("tokenizer.ggml.token_type", 8, number(uint64_t{1} << 50)));
  add("two keys of one name", "key 'llama.attention.head_count' occurs twice",
      rename("llama.attention.key_length", "llama.attention.head_count"));
  add("cut inside the keys", "ends inside key 'tokenizer.ggml.token_type'",
      [](std::string* b) { b->resize(behind(*b, "tokenizer.ggml.token_type") + 400); });
  add("cut inside the tensors", "ends inside tensor 'blk.0.attn_q.weight'",
      [=](std::string* b) { b->resize(behind(*b, q) + 6); });
  add("cut inside the data", "tensor 'blk.1.ffn_up.weight' of 18432 bytes reaches",
      [](std::string* b) { b->resize(b->size() - 100); });

  // Tensors.
  add("no dimensions", "tensor 'blk.0.attn_q.weight' has 0 dimensions", put_behind(q, 0, number(uint32_t{0})));
  add("five dimensions", "tensor 'blk.0.attn_q.weight' has 5 dimensions", put_behind(q, 0, number(uint32_t{5})));
  add("dimension of 0", "has 0 as dimension 1", put_behind(q, 12, number(uint64_t{0})));
  add("dimension of 2^61", "has 2305843009213693952 as dimension 1", put_behind(q, 12, number(uint64_t{1} << 61)));
  add("negative dimension", "has 18446744073709551615 as dimension 0", put_behind(q, 4, number(~uint64_t{0})));
  add("rows that blocks do not divide", "has rows of 100 elements, Q4_0 has blocks of 32",
      put_behind(q, 4, number(uint64_t{100})));
  add("type 4, which was removed", "is of ggml type 4, which is not known", put_behind(q, 20, number(uint32_t{4})),
      unsupported);
  add("type without a decoder", "'blk.0.attn_q.weight' is of type MXFP4, whose codes are not read",
      put_behind(q, 20, number(uint32_t{39})), unsupported);
  add("offset between alignments", "begins at 67073, not a multiple of the alignment 32",
      [=](std::string* b) { b->replace(behind(*b, q) + 24, 8, number(uint64_t{67073})); });
  add("offset of 2^63", "tensor 'blk.0.attn_q.weight' of 9216 bytes reaches",
      put_behind(q, 24, number(uint64_t{1} << 63)));
  add("tensors that share bytes", "' share bytes", put_behind(q, 24, number(uint64_t{0})));
  add("two tensors of one name", "tensor 'blk.1.attn_q.weight' occurs twice", rename(q, "blk.1.attn_q.weight"));
  add("tensor that no family has", "tensor 'blk.0.attn_x.weight' has no place in a model of the family llama",
      rename(q, "blk.0.attn_x.weight"), unsupported);
  add("embedding missing", "tensor 'token_embd.weight' is missing or no matrix",
      rename("token_embd.weight", "token_embx.weight"));
  add("layer beyond the model", "1 missing tensor: model.layers.0.input_layernorm.weight",
      rename(norm, "blk.7.attn_norm.weight"));
  add(
      "infinite scale", "the scale of block 0 is not finite",
      [](std::string* b) { (*b)[83264] = '\0', (*b)[83265] = '\x7c'; }, QZ_STATUS_BAD_FILE, true);
  add(
      "NaN in a norm", "input_layernorm.weight': element 0 of 128 is NaN",
      [](std::string* b) { b->replace(64320, 4, std::string("\0\0\xc0\x7f", 4)); }, QZ_STATUS_BAD_FILE, true);

  // Metadata.
  add(
      "another architecture", "architecture 'llamb', llama, qwen2",
      [](std::string* b) { (*b)[behind(*b, "general.architecture") + 16] = 'b'; }, unsupported);
  add("architecture is a number", "key 'general.architecture' is missing or not text", [](std::string* b) {
    const size_t at = behind(*b, "general.architecture");
    b->replace(at, 4 + 8 + 5, number(uint32_t{10}) + number(uint64_t{7}));
    b->append(64, '\0');  // what the data has moved
  });
  add("size missing", "key 'llama.embedding_length' is missing",
      rename("llama.embedding_length", "llama.embedding_lengtx"));
  add("size is text", "key 'llama.embedding_length' is string, expected one number", [](std::string* b) {
    b->replace(behind(*b, "llama.embedding_length"), 8, number(uint32_t{8}) + text("wide"));
    b->append(64, '\0');  // what the data has moved
  });
  add("NaN as epsilon", "key 'llama.attention.layer_norm_rms_epsilon' is not finite",
      put_behind("llama.attention.layer_norm_rms_epsilon", 4, number(0x7fc00000u)));
  add("2^31 layers", "model.gguf: num_hidden_layers must be from 1 to 4096",
      put_behind("llama.block_count", 4, number(uint32_t{1} << 31)));
  add("four layers, two there", "18 missing tensors: model.layers.2",
      put_behind("llama.block_count", 4, number(uint32_t{4})));
  add("another width", "must have shape [256, 64]", put_behind("llama.embedding_length", 4, number(uint32_t{64})));
  add("heads that are no pairs", "no pairs for each of 96 heads",
      put_behind("llama.attention.head_count", 4, number(uint32_t{96})));
  add("alignment of 24", "key 'general.alignment' is 24, expected a power of two", [](std::string* b) {
    b->replace(kKeys, 8, number(uint64_t{29}));
    b->insert(24, text("general.alignment") + number(uint32_t{4}) + number(uint32_t{24}));
  });
  add("part 2 of 3 alone", "is part 2 of 3 by its keys", [](std::string* b) {
    b->replace(kKeys, 8, number(uint64_t{30}));
    b->insert(24, text("split.no") + number(uint32_t{2}) + number(uint16_t{1}) + text("split.count") +
                      number(uint32_t{2}) + number(uint16_t{3}));
    b->append(64, '\0');  // what the data has moved
  });

  cases->push_back({"GG two models in a directory", QZ_STATUS_INVALID_ARGUMENT,
                    "holds several models, a.gguf and b.gguf", [](Place* place) {
                      ModelFiles files = ModelFiles::golden(kGolden);
                      files.files["a.gguf"] = files.files["b.gguf"] = files.files.at(kFile);
                      files.files.erase(kFile);
                      return place->open(files);
                    }});
}

}  // namespace hostile
