#define _GNU_SOURCE
#include "supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/// What a file counts for beside its blocks, so that their number is bounded too.
enum { FILE_COST = 4 << 10 };
/// What may be added to a tree that has too much already, so that a command can still tidy it up.
enum { SLACK = 16 << 20 };
/// The disk is nearly full if it has less than this, or than a fiftieth of all that it holds.
enum { RESERVE = 64 << 20 };
/// More entries in the directory for temporary files would be memory that nothing counts.
enum { TEMPORARY_FILES = 64 << 10 };

/// The tree is measured once in so many looks, and whenever the room on the disk has shrunk enough: to ask for
/// that costs nothing, but others write and remove files there too.
enum { LOOKS = 20 };

/// What the tree came to when it was last measured, what it may come to, and the room below which it is measured again.
static uint64_t size, allowed, mark;
static unsigned looks;

static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

/// Bytes that the tree's file system has free, in blocks and in files.
static uint64_t room(bool *is_short) {
    struct statfs status;
    if (statfs(tree, &status) != 0) fail("cannot look at the tree");
    const uint64_t block = (uint64_t)status.f_bsize, available = status.f_bavail * block;
    *is_short = status.f_blocks && available < smaller(RESERVE, status.f_blocks * block / 50);
    return available + smaller(status.f_ffree, UINT32_MAX) * FILE_COST;
}

/// Finds out what there is in the tree and in the directory for temporary files; false if some of it is locked or too deep to
/// be named.
static bool measure(void) {
    bool all = true;
    size = 0;
    FTS *walk = fts_open((char *[]){(char *)tree, (char *)temporary, NULL}, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
    if (!walk) fail("cannot measure the tree");
    for (FTSENT *entry; (entry = fts_read(walk));) {
        const bool failed = entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS;
        // What goes away meanwhile is nothing.
        all &= !failed || entry->fts_errno == ENOENT || entry->fts_errno == ENOTDIR;
        if (failed || entry->fts_info == FTS_DP) continue;
        size += (uint64_t)entry->fts_statp->st_blocks * 512 + FILE_COST;
    }
    fts_close(walk);
    return all;
}

void disk_begin(uint64_t limit) {
    allowed = size > limit ? size + SLACK : limit;
    looks = 0;
}

uint64_t disk_look(void) {
    bool is_short;
    const uint64_t now = room(&is_short);
    const bool has_shrunk = now < mark;
    if (looks++ % LOOKS == 0 || has_shrunk) {
        const bool all = measure();
        // What cannot be seen is held to be what the room went to.
        if (size > allowed || (has_shrunk && !all)) return AUTON_SANDBOX_DISK;
        mark = now - smaller(now, allowed - size);
    }
    struct statfs status;
    if (getpid() == 1 && statfs(temporary, &status) == 0 && status.f_files - status.f_ffree > TEMPORARY_FILES)
        return AUTON_SANDBOX_DISK;
    return is_short ? AUTON_SANDBOX_SHORTAGE : AUTON_SANDBOX_EXITED;
}

uint64_t disk_blame(uint64_t ending) {
    // What it wrote after the last look counts where the next command begins.
    if (ending == AUTON_SANDBOX_DISK) measure();
    if (ending != AUTON_SANDBOX_SHORTAGE) return ending;
    bool is_short;
    room(&is_short);
    // Files that it had removed and kept open or mapped are gone with it; the others can be counted.
    return !is_short || !measure() || size > allowed ? AUTON_SANDBOX_DISK : AUTON_SANDBOX_SHORTAGE;
}

static bool empty(int directory) {
    DIR *stream = fdopendir(directory);
    if (!stream) return close(directory), false;
    bool is_empty = true;
    for (struct dirent *entry; (entry = readdir(stream));) {
        const char *name = entry->d_name;
        if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
        if (unlinkat(directory, name, 0) == 0) continue;
        // It is a directory, which a command may have locked.
        fchmodat(directory, name, 0700, 0);
        int inside = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        is_empty &= inside >= 0 && empty(inside) && unlinkat(directory, name, AT_REMOVEDIR) == 0;
    }
    closedir(stream);
    return is_empty;
}

bool empty_temporary(void) {
    int directory = open(temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return directory >= 0 && empty(directory);
}
