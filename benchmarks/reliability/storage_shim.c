/* Storage that fails on demand, for a process that is started with LD_PRELOAD.
 *
 * Calls that change files below STORAGE_ROOT are written to STORAGE_LOG, a line each: call, path.
 * The STORAGE_NTH of those that match STORAGE_CALL and the pattern STORAGE_PATH fails with
 * STORAGE_ERRNO. With STORAGE_STAYS all later ones that need space or a writable disk fail as well;
 * with STORAGE_SHORT a write first takes half of its bytes, as on a disk that becomes full.
 * STORAGE_CLOCK_S moves the clock by so many seconds from that call on, in place of a failure.
 * STORAGE_COARSE cuts the times of files to whole seconds.
 *
 * Not seen: what the C library writes of its own streams (fwrite), of which the opening is, and
 * writes through a memory map.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Shared by all threads and processes of one run, in the file STORAGE_STATE. */
struct state {
  atomic_long matched;
  atomic_int failed;
  atomic_int cut;
};

static struct state own, *state = &own;
static const char *root, *call_wanted, *path_wanted;
static size_t root_length;
static long nth, error_number, clock_s;
static int stays, is_short, is_coarse, log_file = -1;

static long number(const char *name) {
  const char *text = getenv(name);
  return text ? atol(text) : 0;
}

__attribute__((constructor)) static void begin(void) {
  const char *state_path = getenv("STORAGE_STATE"), *log_path = getenv("STORAGE_LOG");
  root = getenv("STORAGE_ROOT");
  if (root == NULL) return;
  root_length = strlen(root);
  call_wanted = getenv("STORAGE_CALL");
  path_wanted = getenv("STORAGE_PATH");
  nth = number("STORAGE_NTH");
  error_number = number("STORAGE_ERRNO");
  clock_s = number("STORAGE_CLOCK_S");
  stays = number("STORAGE_STAYS");
  is_short = number("STORAGE_SHORT");
  is_coarse = number("STORAGE_COARSE");
  if (log_path)
    log_file = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (state_path) {
    int file = syscall(SYS_openat, AT_FDCWD, state_path, O_RDWR | O_CLOEXEC);
    void *place = mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (place != MAP_FAILED) state = place;
    syscall(SYS_close, file);
  }
}

static void note(const char *call, const char *path, const char *what) {
  char line[PATH_MAX + 64];
  int length = snprintf(line, sizeof line, "%s\t%s\t%s\n", call, path + root_length + 1, what);
  if (log_file >= 0 && length > 0) {
    long ignored = syscall(SYS_write, log_file, line, (size_t)length);
    (void)ignored;
  }
}

/* Whether a call needs space or a disk that can be written to; those that give some up may go on. */
static int needs_room(const char *call) {
  return error_number == EROFS || (strcmp(call, "unlink") && strcmp(call, "rename") && strcmp(call, "chmod"));
}

static int is_below_root(const char *path) {
  return root && !strncmp(path, root, root_length) && path[root_length] == '/';
}

/* Note a call; return the error that it has to fail with, or 0. */
static int judge(const char *call, const char *path) {
  int is_hit = 0;
  if (!is_below_root(path)) return 0;
  if (call_wanted && path_wanted && !strcmp(call, call_wanted) &&
      !fnmatch(path_wanted, path + root_length + 1, FNM_PATHNAME))
    is_hit = atomic_fetch_add(&state->matched, 1) + 1 == nth;
  if (is_hit) {
    atomic_store(&state->failed, 1);
    note(call, path, "failed");
    return clock_s ? 0 : error_number;
  }
  if (!clock_s && stays && atomic_load(&state->failed) && needs_room(call)) {
    note(call, path, "failed too");
    return error_number;
  }
  note(call, path, "");
  return 0;
}

static void absolute(int folder, const char *path, char *whole) {
  char link[64];
  ssize_t length = 0;
  if (path[0] == '/') {
    snprintf(whole, PATH_MAX, "%s", path);
    return;
  }
  snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
  length = readlink(link, whole, PATH_MAX - 1);
  if (length < 0) length = 0;
  snprintf(whole + length, PATH_MAX - length, "/%s", path);
}

static int fails_at(const char *call, int folder, const char *path) {
  char whole[PATH_MAX];
  if (root == NULL || path == NULL) return 0;
  absolute(folder, path, whole);
  return errno = judge(call, whole);
}

static int fails_file(const char *call, int file) {
  char link[64], whole[PATH_MAX];
  ssize_t length;
  if (root == NULL) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  length = readlink(link, whole, sizeof whole - 1);
  if (length < 0) return 0;
  whole[length] = 0;
  if (atomic_load(&state->cut) && is_below_root(whole) && !strcmp(call, "write")) {
    atomic_store(&state->cut, 0);
    note(call, whole, "failed behind a short one");
    return errno = error_number;
  }
  return errno = judge(call, whole);
}

#define REAL(name) \
  static __typeof__(name) *real; \
  int kept = errno; \
  if (real == NULL) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define PASS (errno = kept)

static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT; }

static mode_t mode_of(int flags, va_list rest) {
  return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPENING(name) \
  int name(const char *path, int flags, ...) { \
    REAL(name); \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = mode_of(flags, rest); \
    va_end(rest); \
    if (writes(flags) && fails_at("open", AT_FDCWD, path)) return -1; \
    PASS; \
    return real(path, flags, mode); \
  }
#define OPENING_AT(name) \
  int name(int folder, const char *path, int flags, ...) { \
    REAL(name); \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = mode_of(flags, rest); \
    va_end(rest); \
    if (writes(flags) && fails_at("open", folder, path)) return -1; \
    PASS; \
    return real(folder, path, flags, mode); \
  }
#define STREAM(name) \
  FILE *name(const char *path, const char *mode) { \
    REAL(name); \
    if (strpbrk(mode, "wa+") && fails_at("open", AT_FDCWD, path)) return NULL; \
    PASS; \
    return real(path, mode); \
  }
OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)
STREAM(fopen)
STREAM(fopen64)

