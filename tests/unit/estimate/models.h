// Shapes of public models, from tests/data/configs.
#pragma once
#include <gtest/gtest.h>

#include "run/shape.h"

namespace qz {

inline ModelPtr public_model(const std::string& name) {
  auto model = Model::open(make_context(1), "tests/data/configs/" + name, {.config_only = true});
  EXPECT_TRUE(model.ok()) << model.status().text();
  return *model;
}

inline ModelShape public_shape(const std::string& name) { return shape_of(*public_model(name)); }

inline double gib(uint64_t bytes) { return static_cast<double>(bytes) / (1u << 30); }

}  // namespace qz
