// ggml_type of ggml.h with the sizes of ggml-common.h.
#include "io/gguf.h"

namespace qz {
namespace {

constexpr GgufType kTypes[] = {
    {0, "F32", 1, 4, DType::kF32},
    {1, "F16", 1, 2, DType::kF16},
    {2, "Q4_0", 32, 18, DType::kOther},
    {3, "Q4_1", 32, 20, DType::kOther},
    {6, "Q5_0", 32, 22, DType::kOther},
    {7, "Q5_1", 32, 24, DType::kOther},
    {8, "Q8_0", 32, 34, DType::kOther},
    {9, "Q8_1", 32, 36, DType::kOther},
    {10, "Q2_K", 256, 84, DType::kOther},
    {11, "Q3_K", 256, 110, DType::kOther},
    {12, "Q4_K", 256, 144, DType::kOther},
    {13, "Q5_K", 256, 176, DType::kOther},
    {14, "Q6_K", 256, 210, DType::kOther},
    {15, "Q8_K", 256, 292, DType::kOther},
    {16, "IQ2_XXS", 256, 66, DType::kOther},
    {17, "IQ2_XS", 256, 74, DType::kOther},
    {18, "IQ3_XXS", 256, 98, DType::kOther},
    {19, "IQ1_S", 256, 50, DType::kOther},
    {20, "IQ4_NL", 32, 18, DType::kOther},
    {21, "IQ3_S", 256, 110, DType::kOther},
    {22, "IQ2_S", 256, 82, DType::kOther},
    {23, "IQ4_XS", 256, 136, DType::kOther},
    {24, "I8", 1, 1, DType::kI8},
    {25, "I16", 1, 2, DType::kI16},
    {26, "I32", 1, 4, DType::kI32},
    {27, "I64", 1, 8, DType::kI64},
    {28, "F64", 1, 8, DType::kF64},
    {29, "IQ1_M", 256, 56, DType::kOther},
    {30, "BF16", 1, 2, DType::kBF16},
    {34, "TQ1_0", 256, 54, DType::kOther},
    {35, "TQ2_0", 256, 66, DType::kOther},
    {39, "MXFP4", 32, 17, DType::kOther},
};

}  // namespace

const GgufType* find_gguf_type(uint32_t id) {
  for (const GgufType& t : kTypes)
    if (t.id == id) return &t;
  return nullptr;
}

const GgufType& gguf_type(DType dtype) {
  for (const GgufType& t : kTypes)
    if (t.dtype == dtype) return t;
  return kTypes[0];
}

}  // namespace qz
