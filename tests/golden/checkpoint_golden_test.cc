// Whole directories that GPTQModel 7.7.0 and llm-compressor 0.14 wrote: what their configuration says of each module,
// against the tensors that are there.
#include "golden.h"

#include <set>

#include "base/json.h"
#include "io/file.h"

namespace qz {
namespace {

struct Checkpoint {
  const char* directory;
  FormatId id;
  const char* scheme;
  bool g_idx;
  DType scale;
  size_t modules;  // quantized
};

constexpr Checkpoint kCheckpoints[] = {
    {"llama-128-gptq-4bit-sym-g128", FormatId::kGptq, "w4g128", false, DType::kF16, 14},
    {"qwen2-128-gptq-4bit-sym-g64-descact", FormatId::kGptq, "w4g64", true, DType::kF16, 7},
    {"qwen2-128-ct-w4a16-g128", FormatId::kCompressed, "w4g128", false, DType::kBF16, 7},
};

Json read_config(const Checkpoint& c, const char* file) {
  const std::string path = "tests/data/goldens/quantized/" + std::string(c.directory) + "/" + file;
  Result<std::string> text = read_small_file(path, 1 << 20);
  EXPECT_TRUE(text.ok()) << text.status().text();
  Result<Json> json = parse_json(text.ok() ? *text : "{}", file);
  EXPECT_TRUE(json.ok()) << json.status().text();
  return json.ok() ? *json : Json::object();
}

TEST(CheckpointGolden, ConfigurationAndTensorsAgreeOnEveryModule) {
  for (const Checkpoint& c : kCheckpoints) {
    SCOPED_TRACE(c.directory);
    const Json config = read_config(c, "config.json")["quantization_config"];
    Result<const Format*> found = detect_format(config);
    ASSERT_TRUE(found.ok()) << found.status().text();
    const Format& f = **found;
    EXPECT_EQ(f.id, c.id);
    const Tensors tensors =
        read_tensors("tests/data/goldens/quantized/" + std::string(c.directory) + "/model.safetensors");
    std::set<std::string> modules = {"lm_head"};
    for (const auto& [name, part] : tensors)
      if (name.find("_proj.") != std::string::npos) modules.insert(name.substr(0, name.rfind('.')));
    size_t quantized = 0;
    for (const std::string& name : modules) {
      SCOPED_TRACE(name);
      auto stored = f.stored_scheme(config, name, 0, 0);
      ASSERT_TRUE(stored.ok()) << stored.status().text();
      const bool there = tensors.count(name + "." + std::string(f.part_names[0])) > 0;
      ASSERT_EQ(stored->has_value(), there);
      if (!there) continue;
      ++quantized;
      EXPECT_EQ(scheme_name((*stored)->scheme), c.scheme);
      EXPECT_EQ((*stored)->g_idx, c.g_idx);
      const Part& marker = tensors.at(name + "." + std::string(f.part_names[0]));
      const bool gptq = c.id != FormatId::kCompressed;
      const int64_t rows = gptq ? marker.shape[1] : marker.shape[0],
                    cols = 8 * (gptq ? marker.shape[0] : marker.shape[1]);
      Result<QMatrix> q = f.decode(parts_of(tensors, f, name + "."), **stored, rows, cols);
      ASSERT_TRUE(q.ok()) << q.status().text();
      EXPECT_EQ(q->scheme.scale, c.scale);
      // Not every matrix needs an order of its own, but with desc_act some do.
      Result<Parts> parts = f.encode(*q);
      ASSERT_TRUE(parts.ok()) << parts.status().text();
      for (const Part& part : *parts)
        EXPECT_TRUE(part.bytes == tensors.at(name + "." + std::string(part.name)).bytes) << part.name;
    }
    EXPECT_EQ(quantized, c.modules);
  }
}

// The keys that we write are those that the tools write, and where both say something of a model they say the same.
TEST(CheckpointGolden, OurConfigurationHasTheKeysOfTheTools) {
  for (const Checkpoint& c : kCheckpoints) {
    SCOPED_TRACE(c.directory);
    const Json theirs = read_config(c, "config.json")["quantization_config"];
    PlanSummary plan;
    plan.modules.resize(2);
    PlannedModule &up = plan.modules[0], &head = plan.modules[1];
    up.name = "model.layers.0.mlp.up_proj";
    up.quantized = up.static_order = true;
    up.scheme = *scheme_preset(c.scheme);
    up.g_idx = c.g_idx;
    head.name = "lm_head";
    head.in_block = false;
    const Json ours = *find_format(c.id)->config(plan);
    for (const auto& [key, value] : ours.items()) {
      if (key == "version" || key == "meta" || key == "damp_percent" || key == "config_groups") continue;
      EXPECT_EQ(value, theirs[key]) << key;
    }
    if (c.id != FormatId::kCompressed) continue;
    EXPECT_EQ(ours.size(), theirs.size());
    Json group = theirs["config_groups"]["group_0"];
    group["weights"].erase("scale_dtype");  // unknown to 0.12
    group["weights"].erase("zp_dtype");
    group["weights"]["observer"] = "minmax";
    EXPECT_EQ(dump_json(ours["config_groups"]["group_0"]), dump_json(group));
  }
}

}  // namespace
}  // namespace qz
