// Seeded damage in number: every mutant of a header, index, configuration, report, plan, description or token file may
// be accepted or refused, but never breaks the process, never ends in an internal error, and never asks for more memory
// than a bound. mutants_test [count [count of each format]]; a mutant depends
// on its number only.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "hostile/mutator.h"
#include "hostile/place.h"
#include "hostile/token_file.h"

// One allocation above this is reported by the address sanitizer; without it the address space is limited.
extern "C" const char* __asan_default_options();
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() {
  return "max_allocation_size_mb=256";
}

namespace hostile {
namespace {

uint64_t mutant_count = 2000, mutants_of_format = 2000;

constexpr char kPlan[] =
    R"({"rules": [{"glob": "*", "method": "gptq", "scheme": "w4g32", "gptq": {"block": 64, "order": "static",
 "sweeps": 2, "search": true, "signed_grid": true, "refit": true, "allow_rtn_fallback": false, "damp": 0.01,
 "metric": 2, "metric_ridge": 0.1, "drift": "chosen", "residual": 0.5}}, {"glob": "*.mlp.[dg]*", "method": "rtn",
 "scheme": "w8"}, {"glob": "lm_head", "method": "keep"}]})";
constexpr char kArch[] =
    R"({"base": "llama", "name": "new", "layer": "model.layers.{}", "q": "self_attn.q_proj", "norm": "rms",
 "position": "rope", "position_offset": 0, "mlp": "gated", "default_window": 0, "default_tied": false,
 "keys": {"hidden": "hidden_size", "norm_eps": "rms_norm_eps", "head_dim": "head_dim"}})";

// One block, 64 wide, every layer with random weights.
ModelFiles tiny_model() {
  ModelFiles model;
  model.files["config.json"] = R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float16",
 "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4,
 "num_key_value_heads": 4, "head_dim": 16, "vocab_size": 64, "max_position_embeddings": 128, "rms_norm_eps": 1e-06,
 "hidden_act": "silu", "bos_token_id": 0, "eos_token_id": [1, 2], "tie_word_embeddings": false,
 "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}})";
  Mutator random(0);
  std::vector<Tensor> tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    size_t n = 1;
    for (const int64_t d : shape) n *= static_cast<size_t>(d);
    Tensor t{name + ".weight", "F16", std::move(shape), std::string(2 * n, '\0')};
    for (size_t i = 0; i < n; ++i) set_half(&t, i, static_cast<uint16_t>(0x2800 | (random.next() & 0x87FF)));
    tensors.push_back(std::move(t));
  };
  const std::string block = "model.layers.0.";
  add("model.embed_tokens", {64, 64});
  for (const char* name : {"input_layernorm", "post_attention_layernorm"}) add(block + name, {64});
  for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                           "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
    add(block + name, {64, 64});
  add("model.norm", {64});
  add("lm_head", {64, 64});
  model.files[kSingle] = make_safetensors(tensors);
  return model;
}

// What the formats hold; the names are those of directories.
struct Kind {
  const char* scheme;
  qz_format format;
};
constexpr Kind kKinds[] = {{"w4g32a", QZ_FORMAT_COMPRESSED},
                           {"w3g32", QZ_FORMAT_GPTQ},
                           {"w8a", QZ_FORMAT_GPTQ_V2},
                           {"w4tensora", QZ_FORMAT_COMPRESSED},
                           {"w8a8", QZ_FORMAT_COMPRESSED},
                           {"fp8", QZ_FORMAT_COMPRESSED},
                           {"w4g32", QZ_FORMAT_AWQ},
                           {"nf4-dq", QZ_FORMAT_BITSANDBYTES},
                           {"llm-int8", QZ_FORMAT_BITSANDBYTES},
                           {"w4g32f", QZ_FORMAT_HQQ},
                           {"w8", QZ_FORMAT_EETQ},
                           {"q4_0", QZ_FORMAT_GGUF}};

class Mutants : public ::testing::Test {
 protected:
  struct Base {
    std::string dir;
    ModelFiles files;
    std::vector<std::string> names;
  };

  void SetUp() override {
    original_ = place_.good(tiny_model());
    calib_ = place_.tokens(96, 64);
    save_in_shards();
    write_imatrix();
    for (const Kind& kind : kKinds) quantize(kind);
  }

