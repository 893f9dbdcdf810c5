// Rows CA: calibration tokens and the files that hold them.
#include "hostile/place.h"
#include "hostile/token_file.h"

namespace hostile {
namespace {

std::function<Outcome(Place*)> loading(const std::function<void(TokenFile*)>& edit) {
  return [edit](Place* place) {
    TokenFile file;
    EXPECT_EQ(place->load_tokens(file.bytes()).status, QZ_STATUS_OK) << qz_last_error();
    edit(&file);
    return place->load_tokens(file.bytes());
  };
}

std::function<Outcome(Place*)> loading_bytes(const std::function<void(std::string*)>& edit) {
  return [edit](Place* place) {
    std::string bytes = TokenFile().bytes();
    edit(&bytes);
    return place->load_tokens(bytes);
  };
}

// GPTQ on llama-tied with the tokens of a file.
Outcome calibrate(Place* place, const TokenFile& file) {
  const std::string path = place->root() + "/tokens.qz";
  std::ofstream(path, std::ios::binary) << file.bytes();
  qz_calib* calib = nullptr;
  EXPECT_EQ(qz_calib_load(place->context(), path.c_str(), &calib), QZ_STATUS_OK) << qz_last_error();
  const Handle<qz_calib> owner(calib);
  return place->gptq(place->good("tests/data/goldens/models/llama-tied").get(), calib);
}

std::function<Outcome(Place*)> generating(int64_t sequences, int64_t length) {
  return [=](Place* place) {
    const Handle<qz_calib> calib = place->tokens(0);
    const Handle<qz_model> model = place->good("tests/data/goldens/models/llama-tied");
    return outcome(qz_calib_add_generated(calib.get(), model.get(), sequences, length, 1, nullptr, nullptr));
  };
}

}  // namespace

void add_token_cases(Cases* cases) {
  const auto add = [&](const char* id, qz_status status, const char* words, std::function<Outcome(Place*)> run) {
    cases->push_back({id, status, words, std::move(run)});
  };
  const qz_status bad = QZ_STATUS_BAD_FILE, invalid = QZ_STATUS_INVALID_ARGUMENT;
  add("CA01 token of the vocabulary's size", invalid, "sequence 1, position 39: token id 256 is outside",
      [](Place* place) {
        TokenFile file;
        file.ids[99] = 256;
        return calibrate(place, file);
      });
  add("CA01 negative token in a file", invalid, "position 3: token id -7 is outside", [](Place* place) {
    TokenFile file;
    file.ids[3] = -7;
    return calibrate(place, file);
  });
  add("CA01 negative token added", invalid, "token 2 is -1", [](Place* place) {
    const int32_t ids[] = {1, 2, -1};
    return outcome(qz_calib_add_tokens(place->tokens(0).get(), ids, 3));
  });
  add("CA02 empty set", invalid, "qz_gptq_run: 'model.layers.0.self_attn.q_proj' is to be solved", [](Place* place) {
    return place->gptq(place->good("tests/data/goldens/models/llama-tied").get(), place->tokens(0).get());
  });
  add("CA02 empty sequence", invalid, "a sequence needs at least one token", [](Place* place) {
    const int32_t id = 0;
    return outcome(qz_calib_add_tokens(place->tokens(0).get(), &id, 0));
  });
  add("CA03 strict: fewer tokens than the widest layer has inputs", invalid,
      "100 calibration tokens are fewer than the 160 inputs of the widest layer", [](Place* place) {
        return place->gptq(place->good("tests/data/goldens/models/llama-tied").get(), place->tokens(100).get(), 1);
      });
  add("CA04 sequence that is not there", invalid, "sequence 5 of 1", [](Place* place) {
    const int32_t* ids = nullptr;
    size_t count = 0;
    return outcome(qz_calib_get(place->tokens(3).get(), 5, &ids, &count));
  });
  add("CA05 text longer than the model, written by itself", invalid, "length from 1 to 64, found 2 and 65",
      generating(2, 65));
  add("CA05 -1 texts written by itself", invalid, "length from 1 to 64, found -1 and 8", generating(-1, 8));
  add("CA06 token file missing", QZ_STATUS_IO, "nothing.qz: cannot open", [](Place* place) {
    qz_calib* calib = nullptr;
    return outcome(qz_calib_load(place->context(), (place->root() + "/nothing.qz").c_str(), &calib));
  });
  add("CA06 token file is a directory", QZ_STATUS_IO, "qz_calib_load: : not a regular file", [](Place* place) {
    qz_calib* calib = nullptr;
    return outcome(qz_calib_load(place->context(), place->root().c_str(), &calib));
  });
  add("CA06 another kind of file", bad, "not a token file: expected it to begin with 'QZTOKENS'",
      loading([](TokenFile* f) { f->magic = "QZTOKENZ"; }));
  add("CA06 later version", bad, "token file version 2; expected 1", loading([](TokenFile* f) { f->version = 2; }));
  add("CA06 reserved bytes set", bad, "damaged: byte 12 to 15 are not zero",
      loading([](TokenFile* f) { f->zero = 1; }));
  add("CA06 2^60 sequences", bad, "1152921504606846976 sequences of 100 tokens; at most",
      loading([](TokenFile* f) { f->sequences = uint64_t{1} << 60; }));
  add("CA06 2^33 tokens", bad, "2 sequences of 8589934592 tokens; at most",
      loading([](TokenFile* f) { f->tokens = uint64_t{1} << 33; }));
  add("CA06 fewer tokens than the content", bad, "damaged: more than the 412 bytes that its counts give",
      loading([](TokenFile* f) { f->tokens = 99; }));
  add("CA06 more tokens than the content", bad, "damaged: 416 bytes of content; its counts give 420",
      loading([](TokenFile* f) { f->tokens = 101; }));
  add("CA06 lengths above the tokens", bad, "the sequences are longer than the 100 tokens",
      loading([](TokenFile* f) { f->lengths = {60, 41}; }));
  add("CA06 length of 2^64 - 1", bad, "the sequences are longer than the 102 tokens", loading([](TokenFile* f) {
        f->lengths = {101, ~uint64_t{0}};
        f->tokens = 102;
        f->ids.resize(102);
      }));
  add("CA06 lengths below the tokens", bad, "1 tokens belong to no sequence",
      loading([](TokenFile* f) { f->lengths = {60, 39}; }));
  add("CA06 content changed", bad, "damaged: its SHA-256 does not match",
      loading_bytes([](std::string* b) { b->back() = '\1'; }));
  add("CA06 frame damaged", bad, "damaged: Unknown frame descriptor",
      loading_bytes([](std::string* b) { (*b)[96] = 0; }));
  add("CA06 file cut", bad, "damaged: ends too early, at byte",
      loading_bytes([](std::string* b) { b->resize(b->size() - 10); }));
  add("CA06 bytes after the frame", bad, "3 bytes follow the content",
      loading_bytes([](std::string* b) { *b += "end"; }));
  add("CA07 set saved where nothing can be", QZ_STATUS_IO, "/proc/tokens.qz.qz-partial: cannot create",
      [](Place* place) { return outcome(qz_calib_save(place->tokens(3).get(), "/proc/tokens.qz")); });
}

}  // namespace hostile
