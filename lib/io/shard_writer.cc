#include "io/shard_writer.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>

#include "base/json.h"
#include "base/sha256.h"
#include "io/file.h"
#include "io/shard_index.h"

namespace qz {
namespace {

using ull = unsigned long long;

constexpr uint64_t kDefaultShardBytes = 5'000'000'000;  // what transformers' save_pretrained used for years
constexpr uint64_t kHashBytes = 1u << 20;

// Greedy, in order: a shard is closed when the next tensor would make it larger than the limit.
std::vector<std::vector<TensorSpec>> split(std::vector<TensorSpec> tensors, uint64_t limit) {
  std::vector<std::vector<TensorSpec>> shards(1);
  uint64_t size = 0;
  for (TensorSpec& t : tensors) {
    if (!shards.back().empty() && (size >= limit || t.bytes > limit - size)) {
      shards.emplace_back();
      size = 0;
    }
    size += t.bytes;
    shards.back().push_back(std::move(t));
  }
  return shards;
}

std::string shard_name(size_t index, size_t count) {
  return count == 1 ? std::string(kSingleName) : numbered("model", index, count, ".safetensors");
}

struct IndexEntry {
  std::string tensor, file;
  uint64_t bytes = 0;
};

// model.safetensors.index.json: sorted by tensor, as save_pretrained writes it.
std::string index_text(std::vector<IndexEntry> entries) {
  std::sort(entries.begin(), entries.end(),
            [](const IndexEntry& a, const IndexEntry& b) { return a.tensor < b.tensor; });
  uint64_t total = 0;
  Json::object_t names;  // appended directly: insertion would compare with every earlier key
  for (IndexEntry& e : entries) {
    total += e.bytes;
    names.emplace_back(std::move(e.tensor), std::move(e.file));
  }
  Json index;
  index["metadata"]["total_size"] = total;
  index["weight_map"] = std::move(names);
  return dump_json(index);
}

}  // namespace

Result<ShardHash> hash_file(const std::string& path, const std::string& name) {
  QZ_ASSIGN(const std::shared_ptr<File> file, File::open(path));
  Sha256 sha;
  std::vector<char> chunk(kHashBytes);
  for (uint64_t at = 0; at < file->size(); at += kHashBytes) {
    const uint64_t n = std::min(kHashBytes, file->size() - at);
    QZ_TRY(file->read_at(at, chunk.data(), n));
    sha.update(chunk.data(), static_cast<size_t>(n));
  }
  return ShardHash{name, sha.hex(), file->size()};
}

struct ShardWriter::Shard {
  std::string name;
  uint64_t bytes = 0;                // of the whole file
  std::atomic<uint64_t> missing{0};  // data bytes not written yet
  std::unique_ptr<OutputFile> file;  // null once all are: descriptors are not kept longer than needed
  std::vector<std::string> tensors;
};

struct ShardWriter::Slot {
  Shard* shard = nullptr;
  uint64_t offset = 0, bytes = 0;  // in the file
  std::mutex mutex;
  std::map<uint64_t, uint64_t> claimed;  // first byte -> end; disjoint, neighbours merged; guarded by mutex

