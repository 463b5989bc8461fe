/* Preloaded into a process, makes one of the calls that change files below a folder fail, or kill the process there.

   FAULTY_UNDER  the folder; other files are left alone
   FAULTY_AT     which call, from 1 on, and with FAULTY_STAY every one after it; 0: none
   FAULTY_ERRNO  what it fails with; 0: SIGKILL in its place
   FAULTY_SEEN   a file that keeps a line for each call seen
   A write that fails, or that the process dies in, has written half of its bytes. */

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
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

static long seen;

static long number(const char *name) {
    const char *value = getenv(name);
    return value ? atol(value) : 0;
}

static int below(const char *path) {
    const char *under = getenv("FAULTY_UNDER");
    return under && path && strncmp(path, under, strlen(under)) == 0;
}

static int below_at(int folder, const char *path, char *full) {
    char link[64];
    if (path[0] == '/') return below(strncpy(full, path, 4095));
    if (folder == AT_FDCWD) {
        if (!getcwd(full, 2048)) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t n = readlink(link, full, 2048);
        full[n < 0 ? 0 : n] = 0;
    }
    strncat(strcat(full, "/"), path, 2040);
    return below(full);
}

/* 1 if the call is to fail with errno; what == NULL asks nothing. */
static int fails(const char *what, const char *path) {
    long at = number("FAULTY_AT");
    const char *list = getenv("FAULTY_SEEN");
    seen++;
    if (list) {
        int kept = errno;
        char line[4352];
        int n = snprintf(line, sizeof line, "%ld %s %s\n", seen, what, path);
        int fd = REAL(open)(list, O_WRONLY | O_CREAT | O_APPEND, 0644);
        if (fd >= 0) {
            (void) !REAL(write)(fd, line, n);
            close(fd);
        }
        errno = kept;
    }
    if (!at || (number("FAULTY_STAY") ? seen < at : seen != at)) return 0;
    if (!number("FAULTY_ERRNO")) kill(getpid(), SIGKILL);
    errno = (int) number("FAULTY_ERRNO");
    return 1;
}

static int due(void) {
    long at = number("FAULTY_AT");
    return at && (number("FAULTY_STAY") ? seen + 1 >= at : seen + 1 == at);
}

#define CHANGES(flags) ((flags) & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR))
#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        char full[8192] = ""; \
        if (CHANGES(flags) && below_at(AT_FDCWD, path, full) && fails("open", full)) return -1; \
        return REAL(name)(path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        char full[8192] = ""; \
        if (CHANGES(flags) && below_at(folder, path, full) && fails("open", full)) return -1; \
        return REAL(name)(folder, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

static int of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, 4095);
    path[n < 0 ? 0 : n] = 0;
    return below(path);
}

ssize_t write(int fd, const void *data, size_t size) {
    char path[4096];
    if (of(fd, path)) {
        if (due()) (void) !REAL(write)(fd, data, size / 2);
        if (fails("write", path)) return -1;
    }
    return REAL(write)(fd, data, size);
}

int fsync(int fd) {
    char path[4096];
    return of(fd, path) && fails("fsync", path) ? -1 : REAL(fsync)(fd);
}

int rename(const char *from, const char *to) {
    return below(to) && fails("rename", to) ? -1 : REAL(rename)(from, to);
}

int link(const char *from, const char *to) {
    return below(to) && fails("link", to) ? -1 : REAL(link)(from, to);
}

int linkat(int a, const char *from, int b, const char *to, int flags) {
    char full[8192] = "";
    return below_at(b, to, full) && fails("link", full) ? -1 : REAL(linkat)(a, from, b, to, flags);
}

int mkdir(const char *path, mode_t mode) {
    char full[8192] = "";
    return below_at(AT_FDCWD, path, full) && fails("mkdir", full) ? -1 : REAL(mkdir)(path, mode);
}

static int there(const char *path) { return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0; }

int unlink(const char *path) {
    char full[8192] = "";
    return below_at(AT_FDCWD, path, full) && there(full) && fails("unlink", full) ? -1 : REAL(unlink)(path);
}

int unlinkat(int folder, const char *path, int flags) {
    char full[8192] = "";
    return below_at(folder, path, full) && there(full) && fails("unlink", full) ? -1 : REAL(unlinkat)(folder, path, flags);
}

int rmdir(const char *path) {
    char full[8192] = "";
    return below_at(AT_FDCWD, path, full) && fails("rmdir", full) ? -1 : REAL(rmdir)(path);
}
