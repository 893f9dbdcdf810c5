// Rows FS: what stands where files are expected, and files that change while they are in use.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "hostile/place.h"

namespace hostile {
namespace {

namespace fs = std::filesystem;

// llama-tied written, then `edit` of the directory, then open.
std::function<Outcome(Place*)> opening(const std::function<void(const std::string& dir)>& edit) {
  return [edit](Place* place) {
    ModelFiles::golden("models/llama-tied").write(place->model());
    edit(place->model());
    return place->open(place->model());
  };
}

struct Change {  // what the progress callback does to the source, once
  std::string path;
  std::function<void(const std::string&)> apply;
  bool done = false;
};

int32_t change_once(void* user, const qz_progress*) {
  auto* change = static_cast<Change*>(user);
  if (!change->done) change->apply(change->path);
  change->done = true;
  return 0;
}

// Rounds llama-tied into out() while the source changes.
std::function<Outcome(Place*)> changing(const std::function<void(const std::string& file)>& apply) {
  return [apply](Place* place) {
    const Handle<qz_model> model = place->good(ModelFiles::golden("models/llama-tied"));
    Change change{place->model() + "/" + kSingle, apply};
    const std::string target = place->out();
    qz_scheme scheme = QZ_INIT(qz_scheme);
    scheme.group = 32;
    qz_run_options run = QZ_INIT(qz_run_options);
    run.stream_to = target.c_str();
    run.progress = change_once;
    run.user = &change;
    qz_model* made = nullptr;
    const Outcome result = outcome(qz_rtn_run(model.get(), &scheme, &run, &made));
    qz_model_free(made);
    return result;
  };
}

}  // namespace

void add_file_cases(Cases* cases) {
  const auto add = [&](const char* id, qz_status status, const char* words, std::function<Outcome(Place*)> run) {
    cases->push_back({id, status, words, std::move(run)});
  };
  add("FS directory is missing", QZ_STATUS_IO, "qz_model_open: /nothing: cannot open the model directory",
      [](Place* place) { return place->open(place->root() + "/nothing"); });
  add("FS directory is a file", QZ_STATUS_IO, "not a directory; expected one with config.json", [](Place* place) {
    ModelFiles::golden("models/llama-tied").write(place->model());
    return place->open(place->model() + "/config.json");
  });
  add("FS name is empty", QZ_STATUS_INVALID_ARGUMENT, "the model directory's name is empty",
      [](Place* place) { return place->open(""); });
  add("FS directory is empty", QZ_STATUS_IO, "qz_model_open: /model/config.json: cannot open",
      opening([](const std::string& dir) {
        fs::remove_all(dir);
        fs::create_directory(dir);
      }));
  add("FS no tensors at all", QZ_STATUS_IO, "holds neither model.safetensors nor",
      opening([](const std::string& dir) { fs::remove(dir + "/" + kSingle); }));
  add("IX08 only a pickle", QZ_STATUS_UNSUPPORTED, "pytorch_model.bin, a Python pickle, which is never read",
      opening([](const std::string& dir) { fs::rename(dir + "/" + kSingle, dir + "/pytorch_model.bin"); }));
  add("ST21 weights are a FIFO", QZ_STATUS_IO, "model.safetensors: not a regular file",
      opening([](const std::string& dir) {
        fs::remove(dir + "/" + kSingle);
        ASSERT_EQ(::mkfifo((dir + "/" + kSingle).c_str(), 0600), 0);
      }));
  add("ST21 configuration is a directory", QZ_STATUS_IO, "config.json: not a regular file",
      opening([](const std::string& dir) {
        fs::remove(dir + "/config.json");
        fs::create_directory(dir + "/config.json");
      }));
  add("ST22 dangling symbolic link", QZ_STATUS_IO, "model.safetensors: cannot resolve",
      opening([](const std::string& dir) {
        fs::remove(dir + "/" + kSingle);
        fs::create_symlink("gone.safetensors", dir + "/" + kSingle);
      }));
  add("ST22 symbolic link to itself", QZ_STATUS_IO, "config.json: cannot resolve", opening([](const std::string& dir) {
        fs::remove(dir + "/config.json");
        fs::create_symlink("config.json", dir + "/config.json");
      }));
  add("ST22 weights link out of the directory", QZ_STATUS_BAD_FILE, "model.safetensors: a symbolic link to /etc/passwd",
      opening([](const std::string& dir) {
        fs::remove(dir + "/" + kSingle);
        fs::create_symlink("/etc/passwd", dir + "/" + kSingle);
      }));
  add("ST22 configuration links out of the directory", QZ_STATUS_BAD_FILE, "/config.json: a symbolic link to ",
      opening([](const std::string& dir) {
        fs::rename(dir + "/config.json", dir + "/../elsewhere.json");
        fs::create_symlink("../elsewhere.json", dir + "/config.json");
      }));
  add("ST22 side file links out of the directory", QZ_STATUS_BAD_FILE, "tokenizer.json: a symbolic link to /etc/passwd",
      [](Place* place) {
        ModelFiles::golden("models/llama-tied").write(place->model());
        fs::create_symlink("/etc/passwd", place->model() + "/tokenizer.json");
        return place->rtn(place->good(place->model()).get(), place->out());
      });
  add("ST19 weights shrink after they were opened", QZ_STATUS_IO, "changed while it was read", [](Place* place) {
    const Handle<qz_model> model = place->good(ModelFiles::golden("models/llama-tied"));
    fs::resize_file(place->model() + "/" + kSingle, 5000);
    qz_session* session = nullptr;
    const Outcome result = outcome(qz_session_create(model.get(), 8, &session));
    qz_session_free(session);
    return result;
  });
  add("ST19 weights are replaced during a run", QZ_STATUS_IO, "bytes, now 223880, or was replaced)",
      changing([](const std::string& file) {
        fs::copy_file(file, file + ".new");
        fs::rename(file + ".new", file);
      }));
  add("ST19 weights grow during a run", QZ_STATUS_IO, "bytes, now 223884, or was replaced)",
      changing([](const std::string& file) { std::ofstream(file, std::ios::app) << "more"; }));
}

}  // namespace hostile
