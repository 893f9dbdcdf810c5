#include "run/verify.h"

#include <algorithm>
#include <cstring>

#include "base/json.h"
#include "base/sha256.h"
#include "io/repository.h"
#include "run/report.h"
#include "tensor/convert.h"

namespace qz {
namespace {

constexpr uint64_t kReadBytes = 4u << 20;
constexpr char kReport[] = "qz_report.json";

std::string last_name(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

Result<std::string> hash_file(const File& file, Progress* progress) {
  Sha256 hash;
  std::vector<uint8_t> buffer(static_cast<size_t>(std::min(kReadBytes, file.size())));
  for (uint64_t at = 0; at < file.size(); at += kReadBytes) {
    const uint64_t n = std::min(kReadBytes, file.size() - at);
    QZ_TRY(file.read_at(at, buffer.data(), n));
    hash.update(buffer.data(), n);
    if (progress) QZ_TRY(progress->poll());
  }
  return hash.hex();
}

// The same codes, or - after a conversion - the same numbers in other codes.
bool same_matrix(const QMatrix& a, const QMatrix& b) {
  if (a.rows != b.rows || a.cols != b.cols) return false;
  if (hash_qmatrix(a) == hash_qmatrix(b)) return true;
  if (a.scheme.code == b.scheme.code && scheme_name(a.scheme) == scheme_name(b.scheme)) return false;
  std::vector<float> x(static_cast<size_t>(a.cols)), y(x.size());
  for (int64_t r = 0; r < a.rows; ++r) {
    dequantize_row(a, r, x.data());
    dequantize_row(b, r, y.data());
    if (x != y) return false;
  }
  return true;
}

class Verifier {
 public:
  Verifier(const Model& expected, const std::string& dir, Progress* progress)
      : expected_(expected), dir_(dir), progress_(progress) {}

  Result<Verification> run() {
    auto opened = Model::open(expected_.context_ptr(), dir_);
    if (!opened.ok()) {
      find("error", "", "", opened.status().text());
      return std::move(out_);
    }
    found_ = *opened;
    if (found_->report()) {
      auto report = report_from_json(*found_->report());
      if (report.ok())
        report_ = std::move(*report);
      else
        find("error", kReport, "", report.status().text());
    } else {
      without_report();
    }
    QZ_TRY(files());
    QZ_TRY(modules());
    QZ_TRY(passed_through());
    return std::move(out_);
  }

 private:
  void find(const char* severity, const std::string& file, const std::string& tensor, const std::string& text) {
    out_.findings.push_back({severity, file, tensor, text});
  }

  // Opening a model takes a damaged report for none, because only this depends on it.
  void without_report() {
    const auto repository = Repository::open(dir_);
    const auto text = repository.ok() ? repository->read_small(kReport, expected_.context().limits.index_bytes)
                                      : Result<std::string>(repository.status());
    if (text.ok()) {
      const auto json = parse_json(*text, kReport);
      find("error", kReport, "", json.ok() ? "expected an object, found null" : json.status().text());
    } else if (text.status().code() != Code::kIo) {
      find("error", kReport, "", text.status().text());
    } else if (found_->format() != FormatId::kPlain) {
      find("warning", kReport, "",
           "there is no report: files and matrices have no recorded hashes to be checked against");
    }
  }

  Status files() {
    if (!found_->report() || !found_->report()->contains("files")) return {};
    const Json& files = (*found_->report())["files"];
    const auto text = [](const Json& f, const char* key) {
      return f.is_object() && f.contains(key) && f[key].is_string();
    };
    if (!files.is_array()) {
      find("error", kReport, "", std::string("files: expected a list, found ") + files.type_name());
      return {};
    }
    for (const Json& f : files) {
      if (!text(f, "file") || !text(f, "sha256")) {
        find("error", kReport, "",
             "files: expected objects with \"file\" and \"sha256\", found " +
                 f.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60));
        continue;
      }
      const std::string name = f["file"].get<std::string>(), want = f["sha256"].get<std::string>();
      const auto& opened = found_->checkpoint()->files();
      const auto it =
          std::find_if(opened.begin(), opened.end(), [&](const auto& o) { return last_name(o->path()) == name; });
      if (it == opened.end()) {
        find("error", name, "", "is in the report, but not in the directory");
        continue;
      }
      QZ_ASSIGN(const std::string have, hash_file(**it, progress_));
      if (have != want) find("error", name, "", "SHA-256 is " + have + ", the report has " + want);
      out_.files++;
    }
    return {};
  }

  Status modules() {
    const bool same_shape = expected_.modules().size() == found_->modules().size();
    if (!same_shape)
      find("error", "", "",
           "has " + std::to_string(found_->modules().size()) + " linear layers, expected " +
               std::to_string(expected_.modules().size()));
    for (size_t i = 0; i < found_->modules().size(); i++) {
      const bool was = same_shape && expected_.quantized(i);
      if (!found_->quantized(i) && !was) continue;
      const std::string& name = found_->modules()[i].name;
      if (progress_) {
        progress_->info.phase = "verify";
        progress_->info.module = name.c_str();
        progress_->info.fraction = static_cast<double>(i) / static_cast<double>(found_->modules().size());
        QZ_TRY(progress_->poll());
      }
      if (!found_->quantized(i)) {
        QZ_TRY(dequantized(i));
        continue;
      }
      auto matrix = found_->load_matrix(i);
      if (!matrix.ok()) {
        find("error", "", name, matrix.status().text());
        continue;
      }
      out_.modules++;
      for (const ModuleReport& m : report_.modules)
        if (m.name == name && !m.sha256.empty() && m.sha256 != hash_qmatrix(**matrix))
          find("error", "", name, "decodes to another matrix than the one that was solved");
      if (!was) continue;
      auto want = expected_.load_matrix(i);
      if (!want.ok()) return want.status();
      if (!same_matrix(**want, **matrix)) find("error", "", name, "decodes to another matrix than the model's");
    }
    return {};
  }

  // A module that is codes in the model and a plain weight in the directory.
  Status dequantized(size_t i) {
    const std::string name = found_->modules()[i].name;
    QZ_ASSIGN(const auto matrix, expected_.load_matrix(i));
    const auto weight = found_->load_weight(i);
    if (!weight.ok()) return find("error", "", name, weight.status().text()), Status();
    out_.modules++;
    const TensorInfo* stored = found_->checkpoint()->find(name + ".weight");
    const DType dtype = stored ? stored->dtype : DType::kF32;
    std::vector<float> row(static_cast<size_t>(matrix->cols));
    for (int64_t r = 0; r < matrix->rows; r++) {
      dequantize_row(*matrix, r, row.data());
      for (int64_t c = 0; c < matrix->cols; c++)
        if (round_to(row[static_cast<size_t>(c)], dtype) != weight->row(r)[c])
          return find("error", "", name, "has other weights than the model"), Status();
    }
    return {};
  }

  // Part of a module that is quantized on either side: judged by modules().
  bool codes(const std::string& tensor) const {
    const size_t dot = tensor.rfind('.');
    if (dot == std::string::npos || tensor.substr(dot) == ".bias") return false;
    const std::string_view name = std::string_view(tensor).substr(0, dot);
    const int64_t a = expected_.find_module(name), b = found_->find_module(name);
    return (a >= 0 && expected_.quantized(static_cast<size_t>(a))) ||
           (b >= 0 && found_->quantized(static_cast<size_t>(b)));
  }

  // A tensor that a transform of the run changed: what it made of it is in the report. False: it is none of these.
  bool rescaled(const TensorInfo& t) {
    const auto mine = expected_.changed_vectors().find(t.name);
    if (mine != expected_.changed_vectors().end()) {
      const auto values = found_->load_vector(t.name, t.elements(), true);
      if (!values.ok() || *values != mine->second) find("error", "", t.name, "has other values than the model");
      out_.tensors++;
      return true;
    }
    for (const ChangedVector& c : report_.changed) {
      if (c.name != t.name) continue;
      const auto values = found_->load_vector(t.name, t.elements(), true);
      if (!values.ok() || hash_vector(*values) != c.sha256)
        find("error", "", t.name, "has other values than the run gave it");
      out_.tensors++;
      return true;
    }
    return false;
  }

  // The module of a tensor, if the source stores its weight in FP8 tiles; -1: another tensor.
  int64_t tiled_module(const std::string& tensor) const {
    const int64_t i = expected_.find_module(std::string_view(tensor).substr(0, tensor.rfind('.')));
    return i >= 0 && expected_.coded(static_cast<size_t>(i)) ? i : -1;
  }
  bool scales_of_tiles(const std::string& tensor) const {
    return tiled_module(tensor) >= 0 && tensor.compare(tensor.rfind('.'), std::string::npos, ".weight_scale_inv") == 0;
  }
  // Such a weight, kept: plain in the directory, rounded to its type. False: it is none of these.
  Result<bool> plain_of_tiles(const TensorInfo& t) {
    const int64_t mine = tiled_module(t.name);
    if (mine < 0 || t.name.compare(t.name.rfind('.'), std::string::npos, ".weight") != 0 || !is_float(t.dtype))
      return false;
    const int64_t theirs = found_->find_module(expected_.modules()[static_cast<size_t>(mine)].name);
    if (theirs < 0) return false;
    QZ_ASSIGN(const Matrix want, expected_.load_weight(static_cast<size_t>(mine)));
    QZ_ASSIGN(const Matrix have, found_->load_weight(static_cast<size_t>(theirs)));
    const auto n = static_cast<size_t>(want.rows() * want.cols());
    std::vector<uint8_t> stored(n * dtype_bits(t.dtype) / 8);
    std::vector<float> rounded(n);
    from_f32(want.data(), t.dtype, n, stored.data());
    to_f32(stored.data(), t.dtype, n, rounded.data());
    if (have.rows() != want.rows() || have.cols() != want.cols() ||
        !std::equal(rounded.begin(), rounded.end(), have.data()))
      find("error", "", t.name, "differs from the source");
    out_.tensors++;
    return true;
  }

  // Norms, embeddings, biases, kept modules: the same bytes as in the source.
  Status passed_through() {
    const Checkpoint &source = *expected_.checkpoint(), &target = *found_->checkpoint();
    if (source.dir() == target.dir()) return {};
    // A tied head's own weight is read by nobody.
    const std::string head = expected_.config().tied ? expected_.modules().back().name + ".weight" : "";
    for (const TensorInfo& t : source.tensors())
      if (!target.find(t.name) && !codes(t.name) && t.name != head && !scales_of_tiles(t.name))
        find("error", "", t.name, "is in the source, but not in the directory");
    std::vector<uint8_t> a, b;
    for (const TensorInfo& t : target.tensors()) {
      if (codes(t.name) || rescaled(t)) continue;
      QZ_ASSIGN(const bool plain, plain_of_tiles(t));
      if (plain) continue;
      const TensorInfo* want = source.find(t.name);
      if (!want) {
        find("warning", "", t.name, "is not in the source");
        continue;
      }
      if (want->shape == t.shape && want->dtype != t.dtype && is_float(want->dtype) && is_float(t.dtype) &&
          found_->format() == FormatId::kGguf) {  // vectors are float32 there
        QZ_ASSIGN(const std::vector<float> x, source.read_f32(*want));
        QZ_ASSIGN(const std::vector<float> y, target.read_f32(t));
        if (x != y) find("error", "", t.name, "differs from the source");
        out_.tensors++;
        continue;
      }
      if (want->shape != t.shape || want->dtype_name != t.dtype_name) {
        find("error", "", t.name, "has another shape or type than in the source");
        continue;
      }
      bool same = true;
      for (uint64_t at = 0; at < t.bytes && same; at += kReadBytes) {
        const uint64_t n = std::min(kReadBytes, t.bytes - at);
        a.resize(static_cast<size_t>(n));
        b.resize(static_cast<size_t>(n));
        QZ_TRY(target.read_range(t, at, n, a.data()));
        QZ_TRY(source.read_range(*want, at, n, b.data()));
        same = std::memcmp(a.data(), b.data(), static_cast<size_t>(n)) == 0;
        if (progress_) QZ_TRY(progress_->poll());
      }
      if (!same) find("error", "", t.name, "differs from the source");
      out_.tensors++;
    }
    return {};
  }

  const Model& expected_;
  const std::string dir_;
  Progress* progress_;
  ModelPtr found_;
  RunReport report_;
  Verification out_;
};

}  // namespace

bool Verification::ok() const {
  return std::none_of(findings.begin(), findings.end(), [](const Finding& f) { return f.severity == "error"; });
}

Result<Verification> verify_directory(const Model& model, const std::string& dir, Progress* progress) {
  return Verifier(model, dir, progress).run();
}

Json verification_to_json(const Verification& v) {
  Json findings = Json::array();
  for (const Finding& f : v.findings)
    findings.push_back({{"severity", f.severity}, {"file", f.file}, {"tensor", f.tensor}, {"text", f.text}});
  return {{"ok", v.ok()},
          {"checked", {{"files", v.files}, {"modules", v.modules}, {"tensors", v.tensors}}},
          {"findings", std::move(findings)}};
}

}  // namespace qz
