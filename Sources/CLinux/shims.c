#define _GNU_SOURCE
#include "CLinux.h"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <unistd.h>

int auton_rename_new(const char *from, const char *to) {
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

int auton_syncfs(int fd) { return syncfs(fd); }

static struct flock one_byte(long byte) {
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
}

int auton_lock_byte(int fd, long byte) {
    struct flock lock = one_byte(byte);
    return fcntl(fd, F_OFD_SETLK, &lock);
}

int auton_byte_is_locked(int fd, long byte) {
    struct flock lock = one_byte(byte);
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 ? lock.l_type != F_UNLCK : -1;
}

void auton_keep_descriptors(void) { close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC); }

int auton_processor(unsigned number) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return -1;
    number %= (unsigned)CPU_COUNT(&allowed);
    for (int processor = 0;; processor++)
        if (CPU_ISSET(processor, &allowed) && number-- == 0) return processor;
}

const short auton_spawn_session = POSIX_SPAWN_SETSID;
