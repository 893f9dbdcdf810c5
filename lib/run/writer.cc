#include "run/writer.h"

#include "base/json.h"

namespace qz {
namespace {

constexpr char kReportName[] = "qz_report.json";

}  // namespace

Result<std::unique_ptr<ModelWriter>> ModelWriter::create(const Model& source, const PlanSummary& summary,
                                                         const std::string& target, const WriteOptions& options) {
  if (source.checkpoint()->tensors().empty())
    return error(Code::kInvalidArgument,
                 "the model was opened from its configuration only: it has no tensors to write");
  return (options.format == FormatId::kGguf ? create_gguf_writer : create_directory_writer)(source, summary, target,
                                                                                            options);
}

Status publish(const Model& source, const std::vector<ShardHash>& files, Json report, StagingDir* staging,
               Progress* progress) {
  QZ_ASSIGN(const std::vector<std::string> side, source.checkpoint()->side_files());
  for (const std::string& name : side) QZ_TRY(staging->copy_file(source.checkpoint()->dir() + "/" + name, name));
  if (!report.is_null()) {
    Json list = Json::array();
    for (const ShardHash& h : files) list.push_back({{"file", h.file}, {"bytes", h.bytes}, {"sha256", h.sha256}});
    report["files"] = std::move(list);
    QZ_TRY(staging->write_file(kReportName, dump_json(report)));
  }
  if (progress) QZ_TRY(progress->force());  // the last moment at which "cancel" leaves nothing
  return staging->commit();
}

}  // namespace qz