  // False if a byte of [first, end) belongs to an earlier write.
  bool claim(uint64_t first, uint64_t end) {
    const std::lock_guard<std::mutex> lock(mutex);
    auto after = claimed.lower_bound(first);
    if (after != claimed.end() && after->first < end) return false;
    if (after != claimed.begin()) {
      const auto before = std::prev(after);
      if (before->second > first) return false;
      if (before->second == first) {
        first = before->first;
        claimed.erase(before);
      }
    }
    if (after != claimed.end() && after->first == end) {
      end = after->second;
      claimed.erase(after);
    }
    claimed.emplace(first, end);
    return true;
  }
};

ShardWriter::~ShardWriter() = default;

Result<std::unique_ptr<ShardWriter>> ShardWriter::create(StagingDir* staging, std::vector<TensorSpec> tensors,
                                                         uint64_t shard_bytes) {
  std::unique_ptr<ShardWriter> writer(new ShardWriter);
  writer->staging_ = staging;
  auto shards = split(std::move(tensors), shard_bytes ? shard_bytes : kDefaultShardBytes);
  for (size_t i = 0; i < shards.size(); ++i) {
    std::vector<TensorSpec>& specs = shards[i];
    sort_like_reference(&specs);
    const std::string header = make_safetensors_header(specs, {});
    auto shard = std::make_unique<Shard>();
    shard->name = shard_name(i, shards.size());
    shard->bytes = header.size();
    for (const TensorSpec& t : specs) {
      auto slot = std::make_unique<Slot>();
      slot->shard = shard.get();
      slot->offset = shard->bytes;
      slot->bytes = t.bytes;
      if (!writer->slots_.emplace(t.name, std::move(slot)).second)
        return error(Code::kInternal, "tensor '%s' is to be written twice", t.name.c_str());
      shard->bytes += t.bytes;
      shard->tensors.push_back(t.name);
    }
    shard->missing = shard->bytes - header.size();
    QZ_ASSIGN(shard->file, staging->create_file(shard->name, shard->bytes));
    QZ_TRY(shard->file->write_at(0, header.data(), header.size()));
    writer->shards_.push_back(std::move(shard));
  }
  return writer;
}

uint64_t ShardWriter::total_bytes(const std::vector<TensorSpec>& tensors) {
  // Upper bound of headers and index: the header as if all were in one file, an index line per tensor, and room for the
  // padding of shards.
  uint64_t bytes = make_safetensors_header(tensors, {}).size() + (1u << 20);
  for (const TensorSpec& t : tensors) bytes += t.bytes + 2 * t.name.size() + 64;
  return bytes;
}

std::vector<PlannedFile> ShardWriter::plan_files(std::vector<TensorSpec> tensors, uint64_t shard_bytes) {
  auto shards = split(std::move(tensors), shard_bytes ? shard_bytes : kDefaultShardBytes);
  std::vector<PlannedFile> files;
  std::vector<IndexEntry> entries;
  for (size_t i = 0; i < shards.size(); ++i) {
    sort_like_reference(&shards[i]);
    PlannedFile file{shard_name(i, shards.size()), make_safetensors_header(shards[i], {}).size()};
    for (const TensorSpec& t : shards[i]) {
      file.bytes += t.bytes;
      entries.push_back({t.name, file.name, t.bytes});
    }
    files.push_back(std::move(file));
  }
  if (files.size() > 1) files.push_back({kIndexName, index_text(std::move(entries)).size()});
  return files;
}

Status ShardWriter::write(const std::string& name, const void* data, uint64_t bytes) {
  const auto it = slots_.find(name);
  if (it != slots_.end() && it->second->bytes != bytes)
    return error(Code::kInternal, "tensor '%s': %llu bytes given for %llu", name.c_str(), ull{bytes},
                 ull{it->second->bytes});
  return write_range(name, 0, data, bytes);
}

Status ShardWriter::write_range(const std::string& name, uint64_t first_byte, const void* data, uint64_t bytes) {
  const auto it = slots_.find(name);
  if (it == slots_.end()) return error(Code::kInternal, "tensor '%s' is not part of the output", name.c_str());
  Slot& slot = *it->second;
  if (first_byte > slot.bytes || bytes > slot.bytes - first_byte)
    return error(Code::kInternal, "tensor '%s': bytes %llu + %llu do not fit its %llu", name.c_str(), ull{first_byte},
                 ull{bytes}, ull{slot.bytes});
  if (bytes == 0) return {};
  if (!slot.claim(first_byte, first_byte + bytes))
    return error(Code::kInternal, "tensor '%s': bytes %llu + %llu are written twice", name.c_str(), ull{first_byte},
                 ull{bytes});
  Shard& shard = *slot.shard;
  QZ_TRY(shard.file->write_at(slot.offset + first_byte, data, bytes));
  if (shard.missing.fetch_sub(bytes, std::memory_order_acq_rel) != bytes) return {};
  // This was the last byte of the shard, and nobody else is writing to it.
  QZ_TRY(shard.file->close());
  shard.file.reset();
  return {};
}

Result<std::vector<ShardHash>> ShardWriter::finish() {
  for (const auto& [name, slot] : slots_) {
    uint64_t written = 0;
    for (const auto& [first, end] : slot->claimed) written += end - first;
    if (written != slot->bytes)
      return error(Code::kInternal, "tensor '%s': %llu of %llu bytes were written", name.c_str(), ull{written},
                   ull{slot->bytes});
  }
  std::vector<ShardHash> hashes;
  for (const auto& shard : shards_) {
    if (shard->missing.load() != 0) return error(Code::kInternal, "%s: a write failed", shard->name.c_str());
    if (shard->file) QZ_TRY(shard->file->close());  // a shard of empty tensors
    shard->file.reset();
    QZ_ASSIGN(ShardHash hash, hash_file(staging_->path() + "/" + shard->name, shard->name));
    if (hash.bytes != shard->bytes)
      return error(Code::kIo, "%s: has %llu bytes after it was closed; expected %llu", shard->name.c_str(),
                   ull{hash.bytes}, ull{shard->bytes});
    hashes.push_back(std::move(hash));
  }
  if (shards_.size() == 1) return hashes;

  std::vector<IndexEntry> entries;
  for (const auto& shard : shards_)
    for (const std::string& name : shard->tensors) entries.push_back({name, shard->name, slots_.at(name)->bytes});
  QZ_TRY(staging_->write_file(kIndexName, index_text(std::move(entries))));
  return hashes;
}

}  // namespace qz