/* A write that is to fail takes half first, where that is wanted; the next one fails then. */
ssize_t write(int file, const void *bytes, size_t count) {
  REAL(write);
  if (fails_file("write", file)) {
    if (!is_short || count < 2 || !atomic_load(&state->failed)) return -1;
    is_short = 0;
    atomic_store(&state->cut, 1);
    return real(file, bytes, count / 2);
  }
  PASS;
  return real(file, bytes, count);
}

#define ON_FILE(type, name, call, parameters, arguments) \
  type name parameters { \
    REAL(name); \
    if (fails_file(call, file)) return -1; \
    PASS; \
    return real arguments; \
  }
#define ON_PATH(name, call, folder, path, parameters, arguments) \
  int name parameters { \
    REAL(name); \
    if (fails_at(call, folder, path)) return -1; \
    PASS; \
    return real arguments; \
  }
ON_FILE(ssize_t, pwrite, "write", (int file, const void *b, size_t n, off_t o), (file, b, n, o))
ON_FILE(ssize_t, pwrite64, "write", (int file, const void *b, size_t n, off64_t o), (file, b, n, o))
ON_FILE(ssize_t, writev, "write", (int file, const struct iovec *v, int n), (file, v, n))
ON_FILE(ssize_t, pwritev, "write", (int file, const struct iovec *v, int n, off_t o), (file, v, n, o))
ON_FILE(ssize_t, sendfile, "write", (int file, int from, off_t *o, size_t n), (file, from, o, n))
ON_FILE(ssize_t, sendfile64, "write", (int file, int from, off64_t *o, size_t n), (file, from, o, n))
ON_FILE(int, ftruncate, "write", (int file, off_t n), (file, n))
ON_FILE(int, ftruncate64, "write", (int file, off64_t n), (file, n))
ON_FILE(int, fsync, "fsync", (int file), (file))
ON_FILE(int, fdatasync, "fsync", (int file), (file))
ON_FILE(int, fchmod, "chmod", (int file, mode_t m), (file, m))
ON_PATH(rename, "rename", AT_FDCWD, to, (const char *from, const char *to), (from, to))
ON_PATH(renameat, "rename", b, to, (int a, const char *from, int b, const char *to), (a, from, b, to))
ON_PATH(renameat2, "rename", b, to, (int a, const char *from, int b, const char *to, unsigned f), (a, from, b, to, f))
ON_PATH(link, "link", AT_FDCWD, to, (const char *from, const char *to), (from, to))
ON_PATH(linkat, "link", b, to, (int a, const char *from, int b, const char *to, int f), (a, from, b, to, f))
ON_PATH(symlink, "link", AT_FDCWD, to, (const char *from, const char *to), (from, to))
ON_PATH(mkdir, "mkdir", AT_FDCWD, path, (const char *path, mode_t m), (path, m))
ON_PATH(mkdirat, "mkdir", folder, path, (int folder, const char *path, mode_t m), (folder, path, m))
ON_PATH(unlink, "unlink", AT_FDCWD, path, (const char *path), (path))
ON_PATH(unlinkat, "unlink", folder, path, (int folder, const char *path, int f), (folder, path, f))
ON_PATH(rmdir, "unlink", AT_FDCWD, path, (const char *path), (path))
ON_PATH(remove, "unlink", AT_FDCWD, path, (const char *path), (path))
ON_PATH(chmod, "chmod", AT_FDCWD, path, (const char *path, mode_t m), (path, m))
ON_PATH(fchmodat, "chmod", folder, path, (int folder, const char *path, mode_t m, int f), (folder, path, m, f))

ssize_t copy_file_range(int from, off64_t *a, int file, off64_t *b, size_t n, unsigned flags) {
  REAL(copy_file_range);
  if (fails_file("write", file)) return -1;
  PASS;
  return real(from, a, file, b, n, flags);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  REAL(clock_gettime);
  PASS;
  int result = real(clock, now);
  if (clock_s && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) && atomic_load(&state->failed))
    now->tv_sec += clock_s;
  return result;
}

time_t time(time_t *place) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (place) *place = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec exact;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

#define TIMES(name, type, parameters, arguments) \
  int name parameters { \
    REAL(name); \
    PASS; \
    int result = real arguments; \
    if (is_coarse && !result) status->st_mtim.tv_nsec = status->st_ctim.tv_nsec = status->st_atim.tv_nsec = 0; \
    return result; \
  }
TIMES(stat, struct stat, (const char *path, struct stat *status), (path, status))
TIMES(stat64, struct stat64, (const char *path, struct stat64 *status), (path, status))
TIMES(lstat, struct stat, (const char *path, struct stat *status), (path, status))
TIMES(lstat64, struct stat64, (const char *path, struct stat64 *status), (path, status))
TIMES(fstat, struct stat, (int file, struct stat *status), (file, status))
TIMES(fstat64, struct stat64, (int file, struct stat64 *status), (file, status))
TIMES(fstatat, struct stat, (int f, const char *path, struct stat *status, int g), (f, path, status, g))
TIMES(fstatat64, struct stat64, (int f, const char *path, struct stat64 *status, int g), (f, path, status, g))