  void write_imatrix() {
    const std::string path = place_.root() + "/imatrix";
    ASSERT_EQ(qz_imatrix_write(original_.get(), calib_.get(), path.c_str(), nullptr, nullptr), QZ_STATUS_OK)
        << qz_last_error();
    imatrices_.push_back(qz::slurp(path));
    const auto number = [](int32_t v) { return std::string(reinterpret_cast<const char*>(&v), sizeof v); };
    const std::string name = "blk.0.attn_q.weight";  // the older file, of one layer
    imatrices_.push_back(number(1) + number(static_cast<int32_t>(name.size())) + name + number(3) + number(64) +
                         std::string(64 * 4, '\1'));
  }

  void save_in_shards() {
    qz_save_options options = QZ_INIT(qz_save_options);
    options.format = QZ_FORMAT_PLAIN;
    options.shard_bytes = 32000;
    const std::string dir = place_.root() + "/shards";
    ASSERT_EQ(qz_model_save(original_.get(), dir.c_str(), &options), QZ_STATUS_OK) << qz_last_error();
    add_base(dir);
  }

  void quantize(const Kind& kind) {
    qz_scheme scheme = QZ_INIT(qz_scheme);
    ASSERT_EQ(qz_scheme_preset(kind.scheme, &scheme), QZ_STATUS_OK) << qz_last_error();
    const std::string dir = place_.root() + "/" + kind.scheme;
    qz_run_options run = QZ_INIT(qz_run_options);
    run.format = kind.format;
    run.stream_to = dir.c_str();
    qz_model* made = nullptr;
    ASSERT_EQ(qz_rtn_run(original_.get(), &scheme, &run, &made), QZ_STATUS_OK) << qz_last_error();
    qz_model_free(made);
    add_base(dir);
  }

  void add_base(const std::string& dir) {
    Base base{dir, ModelFiles::load(dir), {}};
    for (const auto& [name, bytes] : base.files.files) base.names.push_back(name);
    bases_.push_back(std::move(base));
  }

  // Ok or a refusal in one line; anything else is a bug.
  bool ok(qz_status status) {
    if (status == QZ_STATUS_OK) return true;
    const std::string words = qz_last_error();
    EXPECT_NE(status, QZ_STATUS_INTERNAL) << words;
    EXPECT_NE(status, QZ_STATUS_OUT_OF_MEMORY) << words;
    EXPECT_NE(words, "");
    EXPECT_EQ(words.find_first_of("\n\r"), std::string::npos) << words;
    return false;
  }

  // Everything that reads a model. Returns whether it could be opened.
  bool use(Mutator* random, const std::string& dir, const char* arch = nullptr) {
    qz_model_options options = QZ_INIT(qz_model_options);
    options.strict = random->one_in(4);
    options.arch_json = arch;
    options.config_only = random->one_in(8);
    qz_model* opened = nullptr;
    if (random->one_in(4)) ok(qz_model_verify(original_.get(), dir.c_str(), nullptr, 0, nullptr));
    if (!ok(qz_model_open(place_.context(), dir.c_str(), &options, &opened))) return false;
    const Handle<qz_model> model(opened);
    qz_model_info info = QZ_INIT(qz_model_info);
    EXPECT_TRUE(ok(qz_model_get_info(opened, &info)));
    for (size_t i = 0; i < qz_model_module_count(opened); ++i) {
      qz_module_info module = QZ_INIT(qz_module_info);
      EXPECT_TRUE(ok(qz_model_get_module(opened, i, &module)));
    }
    for (size_t i = 0; i < qz_report_count(opened); ++i) {
      qz_module_report report = QZ_INIT(qz_module_report);
      EXPECT_TRUE(ok(qz_report_get(opened, i, &report)));
    }
    size_t need = 0;
    ok(qz_report_to_json(opened, nullptr, 0, &need));
    qz_session* session = nullptr;
    if (ok(qz_session_create(opened, 0, &session))) {
      const int32_t ids[] = {3, 1, 4, 1};
      std::vector<float> logits(static_cast<size_t>(info.vocab));
      const qz_tensor view = {logits.data(), {1, info.vocab}, {info.vocab, 1}, 2, QZ_DTYPE_F32, {1, 0}};
      ok(qz_session_logits(session, ids, 4, &view));
      qz_session_free(session);
    }
    if (random->one_in(8)) run(opened, nullptr, nullptr);
    if (random->one_in(16)) save(opened);
    return true;
  }

