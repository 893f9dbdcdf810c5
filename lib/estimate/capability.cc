#include "estimate/capability.h"

namespace qz {
namespace {

constexpr std::string_view kTe = "TransformerEngine support matrix (BF16 >= 8.0, FP8 >= 8.9, MXFP8/NVFP4 10.x)";
constexpr std::string_view kPtx = "PTX ISA, mma instructions by target";
constexpr std::string_view kCutlass = "CUTLASS media/docs, Blackwell functionality";
constexpr std::string_view kNunchaku = "nunchux-ai/nunchaku #381, apache/tvm #14598";

constexpr Cell yes(std::string_view why, std::string_view source) { return {Support::kYes, why, source}; }
constexpr Cell no(std::string_view why, std::string_view source) { return {Support::kNo, why, source}; }
constexpr Cell unknown(std::string_view why, std::string_view source) { return {Support::kUnknown, why, source}; }

constexpr Cell kInt8 = yes("8-bit integer tensor cores", kPtx);
constexpr Cell kBf16 = yes("BF16 tensor cores", kTe);
constexpr Cell kFp8 = yes("FP8 (E4M3, E5M2) tensor cores", kTe);
constexpr Cell kNoBf16 = no("BF16 came with compute capability 8.0; F16 is there", kTe);
constexpr Cell kNoFp8 = no("FP8 came with compute capability 8.9", kTe);
constexpr Cell kNoFp4 = no("FP4 came with compute capability 10.0", kTe);
constexpr Cell kInt4 = yes("4-bit integer tensor cores", kPtx);

constexpr uint64_t gb(uint64_t n) { return n * 1'000'000'000; }
constexpr uint64_t gib(uint64_t n) { return n << 30; }
constexpr std::string_view kSheet = "NVIDIA data sheet";
constexpr std::string_view kList = "NVIDIA product page, not measured here";

}  // namespace

const std::vector<Capability>& capabilities() {
  static const std::vector<Capability> table = {
      {70, "Volta", no("the tensor cores of 7.0 take F16 only", kPtx),
       no("the tensor cores of 7.0 take F16 only; dp4a instructions are there", kPtx), kNoBf16, kNoFp8, kNoFp4},
      {75, "Turing", kInt4, kInt8, kNoBf16, kNoFp8, kNoFp4},
      {80, "Ampere", kInt4, kInt8, kBf16, kNoFp8, kNoFp4},
      {86, "Ampere", kInt4, kInt8, kBf16, kNoFp8, kNoFp4},
      {89, "Ada", unknown("vendor tables list INT4 rates, reviewers say that Ada emulates it: measure", kNunchaku),
       kInt8, kBf16, kFp8, kNoFp4},
      {90, "Hopper",
       no("Hopper has no 4-bit integer tensor cores; 4-bit weights are expanded to 16 or 8 bit", kNunchaku), kInt8,
       kBf16, yes("FP8 tensor cores, block scales included", kTe), kNoFp4},
      {100, "Blackwell", no("tcgen05 takes 8-bit integers only; FP4 is there instead", kCutlass), kInt8, kBf16, kFp8,
       yes("MXFP4 and NVFP4 tensor cores", kCutlass)},
      {103, "Blackwell Ultra", no("tcgen05 takes 8-bit integers only; FP4 is there instead", kCutlass),
       unknown("said to be much slower than on 10.0: measure", kCutlass), kBf16, kFp8,
       yes("MXFP4 and NVFP4 tensor cores", kCutlass)},
      {120, "Blackwell (consumer)", unknown("no document says that it is there", kCutlass), kInt8, kBf16, kFp8,
       unknown("libraries support it in part", kTe)},
  };
  return table;
}

const Capability* find_capability(int32_t number) {
  const Capability* best = nullptr;
  for (const Capability& row : capabilities())
    if (row.number <= number && row.number / 10 == number / 10) best = &row;
  return best;
}

const std::vector<GpuModel>& gpu_models() {
  static const std::vector<GpuModel> table = {
      {"Tesla V100-SXM2-16GB", 70, gib(16), gb(900), kSheet},
      {"Tesla V100-SXM2-32GB", 70, gib(32), gb(900), kSheet},
      {"Tesla T4", 75, gib(16), gb(320), kSheet},
      {"A100-SXM4-40GB", 80, gib(40), gb(1555), kSheet},
      {"A100-SXM4-80GB", 80, gib(80), gb(2039), kSheet},
      {"A10", 86, gib(24), gb(600), kSheet},
      {"RTX A6000", 86, gib(48), gb(768), kSheet},
      {"GeForce RTX 3090", 86, gib(24), gb(936), kList},
      {"GeForce RTX 4060 Ti", 89, gib(16), gb(288), kList},
      {"GeForce RTX 4090", 89, gib(24), gb(1008), kList},
      {"L4", 89, gib(24), gb(300), kSheet},
      {"L40S", 89, gib(48), gb(864), kSheet},
      {"H100 80GB HBM3", 90, gib(80), gb(3350), kSheet},
      {"H200", 90, gb(141), gb(4800), kSheet},
      {"B200", 100, gb(192), gb(8000), kSheet},
      {"B300", 103, gb(288), gb(8000), kSheet},
      {"GeForce RTX 5090", 120, gib(32), gb(1792), kList},
  };
  return table;
}

const GpuModel* find_gpu_model(std::string_view name) {
  const GpuModel* best = nullptr;
  for (const GpuModel& model : gpu_models()) {
    const size_t at = name.find(model.name), end = at + model.name.size();
    if (at == std::string_view::npos || (end < name.size() && name[end] >= '0' && name[end] <= '9'))
      continue;  // A10 | A100
    if (!best || model.name.size() > best->name.size()) best = &model;
  }
  return best;
}

}  // namespace qz
