// Element types, with the names that safetensors files give them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace qz {

// Values equal qz_dtype (lib/api checks that). 0 means "unset" in options.
enum class DType : int32_t {
  kNone = 0,
  kF32 = 1,
  kF16 = 2,
  kBF16 = 3,
  kI64 = 4,
  kI32 = 5,
  kI16 = 6,
  kI8 = 7,
  kU8 = 8,
  kBool = 9,
  kF8E4M3 = 10,
  kF64 = 11,
  kU16 = 12,
  kU32 = 13,
  kU64 = 14,
  kF8E5M2 = 15,
  kOther = 1000,  // a safetensors dtype that can be listed and copied but not used (F4, F6_*, F8_E8M0, C64 …)
};

// Bits of one element; 0 for kNone and kOther.
uint32_t dtype_bits(DType dtype);
const char* dtype_name(DType dtype);  // "BF16", as in safetensors; "?" for kNone and kOther
bool is_float(DType dtype);           // F32 F16 BF16: what a weight may be

// Every dtype string that the safetensors format defines, with its bits (sub-byte types included) and its rank in the
// reference writer's order (higher rank is written first). kNone and bits 0 if the string is unknown.
struct SafetensorsDType {
  DType dtype;
  uint32_t bits;
  int32_t rank;
};
SafetensorsDType safetensors_dtype(std::string_view name);

}  // namespace qz
