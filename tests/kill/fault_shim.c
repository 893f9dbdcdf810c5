/* Preloaded into a program: counts the calls that change files and makes one of them go wrong.
 *   QZ_FAULT      kill-before, kill-after (a write: after half of its bytes), or the number of an errno
 *   QZ_FAULT_AT   which call, from 1; 0 or absent: none
 *   QZ_FAULT_LOG  a file that gets a line "number call path" per counted call
 * Counted: open with O_CREAT, write and pwrite (not to standard output or error), ftruncate, posix_fallocate, fsync,
 * fdatasync, close of what was opened with O_CREAT, rename, renameat2, mkdir, unlink, rmdir. The log is written with
 * bare system calls. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
enum { MAX_FD = 1024, KILL_BEFORE = -1, KILL_AFTER = -2, NONE = 0 };

static long counted, fail_at;
static int fault; /* KILL_BEFORE, KILL_AFTER or an errno */
static int log_fd = -1;
static unsigned char created[MAX_FD]; /* descriptors opened with O_CREAT */

__attribute__((constructor)) static void start(void) {
  const char *what = getenv("QZ_FAULT"), *at = getenv("QZ_FAULT_AT"), *log = getenv("QZ_FAULT_LOG");
  fail_at = at ? atol(at) : 0;
  fault = !what                          ? NONE
          : !strcmp(what, "kill-before") ? KILL_BEFORE
          : !strcmp(what, "kill-after")  ? KILL_AFTER
                                         : atoi(what);
  if (log) log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
}

static void* next_symbol(const char* name) {
  void* symbol = dlsym(RTLD_NEXT, name);
  if (!symbol) syscall(SYS_exit_group, 99);
  return symbol;
}

static void die(void) {
  syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
  for (;;) pause();
}

/* Counts a call. 0: let it happen. KILL_AFTER: let it happen, then die. Else an errno that it must fail with. */
static int count(const char* call, const char* path) {
  const long n = __atomic_add_fetch(&counted, 1, __ATOMIC_SEQ_CST);
  char line[4200];
  if (log_fd >= 0) {
    const int size = snprintf(line, sizeof line, "%ld %s %s\n", n, call, path);
    if (size > 0) syscall(SYS_write, log_fd, line, (size_t)size < sizeof line ? (size_t)size : sizeof line - 1);
  }
  if (n != fail_at) return NONE;
  if (fault == KILL_BEFORE) die();
  return fault;
}

static int count_fd(const char* call, int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const long n = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
  path[n > 0 ? n : 0] = 0;
  return count(call, path);
}

/* What a counted call comes to: `action` is count()'s answer, `real` the call itself. */
#define RESULT(type, action, real)    \
  do {                                \
    const int action_ = (action);     \
    if (action_ > 0) {                \
      errno = action_;                \
      return -1;                      \
    }                                 \
    const type result_ = (real);      \
    if (action_ == KILL_AFTER) die(); \
    return result_;                   \
  } while (0)

static void note_created(int fd) {
  if (fd >= 0 && fd < MAX_FD) created[fd] = 1;
}

static int open_with(const char* name, const char* path, int flags, mode_t mode) {
  int (*real)(const char*, int, ...);
  int action = NONE, fd;
  *(void**)&real = next_symbol(name);
  if (!(flags & O_CREAT)) return real(path, flags, mode);
  action = count("open", path);
  if (action > 0) {
    errno = action;
    return -1;
  }
  fd = real(path, flags, mode);
  if (action == KILL_AFTER) die();
  note_created(fd);
  return fd;
}

EXPORT int open(const char* path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
  va_end(args);
  return open_with("open", path, flags, mode);
}

EXPORT int open64(const char* path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
  va_end(args);
  return open_with("open64", path, flags, mode);
}