  void run(const qz_model* model, const qz_plan* plan, const qz_calib* calib) {
    qz_scheme scheme = QZ_INIT(qz_scheme);
    scheme.group = -1;
    qz_model* made = nullptr;
    ok(plan ? qz_plan_run(plan, calib, nullptr, &made) : qz_rtn_run(model, &scheme, nullptr, &made));
    qz_model_free(made);
  }

  void save(const qz_model* model) {
    qz_save_options options = QZ_INIT(qz_save_options);
    options.format = QZ_FORMAT_PLAIN;
    if (ok(qz_model_save(model, place_.out().c_str(), &options))) std::filesystem::remove_all(place_.out());
  }

  bool directory(Mutator* random) {
    const Base& base = bases_[random->below(bases_.size())];
    return file(random, base, base.names[random->below(base.names.size())]);
  }

  // Mostly the header: the data is what most of the bytes are.
  std::string damaged_gguf(Mutator* random, const std::string& bytes) {
    if (random->one_in(8)) return random->damage(bytes, false);
    const size_t header = bytes.find("blk.0.ffn_down.weight") + 64;
    return random->damage(bytes.substr(0, header), false) + bytes.substr(header);
  }

  bool file(Mutator* random, const Base& base, const std::string& name) {
    const std::string& bytes = base.files.files.at(name);
    std::string mutant = bytes;
    if (name.find(".gguf") != std::string::npos) {
      mutant = damaged_gguf(random, bytes);
    } else if (name.find(".safetensors") == std::string::npos || name == kIndex) {
      mutant = random->damage(bytes, true);
    } else if (random->one_in(4)) {
      mutant = random->damage(bytes, false);
    } else {  // the header, mostly of the right length
      uint64_t n = 0;
      std::memcpy(&n, bytes.data(), 8);
      const std::string header = random->damage(bytes.substr(8, n), true);
      mutant = qz::length_word(random->one_in(8) ? n : header.size()) + header + bytes.substr(8 + n);
    }
    std::ofstream(base.dir + "/" + name, std::ios::binary) << mutant;
    const bool opened = use(random, base.dir);
    std::ofstream(base.dir + "/" + name, std::ios::binary) << bytes;
    return opened;
  }

  bool plan(Mutator* random) {
    const std::string json = random->damage(kPlan, true);
    qz_plan* made = nullptr;
    if (!ok(qz_plan_from_json(original_.get(), json.data(), json.size(), &made))) return false;
    const Handle<qz_plan> plan(made);
    size_t need = 0;
    EXPECT_TRUE(ok(qz_plan_to_json(made, nullptr, 0, &need)));
    if (random->one_in(8)) run(original_.get(), made, calib_.get());
    return true;
  }

  bool imatrix(Mutator* random) {
    const std::string bytes = random->damage(imatrices_[random->below(imatrices_.size())], false);
    const std::string path = place_.root() + "/imatrix";
    std::ofstream(path, std::ios::binary) << bytes;
    qz_plan* made = nullptr;
    if (!ok(qz_plan_create(original_.get(), &made))) return false;
    const Handle<qz_plan> plan(made);
    return ok(qz_plan_set_imatrix(made, path.c_str()));
  }

  bool tokens(Mutator* random) {
    TokenFile file;
    file.ids.assign(100, 5);
    std::string bytes = file.bytes();
    if (random->one_in(2)) {  // the checksum is right
      std::string content = random->damage(file.content(), false);
      if (content.size() < 256 || content.size() > 60000) content = file.content();
      if (random->one_in(2)) file.tokens = (content.size() - 16) / 4;
      bytes = file.bytes(content);
    } else {
      bytes = random->damage(bytes, false);
    }
    const std::string path = place_.root() + "/tokens.qz";
    std::ofstream(path, std::ios::binary) << bytes;
    qz_calib* made = nullptr;
    if (!ok(qz_calib_load(place_.context(), path.c_str(), &made))) return false;
    const Handle<qz_calib> calib(made);
    qz_eval_options options = QZ_INIT(qz_eval_options);
    options.window = 16;
    qz_eval result = QZ_INIT(qz_eval);
    ok(qz_eval_perplexity(original_.get(), nullptr, made, &options, &result));
    return true;
  }

