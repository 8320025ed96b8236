/* Sends a signal at the n-th call that changes a file, or before half of its bytes are written.

   Loaded before libc into a process and its children. Counts in the first process alone.
     FAULT_ROOT    only files below this folder count
     FAULT_LOG     each call that counts is a line in this file: its name, a tab, the path
     FAULT_CALL    name of the calls at which the signal comes, "" for any
     FAULT_PATH    their paths, with *, ? and @(a|b), "" for any
     FAULT_AT      which of them, from 1; 0 for none
     FAULT_AFTER   counting begins behind a rename to a path that fits this; "" at the start
     FAULT_SIGNAL  its number; 9 goes to the process group
     FAULT_TORN    1: of a write half of the bytes are written first
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *root, *call_wanted, *path_wanted, *after;
static size_t root_length;
static long at;
static int signal_number, is_torn, log_fd = -1;
static pid_t leader;
static atomic_long seen;
static atomic_int is_counting;

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

__attribute__((constructor)) static void begin(void)
{
    char own[32];
    snprintf(own, sizeof own, "%d", getpid());
    if (getenv("FAULT_LEADER") || !getenv("FAULT_ROOT"))
        return;
    setenv("FAULT_LEADER", own, 1);
    root = strdup(variable("FAULT_ROOT"));
    root_length = strlen(root);
    call_wanted = strdup(variable("FAULT_CALL"));
    path_wanted = strdup(variable("FAULT_PATH"));
    after = strdup(variable("FAULT_AFTER"));
    is_counting = !*after;
    at = atol(variable("FAULT_AT"));
    signal_number = atoi(variable("FAULT_SIGNAL"));
    is_torn = atoi(variable("FAULT_TORN"));
    log_fd = syscall(SYS_openat, AT_FDCWD, variable("FAULT_LOG"),
                     O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    leader = getpid();
}

/* Writes the whole path of a name in an open folder to `path`; returns whether it counts. */
static int counts(int folder, const char *name, char *path)
{
    if (!leader || getpid() != leader)
        return 0;
    path[0] = 0;
    if (name && name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
    } else {
        char link[64];
        if (folder == AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
        if (length < 0)
            return 0;
        path[length] = 0;
        if (name)
            snprintf(path + length, PATH_MAX - length, "/%s", name);
    }
    return strncmp(path, root, root_length) == 0;
}

/* Notes a call; returns whether the signal is to come at it. */
static int note(const char *call, int folder, const char *name)
{
    char path[PATH_MAX + 256], line[PATH_MAX + 320];
    if (!counts(folder, name, path))
        return 0;
    int length = snprintf(line, sizeof line, "%s\t%s\n", call, path + root_length);
    syscall(SYS_write, log_fd, line, length);
    if (!at || !is_counting)
        return 0;
    if (*call_wanted && strcmp(call_wanted, call) != 0)
        return 0;
    if (*path_wanted && fnmatch(path_wanted, path + root_length, FNM_EXTMATCH) != 0)
        return 0;
    return atomic_fetch_add(&seen, 1) + 1 == at;
}

static void strike(void)
{
    syscall(SYS_write, log_fd, "signal\t\n", 8);
    if (signal_number == SIGKILL)
        kill(0, SIGKILL);
    else
        kill(leader, signal_number);
}

static void point(const char *call, int folder, const char *name)
{
    if (note(call, folder, name))
        strike();
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) \
        real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define CHANGES(flags) ((flags) & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC))

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        REAL(int, name, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, mode_t); \
        va_end(rest); \
        if (CHANGES(flags)) \
            point("open", AT_FDCWD, path); \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) \
    { \
        REAL(int, name, int, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, mode_t); \
        va_end(rest); \
        if (CHANGES(flags)) \
            point("open", folder, path); \
        return real(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) \
    { \
        REAL(FILE *, name, const char *, const char *); \
        if (strpbrk(mode, "wa+")) \
            point("open", AT_FDCWD, path); \
        return real(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

ssize_t write(int fd, const void *bytes, size_t count)
{
    REAL(ssize_t, write, int, const void *, size_t);
    if (note("write", fd, NULL)) {
        if (is_torn)
            real(fd, bytes, count / 2);
        strike();
    }
    return real(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(ssize_t, writev, int, const struct iovec *, int);
    if (note("write", fd, NULL)) {
        if (is_torn)
            real(fd, parts, count / 2);
        strike();
    }
    return real(fd, parts, count);
}

#define PWRITE(name) \
    ssize_t name(int fd, const void *bytes, size_t count, off_t offset) \
    { \
        REAL(ssize_t, name, int, const void *, size_t, off_t); \
        point("write", fd, NULL); \
        return real(fd, bytes, count, offset); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define ON_FILE(name, call) \
    int name(int fd) \
    { \
        REAL(int, name, int); \
        point(call, fd, NULL); \
        return real(fd); \
    }
ON_FILE(fsync, "fsync")
ON_FILE(fdatasync, "fsync")

static void renamed(int folder, const char *name)
{
    char path[PATH_MAX + 256];
    if (!is_counting && counts(folder, name, path)
        && fnmatch(after, path + root_length, FNM_EXTMATCH) == 0)
        is_counting = 1;
}

int rename(const char *from, const char *to)
{
    REAL(int, rename, const char *, const char *);
    point("rename", AT_FDCWD, to);
    int result = real(from, to);
    renamed(AT_FDCWD, to);
    return result;
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    REAL(int, renameat, int, const char *, int, const char *);
    point("rename", to_folder, to);
    int result = real(from_folder, from, to_folder, to);
    renamed(to_folder, to);
    return result;
}

#define ON_PATH(name, call) \
    int name(const char *path) \
    { \
        REAL(int, name, const char *); \
        point(call, AT_FDCWD, path); \
        return real(path); \
    }
ON_PATH(unlink, "unlink")
ON_PATH(rmdir, "rmdir")

int unlinkat(int folder, const char *path, int flags)
{
    REAL(int, unlinkat, int, const char *, int);
    point(flags & AT_REMOVEDIR ? "rmdir" : "unlink", folder, path);
    return real(folder, path, flags);
}

#define ON_PATH_WITH_MODE(name, call) \
    int name(const char *path, mode_t mode) \
    { \
        REAL(int, name, const char *, mode_t); \
        point(call, AT_FDCWD, path); \
        return real(path, mode); \
    }
ON_PATH_WITH_MODE(mkdir, "mkdir")
ON_PATH_WITH_MODE(chmod, "chmod")

int fchmod(int fd, mode_t mode)
{
    REAL(int, fchmod, int, mode_t);
    point("chmod", fd, NULL);
    return real(fd, mode);
}

int fchmodat(int folder, const char *path, mode_t mode, int flags)
{
    REAL(int, fchmodat, int, const char *, mode_t, int);
    point("chmod", folder, path);
    return real(folder, path, mode, flags);
}

#define TRUNCATE(name) \
    int name(int fd, off_t length) \
    { \
        REAL(int, name, int, off_t); \
        point("truncate", fd, NULL); \
        return real(fd, length); \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)
