#define _GNU_SOURCE
#include "supervisor.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct process {
    pid_t pid, parent;
    /// Bytes resident that are no file's.
    uint64_t memory;
    /// Below this one.
    bool is_ours;
};

static struct process *processes;
static size_t count, room;

/// The number on a line of /proc/PID/status; newlines in a process's name are escaped there.
static uint64_t field(const char *status, const char *name) {
    const char *line = strstr(status, name);
    return line ? strtoull(line + strlen(name), NULL, 10) : 0;
}

static void add(int proc, const char *name) {
    char path[32], status[4096];
    snprintf(path, sizeof path, "%.10s/status", name);
    int file = openat(proc, path, O_RDONLY | O_CLOEXEC);
    // It has gone meanwhile.
    if (file < 0) return;
    ssize_t got = read(file, status, sizeof status - 1);
    close(file);
    if (got <= 0) return;
    status[got] = 0;
    if (count == room) {
        room = room ? 2 * room : 64;
        processes = realloc(processes, room * sizeof *processes);
        if (!processes) fail("no memory");
    }
    processes[count++] = (struct process){
        .pid = atoi(name), .parent = (pid_t)field(status, "\nPPid:\t"),
        .memory = (field(status, "\nRssAnon:\t") + field(status, "\nRssShmem:\t")) << 10};
}

static bool is_ours(pid_t pid) {
    if (pid == getpid()) return true;
    for (size_t n = 0; n < count; n++)
        if (processes[n].pid == pid) return processes[n].is_ours;
    return false;
}

/// Finds all processes, and which of them are below this one.
static void look(void) {
    count = 0;
    DIR *proc = opendir("/proc");
    if (!proc) fail("cannot read /proc");
    for (struct dirent *entry; (entry = readdir(proc));)
        if (isdigit((unsigned char)entry->d_name[0])) add(dirfd(proc), entry->d_name);
    closedir(proc);
    for (bool found = true; found;) {
        found = false;
        for (size_t n = 0; n < count; n++)
            if (!processes[n].is_ours && is_ours(processes[n].parent)) processes[n].is_ours = found = true;
    }
}

uint64_t memory_below(void) {
    uint64_t sum = 0;
    look();
    for (size_t n = 0; n < count; n++) sum += processes[n].is_ours ? processes[n].memory : 0;
    return sum;
}

void end_processes(void) {
    do {
        if (getpid() == 1) {
            // All of the namespace but us. No fork can outrun it: one that is under way when the signal comes fails.
            kill(-1, SIGKILL);
        } else {
            look();
            for (size_t n = 0; n < count; n++)
                if (processes[n].is_ours) kill(processes[n].pid, SIGKILL);
        }
        // Orphans come to us, so that there is nobody left when we have no child.
    } while (waitpid(-1, NULL, 0) >= 0 || errno == EINTR);
}