static ssize_t pwrite_with(const char* name, int fd, const void* data, size_t bytes, off_t offset) {
  ssize_t (*real)(int, const void*, size_t, off_t);
  *(void**)&real = next_symbol(name);
  const int action = count_fd("pwrite", fd);
  RESULT(ssize_t, action, real(fd, data, action == KILL_AFTER ? bytes / 2 : bytes, offset));
}
EXPORT ssize_t pwrite(int fd, const void* data, size_t bytes, off_t offset) {
  return pwrite_with("pwrite", fd, data, bytes, offset);
}
EXPORT ssize_t pwrite64(int fd, const void* data, size_t bytes, off_t offset) {
  return pwrite_with("pwrite64", fd, data, bytes, offset);
}

EXPORT ssize_t write(int fd, const void* data, size_t bytes) {
  ssize_t (*real)(int, const void*, size_t);
  *(void**)&real = next_symbol("write");
  if (fd <= 2) return real(fd, data, bytes);
  const int action = count_fd("write", fd);
  RESULT(ssize_t, action, real(fd, data, action == KILL_AFTER ? bytes / 2 : bytes));
}

static int ftruncate_with(const char* name, int fd, off_t size) {
  int (*real)(int, off_t);
  *(void**)&real = next_symbol(name);
  RESULT(int, count_fd("ftruncate", fd), real(fd, size));
}
EXPORT int ftruncate(int fd, off_t size) { return ftruncate_with("ftruncate", fd, size); }
EXPORT int ftruncate64(int fd, off_t size) { return ftruncate_with("ftruncate64", fd, size); }

/* It returns the error's number and leaves errno alone. */
static int fallocate_with(const char* name, int fd, off_t offset, off_t size) {
  int (*real)(int, off_t, off_t);
  *(void**)&real = next_symbol(name);
  const int action = count_fd("posix_fallocate", fd);
  if (action > 0) return action;
  const int result = real(fd, offset, size);
  if (action == KILL_AFTER) die();
  return result;
}
EXPORT int posix_fallocate(int fd, off_t offset, off_t size) {
  return fallocate_with("posix_fallocate", fd, offset, size);
}
EXPORT int posix_fallocate64(int fd, off_t offset, off_t size) {
  return fallocate_with("posix_fallocate64", fd, offset, size);
}

EXPORT int fsync(int fd) {
  int (*real)(int);
  *(void**)&real = next_symbol("fsync");
  RESULT(int, count_fd("fsync", fd), real(fd));
}
EXPORT int fdatasync(int fd) {
  int (*real)(int);
  *(void**)&real = next_symbol("fdatasync");
  RESULT(int, count_fd("fdatasync", fd), real(fd));
}

/* A failed close has closed the descriptor all the same, as on Linux. */
EXPORT int close(int fd) {
  int (*real)(int);
  *(void**)&real = next_symbol("close");
  if (fd < 0 || fd >= MAX_FD || !created[fd]) return real(fd);
  created[fd] = 0;
  const int action = count_fd("close", fd);
  const int result = real(fd);
  if (action == KILL_AFTER) die();
  if (action <= 0) return result;
  errno = action;
  return -1;
}

EXPORT int rename(const char* from, const char* to) {
  int (*real)(const char*, const char*);
  *(void**)&real = next_symbol("rename");
  RESULT(int, count("rename", to), real(from, to));
}
EXPORT int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
  int (*real)(int, const char*, int, const char*, unsigned);
  *(void**)&real = next_symbol("renameat2");
  RESULT(int, count("renameat2", to), real(from_dir, from, to_dir, to, flags));
}
EXPORT int mkdir(const char* path, mode_t mode) {
  int (*real)(const char*, mode_t);
  *(void**)&real = next_symbol("mkdir");
  RESULT(int, count("mkdir", path), real(path, mode));
}
EXPORT int unlink(const char* path) {
  int (*real)(const char*);
  *(void**)&real = next_symbol("unlink");
  RESULT(int, count("unlink", path), real(path));
}
EXPORT int rmdir(const char* path) {
  int (*real)(const char*);
  *(void**)&real = next_symbol("rmdir");
  RESULT(int, count("rmdir", path), real(path));
}
