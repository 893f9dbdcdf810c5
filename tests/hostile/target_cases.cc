// Rows OT: where the output is to go.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "hostile/place.h"

namespace hostile {
namespace {

namespace fs = std::filesystem;

std::function<Outcome(Place*)> into(const std::function<std::string(Place*)>& target, int32_t overwrite = 0) {
  return [=](Place* place) {
    const Handle<qz_model> model = place->good(ModelFiles::golden("models/llama-tied"));
    return place->rtn(model.get(), target(place), overwrite);
  };
}
std::string below(const Place* place, const std::string& name) { return place->root() + "/" + name; }

}  // namespace

void add_target_cases(Cases* cases) {
  const auto add = [&](const char* id, qz_status status, const char* words, std::function<Outcome(Place*)> run) {
    cases->push_back({id, status, words, std::move(run)});
  };
  const qz_status invalid = QZ_STATUS_INVALID_ARGUMENT, io = QZ_STATUS_IO;
  add("OT target exists", invalid, "/out: output directory exists already", into([](Place* p) {
        fs::create_directory(p->out());
        return p->out();
      }));
  add("OT target exists as a dangling link", invalid, "/dangling: output directory exists already", into([](Place* p) {
        fs::create_symlink("nowhere", below(p, "dangling"));
        return below(p, "dangling");
      }));
  add("OT target to be overwritten exists as a file", invalid,
      "/out: exists and is not a directory; it is not overwritten",
      into(
          [](Place* p) {
            std::ofstream(p->out()) << "precious";
            return p->out();
          },
          1));
  add("OT target to be overwritten exists and is no model", invalid,
      "/out: exists and holds no config.json or model.gguf",
      into(
          [](Place* p) {
            fs::create_directory(p->out());
            std::ofstream(p->out() + "/thesis.tex") << "precious";
            return p->out();
          },
          1));
  add("OT target is the source", invalid, "/model and input directory",
      into([](Place* p) { return below(p, "model/../model"); }, 1));
  add("OT target inside the source", invalid, "/model/out and input directory",
      into([](Place* p) { return p->model() + "/out"; }));
  add("OT source inside the target", invalid, "output directory  and input directory /model must not",
      into([](Place* p) { return p->root(); }, 1));
  add("OT directory above is missing", io, "cannot resolve the directory above the output",
      into([](Place* p) { return below(p, "missing/out"); }));
  add("OT directory above is a file", io, "Not a directory", into([](Place* p) {
        std::ofstream(below(p, "file")) << "text";
        return below(p, "file/out");
      }));
  add("OT target has no name", invalid, "output directory '..' has no name of its own",
      into([](Place*) { return std::string(".."); }));
  add("OT target is the root", invalid, "output directory '/' has no name of its own",
      into([](Place*) { return std::string("/"); }));
  add("OT no room", io, "MiB but 0 MiB are free", into([](Place*) { return std::string("/proc/qz-out"); }));
  add("OT directory above may not be written", io, "/locked/out.qz-lock: cannot create the lock file", [](Place* p) {
    const Handle<qz_model> model = p->good(ModelFiles::golden("models/llama-tied"));
    const std::string locked = below(p, "locked");
    fs::create_directory(locked);
    EXPECT_EQ(::chmod(locked.c_str(), 0555), 0);
    EXPECT_EQ(::chmod(p->root().c_str(), 0755), 0);
    const uid_t user = ::geteuid();  // nothing is forbidden to root: be somebody else for the moment
    EXPECT_EQ(user == 0 ? ::seteuid(65534) : 0, 0);
    const Outcome result = p->rtn(model.get(), locked + "/out");
    EXPECT_EQ(user == 0 ? ::seteuid(user) : 0, 0);
    return result;
  });
  add("OT name longer than the system allows", io, "File name too long",
      into([](Place* p) { return below(p, std::string(300, 'x')); }));
  add("OT another run holds the target", QZ_STATUS_BUSY, "another run is writing this output directory", [](Place* p) {
    const std::string lock = p->out() + ".qz-lock";
    const int fd = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    EXPECT_EQ(::flock(fd, LOCK_EX), 0);
    const Outcome result = into([](Place* q) { return q->out(); })(p);
    ::close(fd);
    ::unlink(lock.c_str());
    return result;
  });
  add("OT lock file is a link", io, ": /out.qz-lock: cannot create the lock file", [](Place* p) {
    const std::string lock = p->out() + ".qz-lock";
    fs::create_symlink(below(p, "victim"), lock);
    const Outcome result = into([](Place* q) { return q->out(); })(p);
    EXPECT_FALSE(qz::exists(below(p, "victim")));
    ::unlink(lock.c_str());
    return result;
  });
  add("OT cancelled", QZ_STATUS_CANCELLED, "cancelled by the caller", [](Place* p) {
    const Handle<qz_model> model = p->good(ModelFiles::golden("models/llama-tied"));
    const std::string target = p->out();
    qz_scheme scheme = QZ_INIT(qz_scheme);
    scheme.group = 32;
    qz_run_options run = QZ_INIT(qz_run_options);
    run.stream_to = target.c_str();
    run.progress = [](void*, const qz_progress*) -> int32_t { return 1; };
    qz_model* made = nullptr;
    return outcome(qz_rtn_run(model.get(), &scheme, &run, &made));
  });
}

}  // namespace hostile
