// Shapes of public models, from tests/data/configs.
#pragma once
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "estimate/towers.h"
#include "run/shape.h"

namespace qz {

inline ModelPtr public_model(const std::string& name) {
  auto model = Model::open(make_context(1), "tests/data/configs/" + name, {.config_only = true});
  EXPECT_TRUE(model.ok()) << model.status().text();
  return *model;
}

inline Json public_config(const std::string& name) {
  std::ifstream file("tests/data/configs/" + name + "/config.json");
  std::stringstream text;
  text << file.rdbuf();
  auto json = parse_json(text.str(), name);
  EXPECT_TRUE(json.ok());
  return *json;
}

// "internvl3.5-8b" is the language model with its towers added.
inline ModelShape public_shape(const std::string& name) {
  if (name != "internvl3.5-8b") return shape_of(*public_model(name));
  ModelShape s = shape_of(*public_model("qwen3-8b"));
  const int64_t towers = tower_parameters(public_config(name), s.hidden);
  EXPECT_EQ(towers, 304012288 + 33570816);  // InternViT-300M, projector
  s.others += towers;
  s.other_bytes += 2 * static_cast<uint64_t>(towers);
  return s;
}

inline double gib(uint64_t bytes) { return static_cast<double>(bytes) / (1u << 30); }

}  // namespace qz