  Place place_;
  Handle<qz_model> original_;
  Handle<qz_calib> calib_;
  std::vector<Base> bases_;
  std::vector<std::string> imatrices_;
};

TEST_F(Mutants, AreAcceptedOrRefused) {
  uint64_t accepted = 0;
  double longest = 0;
  for (uint64_t i = 1; i <= mutant_count && !HasFailure(); ++i) {
    SCOPED_TRACE("mutant " + std::to_string(i));
    const auto start = std::chrono::steady_clock::now();
    Mutator random(i);
    switch (random.below(10)) {
      case 0:
        accepted += plan(&random);
        break;
      case 1:
        accepted += tokens(&random);
        break;
      case 3:
        accepted += imatrix(&random);
        break;
      case 2:
        accepted += use(&random, place_.model(), random.damage(kArch, true).c_str());
        break;
      default:
        accepted += directory(&random);
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    longest = std::max(longest, seconds.count());
  }
  struct rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf("mutants: %llu, of which %llu accepted and %llu refused; the longest took %.2f s; peak memory %ld MiB\n",
              static_cast<unsigned long long>(mutant_count), static_cast<unsigned long long>(accepted),
              static_cast<unsigned long long>(mutant_count - accepted), longest, usage.ru_maxrss / 1024);
  EXPECT_LT(usage.ru_maxrss, 1 << 20);  // KiB
  // Damage that is always refused, or never, would test little.
  EXPECT_GT(accepted, mutant_count / 20);
  EXPECT_LT(accepted, mutant_count / 2);
}

// The same of the weights and the configuration of each format.
TEST_F(Mutants, OfEachFormat) {
  for (size_t k = 0; k < std::size(kKinds); ++k) {
    const Base& base = bases_[k + 1];  // behind the shards
    uint64_t accepted = 0;
    for (uint64_t i = 1; i <= mutants_of_format && !HasFailure(); ++i) {
      SCOPED_TRACE(std::string(kKinds[k].scheme) + " " + std::to_string(i));
      Mutator random(i);
      const bool gguf = kKinds[k].format == QZ_FORMAT_GGUF;
      accepted += file(&random, base, gguf ? "model.gguf" : random.one_in(3) ? "config.json" : kSingle);
    }
    std::printf("mutants of %s: %llu, of which %llu accepted\n", kKinds[k].scheme,
                static_cast<unsigned long long>(mutants_of_format), static_cast<unsigned long long>(accepted));
    EXPECT_GT(accepted, mutants_of_format / 50);
    EXPECT_LT(accepted, mutants_of_format * 3 / 4);
  }
}

TEST_F(Mutants, OfImportanceMatrices) {
  uint64_t accepted = 0;
  for (uint64_t i = 1; i <= mutants_of_format && !HasFailure(); ++i) {
    SCOPED_TRACE("imatrix " + std::to_string(i));
    Mutator random(i);
    accepted += imatrix(&random);
  }
  std::printf("mutants of importance matrices: %llu, of which %llu accepted\n",
              static_cast<unsigned long long>(mutants_of_format), static_cast<unsigned long long>(accepted));
  EXPECT_GT(accepted, mutants_of_format / 50);
  EXPECT_LT(accepted, mutants_of_format * 9 / 10);
}

}  // namespace
}  // namespace hostile

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (argc > 1) hostile::mutant_count = std::strtoull(argv[1], nullptr, 10);
  hostile::mutants_of_format = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : hostile::mutant_count;
#ifndef __SANITIZE_ADDRESS__
  const struct rlimit two_gib = {uint64_t{2} << 30, uint64_t{2} << 30};
  if (::setrlimit(RLIMIT_AS, &two_gib) != 0) return 1;
#endif
  return RUN_ALL_TESTS();
}
