#include "run/writer.h"

#include <algorithm>

#include "base/json.h"
#include "run/output.h"
#include "tensor/convert.h"

namespace qz {
namespace {

uint64_t part_bytes(const PartSpec& part) {
  uint64_t n = dtype_bits(part.dtype) / 8;
  for (const int64_t d : part.shape) n *= static_cast<uint64_t>(d);
  return n;
}

Matrix transpose(const Matrix& m) {
  Matrix out(m.cols(), m.rows());
  for (int64_t r = 0; r < m.rows(); ++r)
    for (int64_t c = 0; c < m.cols(); ++c) out.row(c)[r] = m.row(r)[c];
  return out;
}

class DirectoryWriter : public ModelWriter {
 public:
  using ModelWriter::changed_;
  uint64_t module_bytes(size_t module) const override;
  Status write_matrix(size_t module, const QMatrix& matrix) override;
  Status write_dense(size_t module, const Matrix& weight) override;
  Status finish(const std::function<Json()>& report, Progress* progress) override;

  const Model* source_ = nullptr;
  const Format* format_ = nullptr;  // null: plain
  PlanSummary summary_;
  std::vector<std::string> copies_;  // tensors to pass through
  std::vector<size_t> rewritten_;    // modules that stay plain but leave a tensor that others share
  std::unique_ptr<StagingDir> staging_;
  std::unique_ptr<ShardWriter> shards_;
};

}  // namespace

Result<std::unique_ptr<ModelWriter>> create_directory_writer(const Model& source, const PlanSummary& summary,
                                                             const std::string& target, const WriteOptions& options) {
  auto w = std::make_unique<DirectoryWriter>();
  w->source_ = &source;
  w->changed_ = source.changed_vectors();
  w->summary_ = summary;
  w->format_ = options.format == FormatId::kPlain ? nullptr : find_format(options.format);
  if (!w->format_ && options.format != FormatId::kPlain)
    return error(Code::kInvalidArgument, "unknown format %d", static_cast<int>(options.format));
  if (w->format_) QZ_TRY(w->format_->config(summary).status());  // what it cannot say, it must not find out at the end

  OutputTensors output = output_tensors(source, summary, w->format_);
  w->copies_ = std::move(output.copies);
  w->rewritten_ = std::move(output.rewritten);
  const uint64_t bytes = ShardWriter::total_bytes(output.tensors);
  QZ_ASSIGN(w->staging_, StagingDir::create(target, source.checkpoint()->dir(), options.overwrite, bytes));
  QZ_ASSIGN(w->shards_, ShardWriter::create(w->staging_.get(), std::move(output.tensors), options.shard_bytes));
  return std::unique_ptr<ModelWriter>(std::move(w));
}

uint64_t DirectoryWriter::module_bytes(size_t module) const {
  const PlannedModule& m = summary_.modules[module];
  const Module& shape = source_->modules()[module];
  if (!m.quantized) return static_cast<uint64_t>(shape.rows * shape.cols) * dtype_bits(source_->config().dtype) / 8;
  uint64_t bytes = 0;
  for (const PartSpec& part : format_->layout(m.scheme, shape.rows, shape.cols, m.g_idx)) bytes += part_bytes(part);
  return bytes;
}

Status DirectoryWriter::write_matrix(size_t module, const QMatrix& matrix) {
  const std::string& name = source_->modules()[module].name;
  auto parts = format_->encode(matrix);
  if (!parts.ok()) return parts.status().with_prefix(name);
  for (const Part& part : *parts)
    QZ_TRY(shards_->write(name + "." + std::string(part.name), part.bytes.data(), part.bytes.size()));
  return {};
}

Status DirectoryWriter::write_dense(size_t module, const Matrix& natural) {
  const bool transposed = source_->modules()[module].transposed;
  const Matrix flipped = transposed ? transpose(natural) : Matrix();
  const Matrix& weight = transposed ? flipped : natural;
  const DType dtype = is_float(source_->config().dtype) ? source_->config().dtype : DType::kF32;
  std::vector<uint8_t> bytes(static_cast<size_t>(weight.rows() * weight.cols()) * dtype_bits(dtype) / 8);
  from_f32(weight.data(), dtype, static_cast<size_t>(weight.rows() * weight.cols()), bytes.data());
  return shards_->write(source_->modules()[module].name + ".weight", bytes.data(), bytes.size());
}

Status DirectoryWriter::finish(const std::function<Json()>& report, Progress* progress) {
  for (const size_t i : rewritten_) {
    QZ_ASSIGN(const Matrix weight, source_->load_weight(i));
    QZ_TRY(write_dense(i, weight));
  }
  const Checkpoint& source = *source_->checkpoint();
  std::vector<uint8_t> buffer;
  for (const std::string& name : copies_) {
    const TensorInfo* t = source.find(name);
    if (const auto it = changed_.find(name); it != changed_.end()) {
      buffer.resize(static_cast<size_t>(t->bytes));
      from_f32(it->second.data(), t->dtype, it->second.size(), buffer.data());
      QZ_TRY(shards_->write(name, buffer.data(), buffer.size()));
      continue;
    }
    buffer.resize(static_cast<size_t>(std::min(kCopyBytes, t->bytes)));
    for (uint64_t at = 0; at < t->bytes; at += kCopyBytes) {
      const uint64_t n = std::min(kCopyBytes, t->bytes - at);
      QZ_TRY(source.read_range(*t, at, n, buffer.data()));
      QZ_TRY(shards_->write_range(name, at, buffer.data(), n));
      if (progress) QZ_TRY(progress->poll());
    }
    if (t->bytes == 0) QZ_TRY(shards_->write(name, "", 0));
  }
  QZ_ASSIGN(const std::vector<ShardHash> hashes, shards_->finish());
  QZ_TRY(source.check_unchanged());

  Json config = source.config();
  config.erase("quantization_config");
  if (format_) {
    QZ_ASSIGN(Json quantization, format_->config(summary_));
    for (const ConfigFile& file : format_->extra_files(quantization))
      QZ_TRY(staging_->write_file(file.name, file.text));
    config["quantization_config"] = std::move(quantization);
  }
  QZ_TRY(staging_->write_file("config.json", dump_json(config)));
  return publish(*source_, hashes, report(), staging_.get(), progress);
}

}  // namespace qz
