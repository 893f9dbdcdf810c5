#include "tensor/dtype.h"

namespace qz {
namespace {

struct Entry {
  std::string_view name;
  DType dtype;
  uint32_t bits;
};

// In the order of the reference implementation's enum (huggingface/safetensors, safetensors/src/tensor.rs): the place
// in this list is the rank by which its writer sorts tensors, highest first.
constexpr Entry kSafetensors[] = {
    {"BOOL", DType::kBool, 8},
    {"F4", DType::kOther, 4},
    {"F6_E2M3", DType::kOther, 6},
    {"F6_E3M2", DType::kOther, 6},
    {"U8", DType::kU8, 8},
    {"I8", DType::kI8, 8},
    {"F8_E5M2", DType::kF8E5M2, 8},
    {"F8_E4M3", DType::kF8E4M3, 8},
    {"F8_E8M0", DType::kOther, 8},
    {"F8_E4M3FNUZ", DType::kOther, 8},
    {"F8_E5M2FNUZ", DType::kOther, 8},
    {"I16", DType::kI16, 16},
    {"U16", DType::kU16, 16},
    {"F16", DType::kF16, 16},
    {"BF16", DType::kBF16, 16},
    {"I32", DType::kI32, 32},
    {"U32", DType::kU32, 32},
    {"F32", DType::kF32, 32},
    {"C64", DType::kOther, 64},
    {"F64", DType::kF64, 64},
    {"I64", DType::kI64, 64},
    {"U64", DType::kU64, 64},
};

const Entry* find(DType dtype) {
  if (dtype == DType::kNone || dtype == DType::kOther) return nullptr;
  for (const Entry& entry : kSafetensors) {
    if (entry.dtype == dtype) return &entry;
  }
  return nullptr;
}

}  // namespace

uint32_t dtype_bits(DType dtype) {
  const Entry* entry = find(dtype);
  return entry ? entry->bits : 0;
}

const char* dtype_name(DType dtype) {
  const Entry* entry = find(dtype);
  return entry ? entry->name.data() : "?";
}

bool is_float(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

SafetensorsDType safetensors_dtype(std::string_view name) {
  int32_t rank = 0;
  for (const Entry& entry : kSafetensors) {
    if (entry.name == name) return {entry.dtype, entry.bits, rank};
    ++rank;
  }
  return {DType::kNone, 0, -1};
}

}  // namespace qz
